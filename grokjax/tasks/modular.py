"""Arithmetic modulo p: every equation x ∘ y = z over the residues 0 … p−1.

The operations are those of Power et al. 2022 (arXiv:2201.02177, appendix A.1), and also product and
random table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Int
from pydantic import Field, model_validator

from grokjax.settings import SettingError, Settings, shape
from grokjax.tasks.equations import FORMATS, check_tokens, equation_table
from grokjax.tasks.size import Size
from grokjax.tasks.table import Table

Elements = Int[np.ndarray, "*shape"]

MAX_MODULUS = 4096


class Operation(NamedTuple):
    """One entry of `OPERATIONS`. The caller reduces the answer modulo p."""

    answer: Callable[[Elements, Elements, Modular], Elements]
    divides: bool = False
    """Needs modular inverses, so p must be prime."""
    skips_zero: bool = False
    """Has no rows with y = 0."""
    additive: bool = False
    """The answer is x+y or x-y, of which the progress measures know what a network learns (Nanda et al. 2023)."""
    cyclic: bool = True
    """The order of the residues has a meaning, so that Fourier transforms over them can be measured."""


def _divide(x: Elements, y: Elements, task: Modular) -> Elements:
    inverses = [0] + [pow(divisor, -1, task.p) for divisor in range(1, task.p)]
    return x * np.array(inverses)[y]


def _divide_or_subtract(x: Elements, y: Elements, task: Modular) -> Elements:
    return np.where(y % 2 == 1, _divide(x, y, task), x - y)


def _random(x: Elements, y: Elements, task: Modular) -> Elements:
    answers = np.random.default_rng(task.table_seed).integers(task.p, size=(task.p, task.p))
    return answers[x, y]


OPERATIONS: dict[str, Operation] = {
    "x+y": Operation(lambda x, y, _: x + y, additive=True),
    "x-y": Operation(lambda x, y, _: x - y, additive=True),
    "x*y": Operation(lambda x, y, _: x * y),
    "x*y, y != 0": Operation(lambda x, y, _: x * y, skips_zero=True),
    "x/y": Operation(_divide, divides=True, skips_zero=True),
    "x/y if y odd else x-y": Operation(_divide_or_subtract, divides=True),
    "x^2+y^2": Operation(lambda x, y, _: x**2 + y**2),
    "x^2+xy+y^2": Operation(lambda x, y, _: x**2 + x * y + y**2),
    "x^2+xy+y^2+x": Operation(lambda x, y, _: x**2 + x * y + y**2 + x),
    "x^3+xy": Operation(lambda x, y, _: x**3 + x * y),
    "x^3+xy^2+y": Operation(lambda x, y, _: x**3 + x * y**2 + y),
    "random": Operation(_random),
}


def check_operations(operations: Mapping[str, Any]) -> None:
    """Raises ValueError if an entry is a bare function."""
    for name, entry in operations.items():
        if not isinstance(entry, Operation):
            told = (
                f"OPERATIONS: '{name}' is a {type(entry).__name__}; write Operation(...) around it"
            )
            raise ValueError(told)


check_operations(OPERATIONS)


class Modular(Settings):
    """All equations of one operation modulo p."""

    kind: Literal["modular"] = shape("modular")
    operation: Literal[tuple(OPERATIONS)] = shape("x+y")  # type: ignore[valid-type]
    """The operation, modulo p; `random` is a fixed table of random answers."""
    p: int = shape(113, ge=2, le=MAX_MODULUS)
    """The modulus; operands and answers are 0 to p-1."""
    format: Literal[tuple(FORMATS)] = shape("a b =")  # type: ignore[valid-type]
    """Tokens of a row: `a b`, `a b =` ('=' has the id p), or `a op b =` (op and '=' have the ids p and p+1). In
    `| a op b = c |` answer and end token (id p; then op and `=`) are answers, and a row is right if both are."""
    classes: Literal["p", "p+1", "vocabulary"] = shape("vocabulary")
    """Number of logits. Those from p on are never the right answer, but are part of the loss."""
    n_vocab: Annotated[int, Field(ge=1)] | None = shape(None, introduced=None)
    """Number of tokens; null: those that occur. openai/grok has 239, most of which do not occur."""
    table_seed: int = shape(0, ge=0, lt=2**31)
    """Seed of the answers of the operation `random`; must be 0 for all others."""

    @model_validator(mode="after")
    def _inverse_exists(self) -> Modular:
        if OPERATIONS[self.operation].divides and not _is_prime(self.p):
            raise SettingError(
                "p",
                f"{self.p} is not prime, but {self.operation} needs a modular inverse; use "
                f"{_nearest_primes(self.p)}",
            )
        return self

    @model_validator(mode="after")
    def _tokens_fit(self) -> Modular:
        check_tokens(self.format, self.p, self.n_vocab, self.classes == "p")
        return self

    @model_validator(mode="after")
    def _seed_is_used(self) -> Modular:
        if self.table_seed and self.operation != "random":
            raise SettingError(
                "table_seed",
                f"{self.table_seed} has no effect on {self.operation}, only on the operation random; "
                "use 0",
            )
        return self


def _is_prime(n: int) -> bool:
    return n >= 2 and all(n % d for d in range(2, int(n**0.5) + 1))


def _nearest_primes(n: int) -> str:
    below = [q for q in range(2, n) if _is_prime(q)][-1:]
    above = [q for q in range(n + 1, MAX_MODULUS + 1) if _is_prime(q)][:1]
    return " or ".join(map(str, below + above))


def modular_size(settings: Modular) -> Size:
    """Size of the table: its rows, with at least p numbers each (a logit for each residue)."""
    p = settings.p
    return Size(p * (p - OPERATIONS[settings.operation].skips_zero), p, "p")


def modular_table(settings: Modular) -> Table:
    """Rows in row-major order of (x, y)."""
    p, operation = settings.p, OPERATIONS[settings.operation]
    x_N, y_N = np.divmod(np.arange(p * p), p)
    if operation.skips_zero:
        x_N, y_N = x_N[y_N != 0], y_N[y_N != 0]
    answers_N = _answers(settings, x_N, y_N)
    n_classes = {"p": p, "p+1": p + 1, "vocabulary": None}[settings.classes]
    operands_N2 = np.stack([x_N, y_N], 1)
    table = equation_table(operands_N2, answers_N, p, settings.format, n_classes, settings.n_vocab)
    return dataclasses.replace(table, cyclic=operation.cyclic, additive=operation.additive)


def _answers(settings: Modular, x_N: np.ndarray, y_N: np.ndarray) -> np.ndarray:
    """The answers modulo p. Raises SettingError if the operation is not what its entry says."""
    name, p = settings.operation, settings.p
    operation = OPERATIONS[name]
    given_N = np.asarray(operation.answer(x_N, y_N, settings))
    if given_N.shape != x_N.shape:
        told = f"'{name}' returns an array of the shape {given_N.shape} for operands of the shape {x_N.shape}"
        raise SettingError("operation", f"{told}; return one answer for each row")
    if given_N.dtype.kind not in "biu":
        told = f"'{name}' returns numbers of the type {given_N.dtype}, but answers must be whole numbers"
        how = "// in place of /, or an inverse modulo p (divides=True)"
        raise SettingError("operation", f"{told}; use {how}")
    answers_N = given_N % p
    if operation.additive and not _adds(answers_N, x_N, y_N, p):
        told = f"'{name}' has additive=True, but its answers are neither x+y nor x-y of all pairs"
        raise SettingError("operation", f"{told}; remove additive=True")
    return answers_N


def _adds(answers_N: np.ndarray, x_N: np.ndarray, y_N: np.ndarray, p: int) -> bool:
    """Whether these are the sums, or the differences, of all pairs of residues."""
    if len(x_N) < p * p:
        return False
    return any(np.array_equal(answers_N, (x_N + s * y_N) % p) for s in (1, -1))
