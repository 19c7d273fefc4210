"""Rows of a task with two operands: how an equation x ∘ y = z is written in tokens, and the table of all of them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from grokjax.settings import SettingError
from grokjax.tasks.table import Table

FORMATS: dict[str, tuple[str, ...]] = {
    "a b =": ("a", "b", "="),
    "a op b =": ("a", "op", "b", "="),
    "a b": ("a", "b"),
    "| a op b = c |": ("|", "a", "op", "b", "=", "c", "|"),
}
"""The tokens of a row. Tokens that are neither operands nor the answer c get the ids after those of the elements, in
this order. A format with c ends with a token that is an answer too (Power et al. 2022, openai/grok)."""


def equation_table(
    operands_N2: Int[np.ndarray, "N 2"],
    answers_N: Int[np.ndarray, " N"],
    n_elements: int,
    format: str,
    n_classes: int | None,
    n_vocab: int | None = None,
) -> Table:
    """The table of equations, with the answer at the last token; in a format with c at the two last ones. n_classes
    None: one class for each token. n_vocab None: the tokens that occur."""
    x_N, y_N = operands_N2.T
    words, symbols = FORMATS[format], symbols_of(format)
    columns = {"a": x_N, "b": y_N, "c": answers_N}
    columns |= {s: np.full_like(x_N, n_elements + i) for i, s in enumerate(symbols)}
    row_NT = np.stack([columns[s] for s in words], 1)
    n_vocab = n_vocab or n_elements + len(symbols)
    # Every token answers the one before it; without c the answer comes after the row.
    at = words.index("c") - 1 if "c" in words else len(words) - 1
    tokens_NT = row_NT[:, :-1] if "c" in words else row_NT
    targets_NA = row_NT[:, at + 1 :] if "c" in words else answers_N[:, None]
    return Table(
        tokens_NT=tokens_NT.astype(np.int32),
        targets_NA=targets_NA.astype(np.int32),
        answer_positions=tuple(range(at, tokens_NT.shape[1])),
        whole_rows="c" in words,
        n_vocab=n_vocab,
        n_classes=n_vocab if n_classes is None else n_classes,
        n_answers=n_elements,
        operands_N2=operands_N2.astype(np.int32),
        commutative=_is_commutative(operands_N2, answers_N, n_elements),
    )


def symbols_of(format: str) -> list[str]:
    """The tokens of a format that are no elements, in the order of their ids."""
    return list(dict.fromkeys(s for s in FORMATS[format] if s not in ("a", "b", "c")))


def check_tokens(format: str, n_elements: int, n_vocab: int | None, elements_only: bool) -> None:
    """Raises SettingError if there are fewer tokens than occur, or no class for the end token."""
    used = n_elements + len(symbols_of(format))
    if n_vocab is not None and n_vocab < used:
        raise SettingError(
            "n_vocab", f"{n_vocab} is less than the {used} tokens that occur; use {used} or more"
        )
    if elements_only and "c" in FORMATS[format]:
        raise SettingError(
            "classes",
            f"there is no class for the end token, which is an answer in the format {format!r}; use vocabulary",
        )


def _is_commutative(
    operands_N2: Int[np.ndarray, "N 2"], answers_N: Int[np.ndarray, " N"], n_elements: int
) -> bool:
    answers = np.full((n_elements, n_elements), -1)
    answers[operands_N2[:, 0], operands_N2[:, 1]] = answers_N
    present = answers >= 0
    both = present & present.T
    return bool(np.array_equal(answers[both], answers.T[both]))
