"""ROT13: each letter is replaced by the one a fixed number of places on. It can only be memorised letter by letter."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import model_validator

from grokjax.settings import Settings, shape
from grokjax.tasks.sample import Sample, Sequences
from grokjax.tasks.sequences import SequenceSettings, sequence_sample
from grokjax.tasks.table import Table


class Rot13(Settings):
    """Single letters: a row for each. A letter that does not train tells nothing about the others."""

    kind: Literal["rot13"] = shape("rot13")
    n: int = shape(26, ge=2, le=4096)
    """Size of the alphabet."""
    shift: int = shape(13, ge=0)
    """How many places a letter is moved, modulo n."""


class Rot13Strings(SequenceSettings):
    """Strings of independent letters; each letter is answered where it stands. A validation string has only letters
    that train in other strings."""

    kind: Literal["rot13_strings"] = shape("rot13_strings")
    n: int = shape(26, ge=2, le=4096)
    """Size of the alphabet."""
    letters: int = shape(8, ge=1)
    """Letters in a string."""
    shift: int = shape(13, ge=0)
    """How many places a letter is moved, modulo n."""

    @property
    def length(self) -> int:
        """Tokens in a row."""
        return self.letters

    @model_validator(mode="after")
    def _is_possible(self) -> Rot13Strings:
        self.refuse("letters", lambda: self.n**self.letters)
        return self


def rot13_table(settings: Rot13) -> Table:
    """A row for each letter, in order."""
    letters_N = np.arange(settings.n, dtype=np.int32)
    return Table(
        tokens_NT=letters_N[:, None],
        targets_NA=(letters_N[:, None] + settings.shift) % settings.n,
        answer_positions=(0,),
        n_vocab=settings.n,
        n_classes=settings.n,
        n_answers=settings.n,
        operands_N2=np.stack([letters_N, np.zeros_like(letters_N)], 1),
        commutative=False,
    )


def rot13_sample(settings: Rot13Strings) -> Sample:
    """The rows of these settings."""
    length = settings.letters

    def draw_rows(key: jax.Array, n: int) -> tuple[Sequences, jax.Array]:
        tokens_NT = jax.random.randint(key, (n, length), 0, settings.n, jnp.int32)
        at_NA = jnp.broadcast_to(jnp.arange(length), (n, length))
        return Sequences(tokens_NT, at_NA), (tokens_NT + settings.shift) % settings.n

    return sequence_sample(
        settings,
        draw_rows,
        n_vocab=settings.n,
        n_classes=settings.n,
        answer_positions=tuple(range(length)),
        answer_names=("letter",) * length,
        n_scored=length,
    )
