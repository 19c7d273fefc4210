"""Labels of numbers: as short as possible, but different for the different values of an axis."""

from __future__ import annotations

from collections.abc import Sequence

SHORT_DIGITS = 3
"""A number with so many digits is printed as it is: 0.125 is not rounded to 0.12."""
ROUNDING = 0.1
"""How far rounding may move a label at most, as a share of the distance to the nearest other value."""


def number_texts(values: Sequence[float]) -> list[str]:
    """Labels of different values: exact if that is short, else rounded to as few digits as make them different."""
    numbers = [float(value) for value in values]
    for digits in range(2, 17):
        texts = [_text(value, digits) for value in numbers]
        if _told_apart(numbers, texts):
            return texts
    return [repr(value) for value in numbers]


def _text(value: float, digits: int) -> str:
    whole = f"{value:.15g}"
    if float(f"{value:.{SHORT_DIGITS}g}") == value or (value.is_integer() and len(whole) < 7):
        return _plain(whole)
    return _plain(f"{value:.{digits}g}")


def _plain(text: str) -> str:
    """1e-05 as 1e-5; thousands without an exponent, as in 41000 for 4.1e+04."""
    if "e+" in text and float(text) < 1e6:
        return f"{float(text):.0f}"
    digits, e, exponent = text.partition("e")
    return f"{digits}e{int(exponent)}" if e else text


def _told_apart(numbers: list[float], texts: list[str]) -> bool:
    """Whether no text can be mistaken for another value."""
    if len(set(texts)) < len(set(numbers)):
        return False
    for value, text in zip(numbers, texts, strict=True):
        others = [abs(value - other) for other in numbers if other != value]
        # A single value has no other value near it: the limit is a share of its own size.
        if abs(float(text) - value) > ROUNDING * min(others, default=abs(value) / 10):
            return False
    return True
