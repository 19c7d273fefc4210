"""Sample: the data of a task whose rows each run draws itself, once or anew for every step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Int

from grokjax.keys import Purpose, key_for

Draw = Callable[[jax.Array, int], tuple[Any, jax.Array]]
"""From a key and a number of rows n: inputs, (n, D) float32 or Sequences, and targets: classes (n, A) int32, or vectors
(n, A, C) float32."""


@struct.dataclass
@no_type_check
class Sequences:
    """Rows of tokens, and the positions at which each row is read."""

    tokens_NT: Int[Array, "N T"]
    at_NA: Int[Array, "N A"]
    executed: int = struct.field(pytree_node=False, default=0)
    """How many rows a program executes of these: what is the same in many of them is computed once."""


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Training rows that each run draws, then test rows, which are the same for all runs.

    It is used in place of a Table. What both have, has the same name in both. A row consists of numbers or of tokens.
    Of a stream, the training rows are those of one step: the next step draws others.
    """

    draw_rows: Draw
    n_train: int
    """Training rows of a run; of a stream: of a step (0 until the size of a step is known)."""
    n_test: int
    test_seed: int
    n_inputs: int
    """Numbers or tokens in a row."""
    n_classes: int
    """Number of logits; where the answers are vectors, their length."""
    n_answers: int
    """Number of classes that occur as answers: 0 .. n_answers-1."""
    answers: str = "classes"
    """What is learned of a row: classes, or vectors."""
    importance_C: np.ndarray | None = None
    """float32 factor of each entry in the loss; only where the answers are vectors."""
    reconstructs: bool = False
    """Whether the answer to each row is the row itself."""
    most_nonzero: int | None = None
    """So many numbers of a row at most are not zero; None: no bound is known, or none at which gathering them pays."""
    traced_size: bool = False
    """Whether the number of training rows is no part of a program: `padding` makes up the bucket that it has."""
    n_available: int | None = None
    """Different rows that a run can draw; None: as many as it likes."""
    draw_test: Draw | None = None
    """Draws the test rows; None: `draw_rows` does."""
    padding: int = 0
    """Rows that are drawn with the training rows, and neither train nor validate. The split draws which ones."""
    form: str = "numbers"
    """What a row consists of, numbers or sequences: a model reads some forms only (ModelKind.reads)."""
    stream: bool = False
    """Whether every step draws its own training rows."""
    n_vocab: int = 0
    answer_positions: tuple[int, ...] = (0,)
    """Positions at which the answers are read; where they differ from row to row, those of an example."""
    answer_names: tuple[str, ...] = ("answer",)
    """A name for each answer. The values of answers with one name are averaged."""
    n_scored: int = 1
    """How many answers, the first ones, are in the loss. The others are only measured."""
    drawn: ClassVar[bool] = True
    """Whether each run draws its own rows."""
    commutative: bool = False
    cyclic: bool = False
    additive: bool = False

    @property
    def n_drawn(self) -> int:
        """Rows that are drawn for each run: training rows and padding."""
        return self.n_train + self.padding

    @property
    def n_rows(self) -> int:
        return self.n_drawn + self.n_test

    @property
    def n_positions(self) -> int:
        return self.n_inputs if self.form == "sequences" else 1

    @property
    def own_numbers(self) -> int:
        """How many numbers of rows and targets each run keeps for itself."""
        width = self.n_classes if self.answers == "vectors" else 1
        return self.n_rows * (self.n_inputs + width * len(self.answer_positions))

    @property
    def example(self) -> np.ndarray:
        """One row, (1, D) or (1, T), as a model's plain forward pass reads it."""
        return np.zeros((1, self.n_inputs), np.int32 if self.form == "sequences" else np.float32)

    def mirror_N(self) -> np.ndarray:
        """-1 for every row, because there are no operands to exchange."""
        return np.full(self.n_rows, -1, np.int32)

    def draw(self, key: jax.Array) -> tuple[Any, jax.Array]:
        """Inputs and targets of one run: the training rows and padding, drawn with its key, then the test rows."""
        # The purpose is not one of the runs' keys: a run whose seed is test_seed must not train on the test rows.
        test_key = key_for(Purpose.TEST_ROWS, self.test_seed)
        train = self.draw_rows(key, self.n_drawn)
        test = (self.draw_test or self.draw_rows)(test_key, self.n_test)
        return jax.tree.map(lambda x, y: jnp.concatenate([x, y]), train, test)
