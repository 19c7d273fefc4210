"""What a measurement sees: one set of saved weights of one run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import jax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int
from pydantic import Field

from grokjax.models import Params
from grokjax.models.kind import MEANING, check_words
from grokjax.probes.metrics import first_largest
from grokjax.probes.view import View
from grokjax.settings import Settings, execution
from grokjax.tasks import Sequences

Steps = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False, min_length=1)]
At = Literal["final", "all"] | Steps
"""Which of a run's saved weights: the last ones, all snapshots and the last ones, or those of these steps."""


OF_WEIGHTS = {
    "final": "the weights of the run's end as well: Saved.final",
    "rows_y": "rows whose second operand is the setting rows_y",
}
"""Words for what only measurements require, and what each word stands for."""


class Measurement(Settings):
    """Settings of every measurement. One that requires an unknown word is an error (ValueError) when it is imported."""

    at: At = execution("final")
    """Which saved weights: final, all, or a list of steps."""
    requires: ClassVar[frozenset[str]] = frozenset()
    """What model and task must offer (words of MEANING), and words of OF_WEIGHTS. It is a property where it depends on
    the settings."""
    dims: ClassVar[dict[str, tuple[str, ...]]] = {}
    """Names of the measured arrays, and the dimensions of each."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if isinstance(cls.requires, frozenset):
            check_words(cls.__name__, cls.requires, {**MEANING, **OF_WEIGHTS})


@dataclasses.dataclass(frozen=True)
class Saved:
    """One set of saved weights of one run, with the rows that it trained on. B: rows of the bucket of training rows."""

    view: View
    """The view that a probe has. Gradients, updates and steps are missing, because only training knows them."""
    final: Params | None
    """Weights at the end of the run (requires 'final')."""
    inputs: Float[Array, "N D"] | Int[Array, "N T"] | Sequences
    """All rows as the plain forward pass reads them."""
    scale: ArrayLike
    """Readout scale: a factor on the logits."""
    real_B: Bool[Array, " B"]
    """Which entries of `view.rows.index_B` are training rows; the others come after them and are padding."""
    key: Array
    """For random numbers of a measurement. Made from the run's split_seed, and used for nothing else."""
    logits: Callable[[Params, jax.Array], jax.Array]
    """(parameters, row numbers N) -> logits N A C of these table rows, readout scale included."""

    @property
    def params(self) -> Params:
        return self.view.params

    def answers_BA(self, params: Params) -> jax.Array:
        """Predicted classes on the bucket of training rows."""
        return first_largest(self.logits(params, self.view.rows.index_B))
