"""What all tasks on sequences of tokens share: a run draws its rows once, or every step draws its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field

from grokjax.settings import SettingError, Settings, shape
from grokjax.tasks.sample import Draw, Sample
from grokjax.tasks.size import Size

MAX_LENGTH = 4096
"""Most tokens in a row."""


class SequenceSettings(Settings):
    """Settings of every task on sequences. A task extends it, and says how long its rows are."""

    n_train: Literal["stream"] | Annotated[int, Field(ge=1)] = shape("stream")
    """stream: every step draws train.batch_size new rows; or the number of rows that a run draws once."""
    n_test: int = shape(512, ge=1)
    """Number of validation rows, the same for all runs. Of small tasks, some can be training rows too."""
    test_seed: int = shape(0, ge=0, lt=2**31)
    """Seed of the validation rows."""

    @property
    def length(self) -> int:
        """Tokens in a row."""
        raise NotImplementedError

    @property
    def rows_of_a_run(self) -> int:
        """Training rows that a run draws once; 0 for a stream."""
        return 0 if self.n_train == "stream" else self.n_train

    def refuse(self, longest: str, distinct: Callable[[], int]) -> None:
        """Raises SettingError if rows are too long (for the setting `longest`), or a sample larger than what there is.

        `distinct`: how many different rows there are at the most. Only asked of rows that are not too long, because it
        is a power of their length.
        """
        if self.length > MAX_LENGTH:
            raise SettingError(
                longest,
                f"{getattr(self, longest)} makes rows of {self.length:,} tokens; "
                f"at most {MAX_LENGTH:,} are possible",
            )
        if self.rows_of_a_run and self.rows_of_a_run > (most := distinct()):
            raise SettingError(
                "n_train",
                f"{self.n_train} is more than the {most:,} different rows that there are; "
                f"use at most {most}, or stream",
            )


def sequence_size(settings: SequenceSettings) -> Size:
    """Size of the rows that a run keeps."""
    n_train = settings.rows_of_a_run
    larger = "n_train" if n_train >= settings.n_test else "n_test"
    return Size(n_train + settings.n_test, settings.length, larger)


def sequence_sample(
    settings: SequenceSettings,
    draw_rows: Draw,
    n_vocab: int,
    n_classes: int,
    answer_positions: tuple[int, ...],
    answer_names: tuple[str, ...] = ("answer",),
    n_scored: int = 1,
) -> Sample:
    """The Sample of these settings. Every class occurs as an answer; the other arguments are fields of Sample."""
    return Sample(
        draw_rows=draw_rows,
        n_train=settings.rows_of_a_run,
        n_test=settings.n_test,
        test_seed=settings.test_seed,
        n_inputs=settings.length,
        n_classes=n_classes,
        n_answers=n_classes,
        form="sequences",
        stream=settings.n_train == "stream",
        n_vocab=n_vocab,
        answer_positions=answer_positions,
        answer_names=answer_names,
        n_scored=n_scored,
    )
