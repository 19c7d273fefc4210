"""Table: the data of a task whose rows are all known before training."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np


@dataclasses.dataclass(frozen=True)
class Table:
    """All rows of a finite task. N rows, T positions, A answers."""

    tokens_NT: np.ndarray
    """int32, below n_vocab."""
    targets_NA: np.ndarray
    """int32 class of each answer, below n_answers."""
    answer_positions: tuple[int, ...]
    """Positions at which the answers are read, ascending, length A."""
    n_vocab: int
    n_classes: int
    """Number of logits. It can be larger than n_answers: some sources have a class for '='."""
    n_answers: int
    """Number of classes that occur as answers: 0 .. n_answers-1."""
    operands_N2: np.ndarray
    """int32 operands (x, y) of each row, as element numbers."""
    commutative: bool
    """Whether x∘y = y∘x on the whole table. If so, the training rows contain the answers of their mirror rows."""
    form: ClassVar[str] = "tokens"
    """What a row consists of: a model reads one form only (ModelKind.reads)."""
    drawn: ClassVar[bool] = False
    """Whether each run draws its own rows."""
    stream: ClassVar[bool] = False
    """Whether every step draws its own training rows."""
    answers: ClassVar[str] = "classes"
    """What is learned of a row: classes, or vectors."""
    traced_size: ClassVar[bool] = False
    """Whether runs with other numbers of training rows can share a program through `padding`."""
    cyclic: bool = False
    """Whether the tokens 0 .. n_answers-1 are residues, so that a Fourier transform over them has a meaning."""
    additive: bool = False
    """Whether all pairs of residues are there, and the answer is their sum or difference modulo p."""
    whole_rows: bool = False
    """Whether a row counts as right only if all its answers are; else each answer counts alone."""
    permutations: np.ndarray | None = None
    """(elements, points) images of the points under each element, where elements are permutations."""
    known_N: np.ndarray | None = None
    """Which rows have an answer that is known; None: all. The others neither train nor validate."""

    @property
    def n_rows(self) -> int:
        return len(self.tokens_NT)

    @property
    def n_positions(self) -> int:
        return self.tokens_NT.shape[1]

    @property
    def n_scored(self) -> int:
        """How many answers, the first ones, are in the loss: all."""
        return len(self.answer_positions)

    @property
    def answer_names(self) -> tuple[str, ...]:
        """A name for each answer."""
        n = len(self.answer_positions)
        return ("answer",) if n == 1 else tuple(f"answer_{i}" for i in range(n))

    @property
    def own_numbers(self) -> int:
        """How many numbers of rows and targets each run keeps for itself."""
        return 0

    @property
    def example(self) -> np.ndarray:
        """One row, (1, T), as a model's plain forward pass reads it."""
        return self.tokens_NT[:1]

    def mirror_N(self) -> np.ndarray:
        """For each row the row with the operands exchanged; -1 if the table has no such row."""
        n = int(self.operands_N2.max()) + 1
        row_of = np.full(n * n, -1, np.int32)
        x_N, y_N = self.operands_N2.T.astype(np.int64)
        row_of[x_N * n + y_N] = np.arange(self.n_rows)
        return row_of[y_N * n + x_N]
