"""Skip trigrams: find the one special token among random ones, and say its value at the end (Nanda et al. 2023)."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from pydantic import model_validator

from grokjax.settings import shape
from grokjax.tasks.sample import Sample, Sequences
from grokjax.tasks.sequences import SequenceSettings, sequence_sample

BEGIN, QUERY = 0, 1


class SkipTrigram(SequenceSettings):
    """Random tokens, of which one at a random place carries a value; the last token asks for it."""

    kind: Literal["skip_trigram"] = shape("skip_trigram")
    n_tokens: int = shape(40, ge=1)
    """Tokens between the first one (id 0) and the one that asks (id 1)."""
    fillers: int = shape(10, ge=1)
    """Number of different tokens without a value; they have the ids 2 to fillers + 1."""
    values: int = shape(10, ge=2)
    """Number of different values; the token with value v has the id fillers + 2 + v."""

    @property
    def length(self) -> int:
        """Tokens in a row."""
        return self.n_tokens + 2

    @model_validator(mode="after")
    def _is_possible(self) -> SkipTrigram:
        self.refuse(
            "n_tokens",
            lambda: self.n_tokens * self.values * self.fillers ** (self.n_tokens - 1),
        )
        return self


def skip_trigram_sample(settings: SkipTrigram) -> Sample:
    """The rows of these settings."""
    first_value = settings.fillers + 2

    def draw_rows(key: jax.Array, n: int) -> tuple[Sequences, jax.Array]:
        filler_key, value_key, place_key = jax.random.split(key, 3)
        fillers_NL = jax.random.randint(filler_key, (n, settings.n_tokens), 2, first_value)
        value_N1 = jax.random.randint(value_key, (n, 1), 0, settings.values)
        place_N1 = jax.random.randint(place_key, (n, 1), 0, settings.n_tokens)
        is_special = jnp.arange(settings.n_tokens) == place_N1
        middle_NL = jnp.where(is_special, first_value + value_N1, fillers_NL)
        begin, query = (jnp.full((n, 1), token) for token in (BEGIN, QUERY))
        tokens_NT = jnp.concatenate([begin, middle_NL, query], 1).astype(jnp.int32)
        return Sequences(tokens_NT, jnp.full((n, 1), settings.length - 1)), value_N1.astype(
            jnp.int32
        )

    return sequence_sample(
        settings,
        draw_rows,
        n_classes=settings.values,
        n_vocab=first_value + settings.values,
        answer_positions=(settings.length - 1,),
    )
