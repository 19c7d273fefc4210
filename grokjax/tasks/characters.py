"""Arithmetic on characters whose values are hidden: which character stands for which residue is drawn once."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Int
from pydantic import model_validator

from grokjax.settings import Settings, shape
from grokjax.tasks.equations import FORMATS, check_tokens, equation_table
from grokjax.tasks.modular import MAX_MODULUS, OPERATIONS
from grokjax.tasks.size import Size
from grokjax.tasks.table import Table


class Characters(Settings):
    """All equations of one operation on an alphabet: the answer is the character whose value is the operation on the
    values of the two others, modulo the size of the alphabet. It is `modular` with other names for the numbers."""

    kind: Literal["characters"] = shape("characters")
    operation: Literal["x+y", "x-y", "x*y"] = shape("x+y")
    """The operation on the values."""
    n: int = shape(26, ge=2, le=MAX_MODULUS)
    """Size of the alphabet: 26 letters, 62 letters and digits, or any other."""
    value_seed: int = shape(0, ge=0, lt=2**31)
    """Seed of the values."""
    format: Literal[tuple(FORMATS)] = shape("a b =")  # type: ignore[valid-type]
    """Tokens of a row, as in the task `modular`."""
    classes: Literal["n", "vocabulary"] = shape("vocabulary")
    """Number of logits. Those from n on are never the right answer, but are part of the loss."""

    @model_validator(mode="after")
    def _tokens_fit(self) -> Characters:
        check_tokens(self.format, self.n, None, self.classes == "n")
        return self


def characters_with_values(n: int, value_seed: int) -> Int[np.ndarray, " n"]:
    """The character (its token) that has each value 0 .. n-1: a permutation drawn from the seed."""
    return np.random.default_rng(value_seed).permutation(n)


def characters_size(settings: Characters) -> Size:
    """Size of the table, as in the task `modular`."""
    return Size(settings.n**2, settings.n, "n")


def characters_table(settings: Characters) -> Table:
    """Rows in row-major order of the two values, so that row i is the same equation as row i of the task `modular`."""
    n = settings.n
    character = characters_with_values(n, settings.value_seed)
    x_N, y_N = np.divmod(np.arange(n * n), n)
    # None of the operations asks for more than the two numbers.
    answers_N = OPERATIONS[settings.operation].answer(x_N, y_N, None) % n  # type: ignore[arg-type]
    operands_N2 = np.stack([character[x_N], character[y_N]], 1)
    n_classes = n if settings.classes == "n" else None
    return equation_table(operands_N2, character[answers_N], n, settings.format, n_classes)
