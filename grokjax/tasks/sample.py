"""The form in which a task hands over rows that each run draws for itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from grokjax.keys import Purpose, key_for

Draw = Callable[[jax.Array, int], tuple[jax.Array, jax.Array]]
"""From a key and a number of rows n: inputs (n, D) float32 and targets (n, A) int32."""


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Rows of D numbers: training rows drawn per run, then test rows that are the same for all runs.

    It stands where a Table stands; what both have goes by the same name.
    """

    draw_rows: Draw
    n_train: int
    n_test: int
    test_seed: int
    n_inputs: int
    n_classes: int
    n_answers: int
    """Number of classes that occur as answers: 0 .. n_answers-1."""
    form: ClassVar[str] = "numbers"
    """What a row is, for the models that read it."""
    drawn: ClassVar[bool] = True
    """Whether each run draws its own rows."""
    answer_positions: tuple[int, ...] = (0,)
    commutative: bool = False
    cyclic: bool = False

    @property
    def n_rows(self) -> int:
        return self.n_train + self.n_test

    @property
    def n_positions(self) -> int:
        return 1

    @property
    def own_numbers(self) -> int:
        """Numbers of rows and targets that each run holds for itself."""
        return self.n_rows * (self.n_inputs + len(self.answer_positions))

    @property
    def example(self) -> np.ndarray:
        """One row as a model's plain forward pass reads it."""
        return np.zeros((1, self.n_inputs), np.float32)

    def mirror_N(self) -> np.ndarray:
        """-1: there are no operands to exchange."""
        return np.full(self.n_rows, -1, np.int32)

    def draw(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Inputs N D and targets N A of one run: the training rows, from its key, then the test rows."""
        # Another purpose than those of the runs' keys: rows of a run whose seed is test_seed are not the test rows.
        test_key = key_for(Purpose.TEST_ROWS, self.test_seed)
        train, test = self.draw_rows(key, self.n_train), self.draw_rows(test_key, self.n_test)
        return jnp.concatenate([train[0], test[0]]), jnp.concatenate([train[1], test[1]])
