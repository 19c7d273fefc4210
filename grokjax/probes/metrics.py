"""Loss and accuracy on training and validation rows."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
from jax import Array

from grokjax.losses import is_right
from grokjax.probes.view import Probe, View
from grokjax.settings import extendable, shape


class Metrics(Probe):
    """Loss and accuracy of training and validation rows. For a commutative operation also val_accuracy separately for
    rows whose mirror row is used for training, and for the others. Where the answers are vectors, an answer is right if
    its largest entry is the largest output."""

    kind: Literal["metrics"] = shape("metrics")
    every: Literal[1] = extendable(1)
    """1: at every evaluation. The stop rule needs the values of all of them."""


class TrainingLoss(Probe):
    """Mean and maximum of the training loss over the steps since the last evaluation. They show spikes between
    evaluations."""

    kind: Literal["training_loss"] = shape("training_loss")


class Answers(Probe):
    """Loss and accuracy of each answer alone, such as val_loss/digit_0, also of answers that are not in the loss.

    Answers with the same name are averaged. The names are those of the task.
    """

    kind: Literal["answers"] = shape("answers")


def masked_mean(values_NA: Array, mask_N: Array) -> Array:
    """Mean over the rows of a mask and all answers; NaN if the mask is empty."""
    n = mask_N.sum() * values_NA.shape[1]
    return jnp.where(mask_N[:, None], values_NA, 0).sum() / n


def scored_mean(view: View, values_NA: Array, mask_N: Array) -> Array:
    """Mean over the rows of a mask and the answers that are in the loss."""
    return masked_mean(values_NA[:, : view.model.table.n_scored], mask_N)


def accuracy(view: View, right_NA: Array, mask_N: Array) -> Array:
    """Share of the scored answers of a mask's rows that are right; of its rows, where only whole rows count."""
    if not getattr(view.model.table, "whole_rows", False):
        return scored_mean(view, right_NA, mask_N)
    return masked_mean(right_NA[:, : view.model.table.n_scored].min(1, keepdims=True), mask_N)


def first_largest(x: Array) -> Array:
    """Index of the largest value over the last axis, the first of equal ones. With a NaN it is the number of values.

    It uses two plain reductions, because an argmax becomes slow scalar code on CPU.
    """
    places = jnp.arange(x.shape[-1])
    largest = x == x.max(-1, keepdims=True)
    return jnp.where(largest, places, x.shape[-1]).min(-1)


def metrics(s: Metrics, view: View) -> dict[str, Array]:
    """Training metrics for the labels used in training and (`_clean`) for the true ones; validation metrics for the
    true ones."""
    train_N, val_N = view.rows.train_N, view.val_N
    right_NA, clean_NA = judge(view, view.targets_NA)
    fitted_NA, loss_NA = judge(view, view.labels_NA) if view.label_noise else (right_NA, clean_NA)
    out = {
        "train_loss": scored_mean(view, loss_NA, train_N),
        "train_accuracy": accuracy(view, fitted_NA, train_N),
        "train_loss_clean": scored_mean(view, clean_NA, train_N),
        "train_accuracy_clean": accuracy(view, right_NA, train_N),
        "val_loss": scored_mean(view, clean_NA, val_N),
        "val_accuracy": accuracy(view, right_NA, val_N),
    }
    return out | (_by_mirror(view, right_NA) if view.model.table.commutative else {})


def judge(view: View, labels_NA: Array) -> tuple[Array, Array]:
    """Accuracy (1 or 0) and loss of each row and answer, N A each."""
    right_NA = is_right(view.logits_NAC, labels_NA).astype(jnp.float32)
    return right_NA, view.per_row_loss(view.logits_NAC, labels_NA)


def answers(s: Answers, view: View) -> dict[str, Array]:
    right_NA, loss_NA = judge(view, view.targets_NA)
    names, measured = view.model.table.answer_names, {}
    for name in dict.fromkeys(names):
        own = [i for i, other in enumerate(names) if other == name]
        for side, mask_N in (("train", view.rows.train_N), ("val", view.val_N)):
            measured[f"{side}_loss/{name}"] = masked_mean(loss_NA[:, own], mask_N)
            measured[f"{side}_accuracy/{name}"] = masked_mean(right_NA[:, own], mask_N)
    return measured


def _by_mirror(view: View, right_NA: Array) -> dict[str, Array]:
    """Validation accuracy of rows whose mirror row trains, and of the others.

    A network that has learned only x∘y = y∘x has accuracy 1 on the former and chance accuracy on the latter.
    """
    seen_N = view.rows.train_N[view.mirror_N] & (view.mirror_N >= 0)
    return {
        "val_accuracy_mirror_seen": accuracy(view, right_NA, view.val_N & seen_N),
        "val_accuracy_mirror_unseen": accuracy(view, right_NA, view.val_N & ~seen_N),
    }


def training_loss(s: TrainingLoss, view: View) -> dict[str, Array]:
    return {"training_loss_mean": view.mean_loss, "training_loss_max": view.max_loss}
