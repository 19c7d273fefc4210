"""Entropy of the attention weights (source 004)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import jax.numpy as jnp
from jax import Array

from grokjax.measurements.saved import Measurement, Saved
from grokjax.models import Model
from grokjax.probes.attention import attention_patterns, pattern_entropy
from grokjax.settings import execution


class AttentionEntropy(Measurement):
    """Entropy -Σ a ln a, in nats, of the attention weights a averaged over heads: mean over all rows.

    For each layer, and for each layer and query position.
    """

    kind: Literal["attention_entropy"] = execution("attention_entropy")
    requires: ClassVar[frozenset[str]] = frozenset({"attention"})
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "entropy": ("layer",),
        "entropy_by_position": ("layer", "position"),
    }


def labels(s: AttentionEntropy, model: Model) -> dict[str, Any]:
    return {
        "layer": range(model.settings.n_layers),
        "position": range(model.table.n_positions),
    }


def attention_entropy(s: AttentionEntropy, saved: Saved) -> dict[str, Array]:
    assert saved.view.tokens_NT is not None, "a model with attention reads tokens"
    patterns = attention_patterns(saved.view.model, saved.params, saved.view.tokens_NT)
    each_LT = jnp.stack([pattern_entropy(pattern_NHTT) for pattern_NHTT in patterns])
    return {"entropy": each_LT.mean(1), "entropy_by_position": each_LT}
