"""What a measurement sees: one set of saved weights of one run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import jax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int
from pydantic import Field

from grokjax.models import Params
from grokjax.probes.metrics import first_largest
from grokjax.probes.view import View
from grokjax.settings import Settings, execution

Steps = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False, min_length=1)]
At = Literal["final", "all"] | Steps
"""Which of a run's saved weights: the last ones, all snapshots and the last ones, or those of these steps."""


class Measurement(Settings):
    """What the settings of every measurement have."""

    at: At = execution("final")
    """Which saved weights: final, all, or a list of steps."""
    requires: ClassVar[frozenset[str]] = frozenset()
    """What model and task must offer (models.MEANING); 'final' asks for the weights of the run's end as well."""
    dims: ClassVar[dict[str, tuple[str, ...]]] = {}
    """What is found, by name, and the dimensions of each array."""


@dataclasses.dataclass(frozen=True)
class Saved:
    """B rows of the bucket of training rows. Everything is of one run, its rows those that it trained on."""

    view: View
    """As a probe sees it. What only a training in progress knows (gradients, updates, steps) is missing."""
    final: Params | None
    """Weights at the end of the run (requires 'final')."""
    inputs: Float[Array, "N D"] | Int[Array, "N T"]
    """All rows as the plain forward pass reads them."""
    scale: ArrayLike
    """Readout scale: a factor on the logits."""
    real_B: Bool[Array, " B"]
    """Which entries of `view.rows.index_B` are training rows; behind them the bucket is filled up."""
    key: Array
    """For what a measurement draws. From the run's split_seed, and used for nothing else."""
    logits: Callable[[Params, jax.Array], jax.Array]
    """Logits of the table's rows of an index, readout scale included."""

    @property
    def params(self) -> Params:
        return self.view.params

    def answers_BA(self, params: Params) -> jax.Array:
        """Predicted classes on the bucket of training rows."""
        return first_largest(self.logits(params, self.view.rows.index_B))
