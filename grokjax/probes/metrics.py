"""Loss and accuracy on training and validation rows."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
from jax import Array

from grokjax.losses import is_answer
from grokjax.probes.view import Probe, View
from grokjax.settings import extendable, shape


class Metrics(Probe):
    """train_ and val_ loss and accuracy; where the task commutes, val_accuracy by whether the mirror pair trains."""

    kind: Literal["metrics"] = shape("metrics")
    every: Literal[1] = extendable(1)
    """Evaluations between two measurements; the stop rule needs every one."""


class TrainingLoss(Probe):
    """Mean and maximum of the training loss over the steps since the last evaluation: spikes between evaluations."""

    kind: Literal["training_loss"] = shape("training_loss")


def masked_mean(values_NA: Array, mask_N: Array) -> Array:
    """Mean over the rows of a mask and all answers; NaN where the mask is empty."""
    n = mask_N.sum() * values_NA.shape[1]
    return jnp.where(mask_N[:, None], values_NA, 0).sum() / n


def first_largest(x: Array) -> Array:
    """argmax over the last axis by two plain reductions (the fused one is scalar code on CPU). NaN: no answer."""
    places = jnp.arange(x.shape[-1])
    largest = x == x.max(-1, keepdims=True)
    return jnp.where(largest, places, x.shape[-1]).min(-1)


def metrics(s: Metrics, view: View) -> dict[str, Array]:
    """Training metrics on the labels that were taught and on the true ones, validation on the true ones."""
    train_N, val_N = view.rows.train_N, view.val_N
    right_NA, clean_NA = _judge(view, view.targets_NA)
    fitted_NA, loss_NA = (
        _judge(view, view.rows.labels_NA) if view.label_noise else (right_NA, clean_NA)
    )
    out = {
        "train_loss": masked_mean(loss_NA, train_N),
        "train_accuracy": masked_mean(fitted_NA, train_N),
        "train_loss_clean": masked_mean(clean_NA, train_N),
        "train_accuracy_clean": masked_mean(right_NA, train_N),
        "val_loss": masked_mean(clean_NA, val_N),
        "val_accuracy": masked_mean(right_NA, val_N),
    }
    return out | (_by_mirror(view, right_NA) if view.model.table.commutative else {})


def _judge(view: View, labels_NA: Array) -> tuple[Array, Array]:
    """Accuracy and loss of each row and answer."""
    right_NA = is_answer(view.logits_NAC, labels_NA).astype(jnp.float32)
    return right_NA, view.per_row_loss(view.logits_NAC, labels_NA)


def _by_mirror(view: View, right_NA: Array) -> dict[str, Array]:
    """A network that only knows x∘y = y∘x is right on mirror-seen rows and at chance on the others."""
    seen_N = view.rows.train_N[view.mirror_N] & (view.mirror_N >= 0)
    return {
        "val_accuracy_mirror_seen": masked_mean(right_NA, view.val_N & seen_N),
        "val_accuracy_mirror_unseen": masked_mean(right_NA, view.val_N & ~seen_N),
    }


def training_loss(s: TrainingLoss, view: View) -> dict[str, Array]:
    return {"training_loss_mean": view.mean_loss, "training_loss_max": view.max_loss}
