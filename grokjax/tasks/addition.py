"""Addition of two decimal numbers, digit by digit, with the answer behind the equals sign (Nanda et al. 2023).

A row of numbers with two digits: 4 7 + 8 5 = 1 3 2. Each digit of the answer is predicted from the tokens before it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from pydantic import Field, model_validator

from grokjax.settings import shape
from grokjax.tasks.sample import Sample, Sequences
from grokjax.tasks.sequences import SequenceSettings, sequence_sample

PLUS, EQUALS = 10, 11


class Addition(SequenceSettings):
    """Sums of two numbers, as digits: 4 7 + 8 5 = 1 3 2. The digits of the operands are uniform."""

    kind: Literal["addition"] = shape("addition")
    digits: int = shape(5, ge=1)
    """Digits of each operand."""
    answer_digits: Annotated[int, Field(ge=1)] | None = shape(None)
    """Digits of the answer, the last ones of the sum, with leading zeros; null: digits + 1, so that all sums fit."""

    @property
    def n_digits_of_answer(self) -> int:
        return self.digits + 1 if self.answer_digits is None else self.answer_digits

    @property
    def length(self) -> int:
        """Tokens in a row."""
        return 2 * self.digits + 2 + self.n_digits_of_answer

    @model_validator(mode="after")
    def _is_possible(self) -> Addition:
        longest = "digits" if self.n_digits_of_answer <= self.digits + 1 else "answer_digits"
        self.refuse(longest, lambda: 100**self.digits)
        return self


def addition_sample(settings: Addition) -> Sample:
    """The rows of these settings. Answer 0 is the first digit behind '='."""
    digits, n_answers = settings.digits, settings.n_digits_of_answer
    before = tuple(range(2 * digits + 1, settings.length - 1))

    def draw_rows(key: jax.Array, n: int) -> tuple[Sequences, jax.Array]:
        operands_N2D = jax.random.randint(key, (n, 2, digits), 0, 10)
        answers_NA = sum_digits(operands_N2D, n_answers)
        plus, equals = (jnp.full((n, 1), token) for token in (PLUS, EQUALS))
        tokens_NT = jnp.concatenate(
            [operands_N2D[:, 0], plus, operands_N2D[:, 1], equals, answers_NA], 1
        )
        at_NA = jnp.broadcast_to(jnp.array(before), (n, n_answers))
        return Sequences(tokens_NT.astype(jnp.int32), at_NA), answers_NA.astype(jnp.int32)

    return sequence_sample(
        settings,
        draw_rows,
        n_classes=10,
        n_vocab=12,
        answer_positions=before,
        answer_names=tuple(f"digit_{i}" for i in range(n_answers)),
        n_scored=n_answers,
    )


def sum_digits(operands_N2D: jax.Array, n_answers: int) -> jax.Array:
    """The last `n_answers` digits of the sums, (N, A), by hand: a column at a time, so no sum is too large."""
    columns, carry = [], jnp.zeros(len(operands_N2D), jnp.int32)
    for place in range(n_answers):
        total = carry
        if place < operands_N2D.shape[2]:
            total = total + operands_N2D[:, :, -1 - place].sum(1)
        columns.append(total % 10)
        carry = total // 10
    return jnp.stack(columns[::-1], 1)
