"""Texts made from numbers: the 'published' column of a table, and the numbers in its first column."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def written(x: float, digits: int = 10) -> str:
    """A number as the source writes it: commas for thousands; powers of ten from 1e5 on and up to 1e-4 as 1e5, 1e-8."""
    power = round(math.log10(x)) if 0 < x < math.inf else 0
    if (power >= 5 or power <= -4) and math.isclose(x, 10.0**power):
        return f"1e{power}"
    return f"{x:,.{digits}g}"


def as_percent(x: float, digits: int = 10) -> str:
    """A share as percent."""
    return f"{100 * x:.{digits}g} %"


class Number(float):
    """A number in a template: {level} is formatted by `written`; other forms are {level:percent} and {level:.0%}."""

    def __format__(self, spec: str) -> str:
        special = {"": written, "percent": as_percent}
        return special[spec](self) if spec in special else super().__format__(spec)


def number_text(x: float, percent: bool, digits: int, approx: bool) -> str:
    """One published number. `approx`: it was read from a figure."""
    return ("≈" if approx else "") + (as_percent if percent else written)(x, digits)


def range_text(low: float, high: float, percent: bool, digits: int, approx: bool) -> str:
    """A published range. The ends 0 and 1 of a share are not written."""
    show = as_percent if percent else written
    about = "≈" if approx else ""
    if percent and high == 1 and low < 1:
        return f"{about}{show(low, digits)} or more"
    if percent and low == 0:
        return f"{about}{show(high, digits)} or less"
    if low == high:
        return about + show(high, digits)
    return f"{about}{show(low, digits).removesuffix(' %')} to {show(high, digits)}"


def margin_text(middle: float, margin: float, percent: bool, digits: int, approx: bool) -> str:
    """A published number with its margin: 31.9 ± 0.3."""
    shown = written(100 * margin if percent else margin, digits)
    return f"{number_text(middle, percent, digits, approx)} ± {shown}"


def filled(template: str, fields: Mapping[str, Any]) -> str:
    """A text with {names} replaced. Raises KeyError for a name that is not in `fields`."""
    values = {
        name: Number(value) if isinstance(value, int | float) else value
        for name, value in fields.items()
    }
    return template.format(**values)
