"""What a user wrote, as messages repeat it: on one line and shortened."""

from __future__ import annotations

import json
import math
from typing import Any

VALUE = 80
"""Largest number of characters of a value, a name or an override in a message."""
PATH = 250
"""Largest number of characters of a path. A shortened path is of no use, and few are longer."""
_DIGITS = 300
"""For longer whole numbers, messages give the number of digits."""


def cut(text: object, most: int = VALUE) -> str:
    """A text on one line; the middle of a long one is left out."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))
    tail = most // 4
    return line if len(line) <= most else f"{line[: most - tail - 3]} … {line[-tail:]}"


def cut_path(path: object) -> str:
    """A path on one line."""
    return cut(path, PATH)


def shown(value: Any) -> str:
    """A value as it stands in YAML, shortened."""
    if isinstance(value, str):
        return f"'{cut(value)}'"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, int) and n_digits(value) > _DIGITS:
        return f"a number of {n_digits(value):,} digits"
    try:
        return cut(json.dumps(value, default=str, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError):  # names that are no texts, rings, digits
        return f"a {type(value).__name__} that cannot be shown"


def counted(n: int, noun: str) -> str:
    """A number with its noun: 1 run, 2 runs."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def n_digits(number: int) -> int:
    """Decimal digits of a whole number. Python refuses to write out, and so to count, more than 4,300."""
    least = int((abs(number).bit_length() - 1) * math.log10(2)) + 1
    return least + (abs(number) >= 10**least)
