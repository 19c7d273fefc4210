"""A random subsequence that comes several times in random tokens (Nanda et al. 2023): what induction heads learn.

The tokens behind the first are divided into intervals. In each, the same subsequence stands at a random place. From its
second token on, a copy can be predicted from an earlier copy, and nothing else in a row can be predicted.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from pydantic import model_validator

from grokjax.settings import SettingError, shape
from grokjax.tasks.sample import Sample, Sequences
from grokjax.tasks.sequences import SequenceSettings, sequence_sample

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

    @property
    def length(self) -> int:
        """Tokens in a row."""
        return 1 + self.intervals * self.interval

    def _n_distinct(self) -> int:
        own = self.intervals * (self.interval - self.subsequence)
        places = (self.interval - self.subsequence + 1) ** self.intervals
        return places * self.symbols ** (self.subsequence + own)

    @model_validator(mode="after")
    def _is_possible(self) -> Repetition:
        if self.subsequence > self.interval:
            raise SettingError(
                "subsequence",
                f"{self.subsequence} is longer than interval = {self.interval}; use at most {self.interval}",
            )
        self.refuse(
            "interval" if self.interval >= self.intervals else "intervals", self._n_distinct
        )
        return self


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
    return sequence_sample(
        settings,
        draw_rows,
        n_classes=settings.symbols + 1,
        n_vocab=settings.symbols + 1,
        answer_positions=tuple(range(len(names))),
        answer_names=tuple(names),
        n_scored=(n_copies - 1 + settings.score_first) * (width - 1),
    )
