"""What a probe sees: one run at one evaluation."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from grokjax.models import Model, Params
from grokjax.models.kind import MEANING, check_words
from grokjax.settings import Settings, extendable
from grokjax.splits import Rows
from grokjax.tasks import Sample

KEPT = {
    "gradients": "the gradient and the update of the last step: View.grads, View.updates",
    "previous": "the parameters at the previous evaluation: View.previous",
    "update_length": "the summed norms of the updates: View.update_length",
}
"""Words for what is kept in a run's state only if a probe requires it, and what each word stands for."""


class Probe(Settings):
    """Settings of every probe. A probe that requires an unknown word is an error (ValueError) when it is imported."""

    every: int = extendable(1, ge=1)
    """Number of evaluations from one value to the next; 1: at every evaluation."""
    requires: ClassVar[frozenset[str]] = frozenset()
    """What model and task must offer (words of MEANING), and fields of the View that are kept only if required (words
    of KEPT)."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        check_words(cls.__name__, cls.requires, {**MEANING, **KEPT})


@dataclasses.dataclass(frozen=True)
class View:
    """One run at one evaluation. N table rows, A answers, C classes. Fields that no probe requires can be None."""

    model: Model
    params: Params
    logits_NAC: Float[Array, "N A C"]
    """Logits of the whole table, readout scale included."""
    targets_NA: Int[Array, "N A"] | Float[Array, "N A C"]
    """Classes, or vectors N A C."""
    rows: Rows
    """Which rows train, and with which labels."""
    label_noise: bool
    """Whether labels and targets may differ."""
    mirror_N: Int[Array, " N"]
    """For each row the row with the operands exchanged; -1 if there is none."""
    per_row_loss: Callable[[Array, Array], Array]
    """The run's loss from logits ... C and labels ..."""
    mean_loss: Float[Array, ""]
    """Mean over the steps since the last evaluation of the training loss before the update; NaN at step 0."""
    max_loss: Float[Array, ""]
    """Largest training loss since the last evaluation; NaN at step 0."""
    grads: Params | None
    """Gradient of the last step (requires 'gradients'); zeros at step 0."""
    updates: Params | None
    """Change of the parameters in the last step (requires 'gradients'); zeros at step 0."""
    previous: Params | None
    """Parameters at the previous evaluation (requires 'previous')."""
    update_length: dict[str, Array] | None
    """Sum of the norms of all updates since the last evaluation: of each tensor by its name, and of the whole update by
    the name 'all' (requires 'update_length')."""
    steps: Int[Array, ""]
    """Number of steps since the last evaluation; 0 at step 0."""
    init_params: Callable[[], Params]
    """Parameters at step 0, recomputed from the seed."""
    tokens_NT: Int[Array, "N T"] | None
    """Tokens of the whole table; None if its rows are numbers."""
    apply: Callable[..., Array]
    """(parameters, optionally another model) -> logits N A C of the whole table, readout scale included."""
    features: Callable[[Params], Array]
    """Parameters -> features N A D of the whole table: what the output matrix is multiplied with."""

    @functools.cached_property
    def features_NAD(self) -> Float[Array, "N A D"]:
        return self.features(self.params)

    @property
    def labels_NA(self) -> Int[Array, "N A"] | Float[Array, "N A C"]:
        """Labels of training: the targets, except for wrong labels."""
        return self.targets_NA if self.rows.labels_NA is None else self.rows.labels_NA

    @property
    def val_N(self) -> Bool[Array, " N"]:
        """Rows that do not train, and whose answer is known."""
        table = self.model.table
        if isinstance(table, Sample):
            return jnp.arange(table.n_rows) >= table.n_drawn
        known_N = table.known_N
        return ~self.rows.train_N if known_N is None else ~self.rows.train_N & known_N


def tree_norm(tree: PyTree) -> Array:
    """Root of the sum of squares over all leaves."""
    squares = [(x**2).sum() for x in jax.tree.leaves(tree)]
    return sum(squares[1:], squares[0]) ** 0.5
