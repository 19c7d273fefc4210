"""What tasks on rows of numbers share that learn from a sample of any size, or from a stream."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from grokjax.settings import Settings, hyper, shape
from grokjax.tasks.sample import Draw, Sample
from grokjax.tasks.size import Size


class NumbersSettings(Settings):
    """Settings of every such task. A task extends it. The size of the sample can be an axis at little cost: sizes that
    are close to each other share a program."""

    n_train: Literal["stream"] | Annotated[int, Field(ge=1)] = hyper("stream")
    """stream: every step draws train.batch_size new rows; or the number of rows that a run draws once, with its
    split_seed."""
    n_test: int = shape(2000, ge=1)
    """Number of validation rows, the same for all runs."""
    test_seed: int = shape(0, ge=0, lt=2**31)
    """Seed of the validation rows, and of what all rows have in common."""

    @property
    def rows_of_a_run(self) -> int:
        """Training rows that a run draws once; 0 for a stream."""
        return 0 if self.n_train == "stream" else self.n_train


def numbers_size(settings: NumbersSettings, width: int, widest: str) -> Size:
    """Size of rows of `width` numbers, targets included. `widest`: the setting that makes them wide."""
    rows = settings.rows_of_a_run + settings.n_test
    larger = "n_train" if settings.rows_of_a_run >= settings.n_test else "n_test"
    return Size(rows, width, widest if width > rows else larger)


def numbers_sample(
    settings: NumbersSettings,
    draw_rows: Draw,
    n_inputs: int,
    n_classes: int,
    importance_C: np.ndarray | None = None,
    reconstructs: bool = False,
    most_nonzero: int | None = None,
) -> Sample:
    """The Sample of these settings. Every class occurs as an answer; with `importance_C` the answers are vectors."""
    return Sample(
        draw_rows=draw_rows,
        n_train=settings.rows_of_a_run,
        n_test=settings.n_test,
        test_seed=settings.test_seed,
        stream=settings.n_train == "stream",
        traced_size=True,
        n_inputs=n_inputs,
        n_classes=n_classes,
        n_answers=n_classes,
        answers="classes" if importance_C is None else "vectors",
        importance_C=importance_C,
        reconstructs=reconstructs,
        most_nonzero=most_nonzero,
    )
