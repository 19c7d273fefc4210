"""A random subsequence that comes several times in random tokens (Nanda et al. 2023): what induction heads learn.

The tokens behind the first are divided into intervals. In each, the same subsequence stands at a random place. From its
second token on, a copy can be predicted from an earlier copy, and nothing else in a row can be predicted.
"""

from __future__ import annotations

from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from pydantic import Field, model_validator

from grokjax.settings import SettingError, shape
from grokjax.tasks.sample import Sample, Sequences
from grokjax.tasks.sequences import (
    SequenceSettings,
    check_distinct,
    check_length,
    sequence_size,
)
from grokjax.tasks.size import Size

BEGIN = 0


class Repetition(SequenceSettings):
    """A random subsequence at a random place of each interval; later copies are predicted from earlier ones."""

    kind: Literal["repeated_subsequence"] = shape("repeated_subsequence")
    symbols: int = shape(127, ge=2)
    """Number of different symbols. They have the ids 1 to symbols; 0 is the first token of each row."""
    intervals: int = shape(3, ge=2)
    """Number of intervals, and of copies."""
    interval: int = shape(28, ge=2)
    """Tokens of an interval."""
    subsequence: int = shape(16, ge=2)
    """Tokens of the subsequence; at most those of an interval."""
    score_first: bool = shape(False)
    """true: the first copy is in the loss too, so that its loss is that of guessing. The source scores later copies."""
    n_train: Literal["stream"] | Annotated[int, Field(ge=1)] = shape("stream")
    """stream: every step draws train.batch_size new rows; or the number of rows that a run draws once."""
    n_test: int = shape(512, ge=1)
    """Number of validation rows, the same for all runs."""
    test_seed: int = shape(0, ge=0, lt=2**31)
    """Seed of the validation rows."""

    @property
    def length(self) -> int:
        """Tokens in a row."""
        return 1 + self.intervals * self.interval

    @model_validator(mode="after")
    def _is_possible(self) -> Repetition:
        if self.subsequence > self.interval:
            raise SettingError(
                "subsequence",
                f"{self.subsequence} is longer than interval = {self.interval}; use at most {self.interval}",
            )
        check_length("interval", self.interval, self.length)
        own = self.intervals * (self.interval - self.subsequence)
        places = (self.interval - self.subsequence + 1) ** self.intervals
        check_distinct(self, places * self.symbols ** (self.subsequence + own))
        return self


def repetition_size(settings: Repetition) -> Size:
    """Size of the rows that a run keeps."""
    return sequence_size(settings, settings.length)


def repetition_sample(settings: Repetition) -> Sample:
    """The rows of these settings. Answers: the second copy's tokens from the second on, the third's, ..., the first's.

    The first copy comes last, because it is not scored unless `score_first`. A network not trained on it becomes
    sure of wrong tokens there, so only a scored first copy says what can be had without an earlier one.
    """
    n_copies, length, width = settings.intervals, settings.interval, settings.subsequence
    order = [*range(1, n_copies), 0]

    def draw_rows(key: jax.Array, n: int) -> tuple[Sequences, jax.Array]:
        own_key, copy_key, place_key = jax.random.split(key, 3)
        shape_NIL = (n, n_copies, length)
        around_NIL = jax.random.randint(own_key, shape_NIL, 1, settings.symbols + 1)
        copy_NW = jax.random.randint(copy_key, (n, width), 1, settings.symbols + 1)
        start_NI = jax.random.randint(place_key, (n, n_copies), 0, length - width + 1)
        within_NIL = jnp.arange(length) - start_NI[..., None]
        planted_NIL = jnp.take_along_axis(
            copy_NW[:, None], jnp.clip(within_NIL, 0, width - 1), axis=2
        )
        is_copy = (within_NIL >= 0) & (within_NIL < width)
        rows_NL = jnp.where(is_copy, planted_NIL, around_NIL).reshape(n, -1)
        tokens_NT = jnp.concatenate([jnp.full((n, 1), BEGIN), rows_NL], 1).astype(jnp.int32)
        first_NI = 1 + jnp.arange(n_copies) * length + start_NI
        at_NIW = first_NI[:, jnp.array(order), None] + jnp.arange(width - 1)
        targets_NA = jnp.tile(copy_NW[:, 1:], (1, n_copies))
        return Sequences(tokens_NT, at_NIW.reshape(n, -1)), targets_NA.astype(jnp.int32)

    names = [f"copy_{i + 1}" for i in order for _ in range(width - 1)]
    return Sample(
        draw_rows=draw_rows,
        n_train=settings.rows_of_a_run,
        n_test=settings.n_test,
        test_seed=settings.test_seed,
        n_inputs=settings.length,
        n_classes=settings.symbols + 1,
        n_answers=settings.symbols + 1,
        form="sequences",
        stream=settings.n_train == "stream",
        n_vocab=settings.symbols + 1,
        answer_positions=tuple(range(len(names))),
        fixed_positions=False,
        answer_names=tuple(names),
        n_scored=(n_copies - 1 + settings.score_first) * (width - 1),
    )
