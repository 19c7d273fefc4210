"""The axes of a grid: from the configuration to lists of values."""

from __future__ import annotations

import functools
import json
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from grokjax.experiment.axis_names import split_names
from grokjax.experiment.config import Experiment, RunSettings
from grokjax.experiment.places import Places
from grokjax.experiment.setting_names import alternatives, dotted_names, is_class, unknown_setting
from grokjax.quoting import cut, n_digits, shown
from grokjax.settings import Role, Settings, role_of

Axes = dict[str, list[Any]]

MAX_RUNS = 200_000
"""Largest number of runs of a grid. So many take a minute (200 microseconds each) and 1 GB of memory."""

_WRITTEN = "a list, {linspace: [first, last, n]}, {logspace: [first, last, n]} or {range: n}"


class _Form(NamedTuple):
    """A short form for many values: a function that counts them without creating them, and one that creates them."""

    count: Callable[[Any], int]
    """Raises ValueError with a sentence if the numbers are wrong."""
    expand: Callable[[Any], list[Any]]


def axis_length(written: Any) -> int:
    """Number of values of an axis, without creating them. Raises ValueError with a sentence."""
    if isinstance(written, list):
        return len(written)
    form, numbers = _form_of(written)
    return form.count(numbers)


def expand_axis(written: Any) -> list[Any]:
    """The list of values of an axis. Raises ValueError with a sentence."""
    if isinstance(written, list):
        return written
    form, numbers = _form_of(written)
    form.count(numbers)
    return form.expand(numbers)


def _form_of(written: Any) -> tuple[_Form, Any]:
    if isinstance(written, dict) and len(written) == 1:
        name, numbers = next(iter(written.items()))
        if name in _FORMS:
            return _FORMS[name], numbers
    raise ValueError(f"needs {_WRITTEN}, got {shown(written)}")


def _is_finite(x: Any) -> bool:
    # Compared, not converted: a whole number can be too large for a float.
    return type(x) in (int, float) and abs(x) <= sys.float_info.max


def _count_space(numbers: Any, positive: bool = False) -> int:
    right = isinstance(numbers, list) and len(numbers) == 3 and all(map(_is_finite, numbers))
    right = right and type(numbers[2]) is int and numbers[2] >= 1
    if not right or (positive and min(numbers[:2]) <= 0):
        kind = "positive " if positive else ""
        raise ValueError(
            f"needs {kind}numbers [first, last, n] with n at least 1, got {shown(numbers)}"
        )
    return numbers[2]


def _space(make: Callable[..., np.ndarray]) -> Callable[[Any], list[Any]]:
    def expand(numbers: Any) -> list[Any]:
        first, last, n = numbers
        # 12 digits: an axis value is a decimal, not the rounding of a sum.
        inner = [float(f"{x:.12g}") for x in make(float(first), float(last), n)[1:-1]]
        return _as_written([first, *inner, *[last][: n - 1]])

    return expand


def _as_written(values: list[Any]) -> list[Any]:
    """If all values are whole, they are integers: {linspace: [1, 3, 3]} can be a number of layers."""
    whole = all(type(v) is int for v in (values[0], values[-1])) and all(
        v == int(v) for v in values
    )
    return [int(v) if whole else float(v) for v in values]


def _count_range(numbers: Any) -> int:
    bounds = numbers if isinstance(numbers, list) else [numbers]
    if not 1 <= len(bounds) <= 3 or any(type(n) is not int for n in bounds) or 0 in bounds[2:]:
        raise ValueError(
            f"needs {{range: n}}, [first, end] or [first, end, step], got {shown(numbers)}"
        )
    values = range(*bounds)
    # len() ends at 2^63.
    return (values[-1] - values[0]) // values.step + 1 if values else 0


def _range(numbers: Any) -> list[int]:
    return list(range(*numbers) if isinstance(numbers, list) else range(numbers))


_FORMS: dict[str, _Form] = {
    "linspace": _Form(_count_space, _space(np.linspace)),
    "logspace": _Form(functools.partial(_count_space, positive=True), _space(np.geomspace)),
    "range": _Form(_count_range, _range),
}


def expand_axes(written: dict[str, Any], places: Places) -> Axes:
    """Every axis with its values, checked as far as possible without making runs. Raises ConfigError."""
    seen: dict[str, str] = {}
    for name in written:
        for setting in split_names(name):
            _check_setting(setting, name, seen, places)
            _check_override(setting, name, places)
            seen[setting] = name
    _check_size(written, places)
    return {name: _checked_values(name, values, places) for name, values in written.items()}


def _check_size(written: dict[str, Any], places: Places) -> None:
    """Check the number of runs before any list of values is created."""
    lengths = {name: _length(name, values, places) for name, values in written.items()}
    for name, length in lengths.items():
        if length > MAX_RUNS:
            message = f"has {_number(length)} values; use at most {MAX_RUNS:,}"
            raise places.error(("axes", name), message)
    n_runs = math.prod(lengths.values())
    if n_runs > MAX_RUNS:
        message = f"would make {_number(n_runs)} runs; use at most {MAX_RUNS:,}"
        raise places.error(("axes",), message)


def _number(n: int) -> str:
    return f"{n:,}" if n < 10**15 else f"about 10^{n_digits(n) - 1}"


def _length(name: str, written: Any, places: Places) -> int:
    try:
        length = axis_length(written)
    except ValueError as error:
        raise places.error(("axes", name), f"{error}{_nested(name, written)}") from None
    if not length:
        raise places.error(
            ("axes", name), "has no values; give it at least one, or remove the axis"
        )
    return length


def _check_override(setting: str, axis: str, places: Places) -> None:
    """Refuse to override a setting that has an axis: it would have no effect."""
    key = tuple(setting.split("."))
    if key in places.overrides:
        raise places.error(
            key,
            f"takes its values from axes.{axis}, so this value would have no effect; "
            f"change the axis ('axes.{axis}=[...]') or remove it too (axes.{axis}=null)",
        )


def _checked_values(name: str, written: Any, places: Places) -> list[Any]:
    key, values, n = ("axes", name), expand_axis(written), len(split_names(name))
    _check_duplicates(values, key, places)
    for value in values if n > 1 else ():
        if not isinstance(value, list) or len(value) != n:
            message = f"changes {n} settings together, so each value must be a list of {n}, got {shown(value)}"
            raise places.error(key, message)
    return values


def _nested(name: str, written: Any) -> str:
    """A hint if the name of an axis was written as nested mappings."""
    inner = next(iter(written), "") if isinstance(written, dict) else ""
    known = f"{name}.{inner}" in set(dotted_names(RunSettings))
    return f" (did you mean the axis '{name}.{inner}'?)" if known else ""


def _check_duplicates(values: list[Any], key: tuple[str, ...], places: Places) -> None:
    seen: dict[str, Any] = {}
    for value in values:
        known = json.dumps(_whole(value), sort_keys=True, default=str)
        if known in seen:
            first, again = shown(seen[known]), shown(value)
            both = first if first == again else f"{first} and {again}"
            raise places.error(key, f"has the same value twice ({both}); remove one of them")
        seen[known] = value


def _whole(value: Any) -> Any:
    """1 and 1.0 are the same value, and so are 0.0 and -0.0."""
    if isinstance(value, list):
        return [_whole(v) for v in value]
    if isinstance(value, dict):
        return {name: _whole(v) for name, v in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


_FIXED = {
    "extendable": "is a setting with the role extendable",
    "execution": "is a setting with the role execution",
}


def _check_setting(name: str, axis: str, seen: dict[str, str], places: Places) -> None:
    """Check that a setting can be an axis. Raises ConfigError."""
    key, parts = ("axes", axis), tuple(name.split("."))
    clash = next(
        (s for s in seen if s == name or s.startswith(name + ".") or name.startswith(s + ".")), None
    )
    if clash is not None:
        raise places.error(
            key,
            f"{cut(name)} is already in axes.{cut(seen[clash])}; remove it from one of the two axes",
        )
    roles = _roles(name)
    if not roles:
        raise places.error(key, _prefixed(name, axis, unknown_setting(parts, RunSettings)))
    for role in sorted(roles & _FIXED.keys()):
        message = f"{_FIXED[role]}; only settings with the role hyper or shape can be an axis"
        raise places.error(key, _prefixed(name, axis, message))


def _prefixed(name: str, axis: str, message: str) -> str:
    return message if name == axis else f"{cut(name)}: {message}"


def _roles(name: str) -> set[Role]:
    """The roles of a setting, or of all settings of a section, over all kinds. Empty for an unknown name."""
    return set(_walk(Experiment, name.split("."), None))


def _walk(node: type[Settings], parts: list[str], above: Role | None) -> Iterator[Role]:
    """The role of a setting applies to all settings inside it."""
    for name, field in node.model_fields.items():
        if parts and name != parts[0]:
            continue
        role = above or role_of(field)
        inner = [a for a in alternatives(field.annotation) if is_class(a)]
        if role is not None and not (parts[1:] and inner):
            yield role
        else:
            for settings in inner:
                yield from _walk(settings, parts[1:], role)
