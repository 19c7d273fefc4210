"""How the commands read their words: numbers, sizes, and one sentence for what is wrong."""

from __future__ import annotations

import argparse
import math
import re
from typing import NoReturn, TypeVar

from grokjax.quoting import cut

N = TypeVar("N", int, float)


class Parser(argparse.ArgumentParser):
    """Exits with code 2 and one sentence, which is shortened if an argument is very long."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {cut(message, 200)}; see --help\n")


def positive(text: str) -> float:
    """A number above 0."""
    value = _number(text, float)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {cut(text)}")
    return value


def level(text: str) -> float:
    """An accuracy that a run can reach."""
    value = _number(text, float)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(
            f"expected an accuracy above 0 and at most 1, got {cut(text)}"
        )
    return value


def count(text: str) -> int:
    """A whole number from 1 on."""
    value = _number(text, int)
    if not 1 <= value < 2**31:
        raise argparse.ArgumentTypeError(
            f"expected a whole number from 1 to {2**31 - 1}, got {cut(text)}"
        )
    return value


def size(text: str) -> tuple[float, float]:
    """Width and height in inches, as in 3.3x2.5."""
    found = re.fullmatch(r"([0-9.]+)x([0-9.]+)", text)
    try:
        width, height = map(float, found.groups() if found else ())
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected width x height in inches, such as 3.3x2.5, got {cut(text)}"
        ) from None
    return width, height


def _number(text: str, kind: type[N]) -> N:
    try:
        return kind(text)
    except ValueError:  # also for more digits than Python reads
        told = "a whole number" if kind is int else "a number"
        raise argparse.ArgumentTypeError(f"expected {told}, got {cut(text)}") from None
