"""What a run answers to every row, and how sure it is: also to rows whose answer nobody knows."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import Array

from grokjax.measurements.saved import Measurement, Saved
from grokjax.models import Model
from grokjax.probes.metrics import first_largest
from grokjax.settings import execution


class Predictions(Measurement):
    """The first answer to each row of the task's table: the class with the largest logit, and its probability. x and y
    are the row's operands; known is 0 where nobody knows the answer."""

    kind: Literal["predictions"] = execution("predictions")
    requires: ClassVar[frozenset[str]] = frozenset({"table"})
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "answer": ("row",),
        "probability": ("row",),
        "x": ("row",),
        "y": ("row",),
        "known": ("row",),
    }


def labels(s: Predictions, model: Model) -> dict[str, Any]:
    return {"row": range(model.token_table.n_rows)}


def predictions(s: Predictions, saved: Saved) -> dict[str, Array]:
    """answer: class of each row; probability: that of this class, by the softmax over all classes."""
    table = saved.view.model.token_table
    rows_N = jnp.arange(table.n_rows)
    known_N = jnp.ones(table.n_rows, bool) if table.known_N is None else jnp.asarray(table.known_N)
    x_N, y_N = jnp.asarray(table.operands_N2).T
    logits_NC = saved.logits(saved.params, rows_N)[:, 0]
    answer_N = first_largest(logits_NC)
    probability_N = jax.nn.softmax(logits_NC).max(-1)
    found = {"answer": answer_N, "probability": probability_N, "x": x_N, "y": y_N}
    return found | {"known": known_N.astype(jnp.int32)}
