"""How sharply the training loss rises around saved weights (Keskar et al. 2017, arXiv 1609.04836)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import Array

from grokjax.losses import is_right
from grokjax.measurements.saved import Measurement, Saved
from grokjax.models import Model, Params
from grokjax.probes.metrics import accuracy, scored_mean
from grokjax.settings import execution


class Sharpness(Measurement):
    """Largest training loss f in a box around the weights w, as a rise: 100 (max f(w + d) - f(w)) / (1 + f(w)), where
    every |d_i| is at most `epsilon` (|w_i| + 1) (Keskar et al. 2017, equations 3 and 4, in all directions).

    The maximum is sought from w by steps along the signs of the gradient, each cut to the box, so it is a lower bound,
    usually a closer one with more `steps`. The released code of Power et al. takes ten random
    directions, and minimises, so its numbers are others.

    sharpness: the rise in percent. loss: f(w). largest_loss: that found in the box. val_accuracy: that of w.
    """

    kind: Literal["sharpness"] = execution("sharpness")
    epsilon: float = execution(1e-3, gt=0, le=1)
    """Half the width of the box, as a share of |w_i| + 1."""
    steps: int = execution(20, ge=1, le=10_000)
    """Steps along the signs of the gradient; together they can cross the box twice."""
    dims: ClassVar[dict[str, tuple[str, ...]]] = dict.fromkeys(
        ("sharpness", "loss", "largest_loss", "val_accuracy"), ()
    )


def labels(s: Sharpness, model: Model) -> dict[str, Any]:
    return {}


def sharpness(s: Sharpness, saved: Saved) -> dict[str, Array]:
    """The run's own loss on the rows that it trained on, with the labels that it trained on."""
    view, start = saved.view, saved.params
    bound = jax.tree.map(lambda w: s.epsilon * (jnp.abs(w) + 1), start)

    def loss(params: Params) -> Array:
        per_answer_NA = view.per_row_loss(view.apply(params), view.labels_NA)
        return scored_mean(view, per_answer_NA, view.rows.train_N)

    before, right_NA = loss(start), is_right(view.apply(start), view.targets_NA)
    largest = largest_in_box(loss, start, bound, s.steps)
    return {
        "sharpness": 100 * (largest - before) / (1 + before),
        "loss": before,
        "largest_loss": largest,
        "val_accuracy": accuracy(view, right_NA.astype(jnp.float32), view.val_N),
    }


def largest_in_box(
    loss: Callable[[Params], Array], start: Params, bound: Params, steps: int
) -> Array:
    """The largest loss on the way from `start` by steps along the signs of the gradient, within `bound` of it."""

    def ascend(state: tuple[Params, Array], _: None) -> tuple[tuple[Params, Array], None]:
        params, largest = state
        value, slope = jax.value_and_grad(loss)(params)
        moved = jax.tree.map(
            lambda w, g, b, w0: jnp.clip(w + (4 / steps) * b * jnp.sign(g), w0 - b, w0 + b),
            *(params, slope, bound, start),
        )
        return (moved, jnp.maximum(largest, value)), None

    (last, largest), _ = jax.lax.scan(ascend, (start, loss(start)), None, length=steps)
    return jnp.maximum(largest, loss(last))
