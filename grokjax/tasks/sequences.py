"""Settings of all tasks on sequences of tokens: whether a run draws its rows once, or every step draws its own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from grokjax.settings import SettingError, Settings, shape
from grokjax.tasks.size import Size

MAX_LENGTH = 4096
"""Most tokens in a row."""


class SequenceSettings(Settings):
    """Settings of every task on sequences. Each task declares them itself, last, to keep the order of the settings."""

    n_train: Literal["stream"] | Annotated[int, Field(ge=1)] = shape("stream")
    """stream: every step draws train.batch_size new rows; or the number of rows that a run draws once."""
    n_test: int = shape(512, ge=1)
    """Number of validation rows, the same for all runs."""
    test_seed: int = shape(0, ge=0, lt=2**31)
    """Seed of the validation rows."""

    @property
    def rows_of_a_run(self) -> int:
        """Training rows that a run draws once; 0 for a stream."""
        return 0 if self.n_train == "stream" else self.n_train


def check_distinct(settings: SequenceSettings, distinct: int) -> None:
    """Raises SettingError if a finite sample has more rows than there are different ones."""
    if settings.rows_of_a_run > distinct:
        raise SettingError(
            "n_train",
            f"{settings.n_train} is more than the {distinct:,} different rows that there are; "
            f"use at most {distinct}, or stream",
        )


def check_length(name: str, value: int, length: int) -> None:
    """Raises SettingError if a setting makes rows that are too long."""
    if length > MAX_LENGTH:
        raise SettingError(
            name, f"{value} makes rows of {length:,} tokens; at most {MAX_LENGTH:,} are possible"
        )


def sequence_size(settings: SequenceSettings, length: int) -> Size:
    """Size of the rows that a run keeps: `length` tokens each."""
    n_train = settings.rows_of_a_run
    larger = "n_train" if n_train >= settings.n_test else "n_test"
    return Size(n_train + settings.n_test, length, larger)
