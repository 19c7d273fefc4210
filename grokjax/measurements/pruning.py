"""Accuracy and loss after small weights are set to 0 (as source 002 checks), on the run's own split."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import Array
from pydantic import Field

from grokjax.losses import is_right
from grokjax.measurements.saved import Measurement, Saved
from grokjax.models import Model
from grokjax.probes.metrics import accuracy, scored_mean
from grokjax.settings import execution

THRESHOLDS = tuple(float(f"{10 ** (i / 3 - 4):.2g}") for i in range(13))
"""From 1e-4 to 1, three per decade."""


class Pruning(Measurement):
    """Accuracy and loss after all weights with a magnitude below a threshold, biases too, are set to 0."""

    kind: Literal["pruning"] = execution("pruning")
    thresholds: tuple[Annotated[float, Field(ge=0)], ...] = execution(
        THRESHOLDS, strict=False, min_length=1
    )
    """Magnitudes below which a weight is set to 0."""
    dims: ClassVar[dict[str, tuple[str, ...]]] = dict.fromkeys(
        ("share_pruned", "train_loss", "train_accuracy", "val_loss", "val_accuracy"),
        ("threshold",),
    )


def labels(s: Pruning, model: Model) -> dict[str, Any]:
    return {"threshold": s.thresholds}


def pruning(s: Pruning, saved: Saved) -> dict[str, Array]:
    """For each threshold. Training rows are judged by the labels used in training, validation rows by the true ones."""
    return jax.lax.map(lambda t: _pruned(saved, t), jnp.asarray(s.thresholds, jnp.float32))


def _pruned(saved: Saved, threshold: Array) -> dict[str, Array]:
    view, leaves = saved.view, jax.tree.leaves(saved.params)
    below = jnp.stack([(jnp.abs(w) < threshold).sum() for w in leaves]).sum()
    pruned = jax.tree.map(lambda w: jnp.where(jnp.abs(w) < threshold, 0, w), saved.params)
    logits_NAC = view.apply(pruned)
    measured = {"share_pruned": below / sum(w.size for w in leaves)}
    sides = {
        "train": (view.rows.train_N, view.labels_NA),
        "val": (view.val_N, view.targets_NA),
    }
    for side, (mask_N, wanted_NA) in sides.items():
        right_NA = is_right(logits_NAC, wanted_NA).astype(jnp.float32)
        measured[f"{side}_loss"] = scored_mean(
            view, view.per_row_loss(logits_NAC, wanted_NA), mask_N
        )
        measured[f"{side}_accuracy"] = accuracy(view, right_NA, mask_N)
    return measured
