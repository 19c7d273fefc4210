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
    """The first answer to each row of the task's table: the class with the largest logit, and its probability."""

    kind: Literal["predictions"] = execution("predictions")
    requires: ClassVar[frozenset[str]] = frozenset({"table"})
    dims: ClassVar[dict[str, tuple[str, ...]]] = {"answer": ("row",), "probability": ("row",)}


def labels(s: Predictions, model: Model) -> dict[str, Any]:
    return {"row": range(model.token_table.n_rows)}


def predictions(s: Predictions, saved: Saved) -> dict[str, Array]:
    """answer: class of each row; probability: that of this class, by the softmax over all classes."""
    rows_N = jnp.arange(saved.view.model.table.n_rows)
    logits_NC = saved.logits(saved.params, rows_N)[:, 0]
    answer_N = first_largest(logits_NC)
    probability_N = jax.nn.softmax(logits_NC).max(-1)
    return {"answer": answer_N, "probability": probability_N}
