"""Sample: the data of a task whose rows each run draws itself."""

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
    """Rows of D numbers: first training rows, which each run draws, then test rows, which are the same for all runs.

    It is used in place of a Table. What both have, has the same name in both.
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
    """What a row consists of: a model reads one form only (ModelKind.reads)."""
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
        """How many numbers of rows and targets each run keeps for itself."""
        return self.n_rows * (self.n_inputs + len(self.answer_positions))

    @property
    def example(self) -> np.ndarray:
        """One row, (1, D), as a model's plain forward pass reads it."""
        return np.zeros((1, self.n_inputs), np.float32)

    def mirror_N(self) -> np.ndarray:
        """-1 for every row, because there are no operands to exchange."""
        return np.full(self.n_rows, -1, np.int32)

    def draw(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Inputs N D and targets N A of one run: the training rows, drawn with its key, then the test rows."""
        # The purpose is not one of the runs' keys: a run whose seed is test_seed must not train on the test rows.
        test_key = key_for(Purpose.TEST_ROWS, self.test_seed)
        train, test = self.draw_rows(key, self.n_train), self.draw_rows(test_key, self.n_test)
        return jnp.concatenate([train[0], test[0]]), jnp.concatenate([train[1], test[1]])
