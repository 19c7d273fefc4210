"""Entropy of the attention weights, and the loss after the MLP's input is divided by its length."""

from __future__ import annotations

from typing import ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from grokjax.models import Model, Params
from grokjax.models.transformer_settings import UNIT_INPUT
from grokjax.probes.metrics import scored_mean
from grokjax.probes.view import Probe, View
from grokjax.settings import shape


class AttentionEntropy(Probe):
    """Entropy of the attention weights averaged over heads: mean over all rows and query positions (source 004)."""

    kind: Literal["attention_entropy"] = shape("attention_entropy")
    by_head: bool = shape(False)
    """true: also the entropy of each head's own weights, attention_entropy/<layer>/<head>."""
    requires: ClassVar[frozenset[str]] = frozenset({"attention"})


class Shortcut(Probe):
    """Loss after the MLP's input is divided by its length: sr_train, sr_val (SR-train and SR-test of source 004).

    These keep the norm of attention. sr_train_as_published and sr_val_as_published have no other norms in the layers.
    """

    kind: Literal["shortcut"] = shape("shortcut")
    requires: ClassVar[frozenset[str]] = frozenset({"pre_norm"})


def attention_entropy(s: AttentionEntropy, view: View) -> dict[str, Array]:
    """attention_entropy (mean over layers) and attention_entropy/<layer>, with by_head also .../<head>; in nats."""
    assert view.tokens_NT is not None, "a model with attention reads tokens"
    patterns = attention_patterns(view.model, view.params, view.tokens_NT)
    each = [pattern_entropy(p).mean() for p in patterns]
    layers = {f"attention_entropy/{i}": x for i, x in enumerate(each)}
    if s.by_head:
        layers |= {
            f"attention_entropy/{i}/{h}": pattern_entropy(pattern_NHTT[:, [h]]).mean()
            for i, pattern_NHTT in enumerate(patterns)
            for h in range(pattern_NHTT.shape[1])
        }
    return {"attention_entropy": sum(each[1:], each[0]) / len(each), **layers}


def attention_patterns(model: Model, params: Params, tokens_NT: Int[Array, "N T"]) -> list[Array]:
    """Attention weights N H T T of each layer, by the dense forward pass."""
    patterns = nn.apply(lambda module, tokens: module.patterns(tokens), model.module)
    return patterns({"params": params}, tokens_NT)  # type: ignore[return-value]


def pattern_entropy(pattern_NHTT: Float[Array, "N H T T"]) -> Float[Array, " T"]:
    """-Σ a ln a of the weights a averaged over heads: mean over rows, for each query position; 0 ln 0 = 0."""
    a_NTT = pattern_NHTT.mean(1)
    # The inner where keeps the logarithm finite, also under a gradient.
    terms = jnp.where(a_NTT > 0, a_NTT * jnp.log(jnp.where(a_NTT > 0, a_NTT, 1)), 0)
    return -terms.sum(-1).mean(0)


def shortcut(s: Shortcut, view: View) -> dict[str, Array]:
    clean, published = UNIT_INPUT[view.model.settings.ln], "mlp-inpnorm"
    return _losses(view, clean, "") | _losses(view, published, "_as_published")


def _losses(view: View, placement: str, suffix: str) -> dict[str, Array]:
    changed = Model(view.model.settings.model_copy(update={"ln": placement}), view.model.table)
    loss_NA = view.per_row_loss(view.apply(view.params, changed), view.labels_NA)
    loss_NA = jax.lax.stop_gradient(loss_NA)
    sides = {"train": view.rows.train_N, "val": view.val_N}
    return {
        f"sr_{side}{suffix}": scored_mean(view, loss_NA, mask_N) for side, mask_N in sides.items()
    }
