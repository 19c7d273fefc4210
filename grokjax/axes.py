"""The axes of a grid: as they are written, and as lists of values."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from grokjax.config import Experiment, RunSettings
from grokjax.mistakes import shown
from grokjax.names import alternatives, dotted_names, is_class, unknown_setting
from grokjax.settings import Role, Settings, role_of
from grokjax.source import Source

Axes = dict[str, list[Any]]

MAX_RUNS = 1_000_000
"""A larger grid is a slip of the pen."""

_FORMS = "a list, {linspace: [first, last, n]}, {logspace: [first, last, n]} or {range: n}"


def split_names(axis: str) -> list[str]:
    """The settings that one axis entry moves together."""
    return [part.strip() for part in axis.split(",")]


def tidy_name(axis: str) -> str:
    """The one way to write an axis's name."""
    return ", ".join(split_names(axis))


def expand_axis(written: Any) -> list[Any]:
    """An axis as written to the list of its values. Raises ValueError in a sentence."""
    if isinstance(written, list):
        return written
    if isinstance(written, dict) and len(written) == 1:
        form, numbers = next(iter(written.items()))
        if form in _EXPAND:
            return _EXPAND[form](numbers)
    raise ValueError(f"needs {_FORMS}, got {shown(written)}")


def _is_finite(x: Any) -> bool:
    return type(x) in (int, float) and math.isfinite(x)


def _space(make: Callable[..., np.ndarray], positive: bool) -> Callable[[Any], list[Any]]:
    def expand(numbers: Any) -> list[Any]:
        right = isinstance(numbers, list) and len(numbers) == 3 and all(map(_is_finite, numbers))
        right = right and type(numbers[2]) is int and 1 <= numbers[2] <= MAX_RUNS
        if not right or (positive and min(numbers[:2]) <= 0):
            kind = "positive " if positive else ""
            raise ValueError(
                f"needs {kind}numbers [first, last, n] with n at least 1, got {shown(numbers)}"
            )
        first, last, n = numbers
        # 12 digits: an axis value is a decimal, not the rounding of a sum.
        inner = [float(f"{x:.12g}") for x in make(first, last, n)[1:-1]]
        return _as_written([first, *inner, *[last][: n - 1]])

    return expand


def _as_written(values: list[Any]) -> list[Any]:
    """Whole numbers stay whole where all values are: {linspace: [1, 3, 3]} suits a number of layers."""
    whole = all(type(v) is int for v in (values[0], values[-1])) and all(
        v == int(v) for v in values
    )
    return [int(v) if whole else float(v) for v in values]


def _range(numbers: Any) -> list[int]:
    bounds = numbers if isinstance(numbers, list) else [numbers]
    right = 1 <= len(bounds) <= 3 and all(type(n) is int for n in bounds) and 0 not in bounds[2:]
    if not right or len(range(*bounds)) > MAX_RUNS:
        raise ValueError(
            f"needs {{range: n}}, [first, end] or [first, end, step], got {shown(numbers)}"
        )
    return list(range(*bounds))


_EXPAND: dict[str, Callable[[Any], list[Any]]] = {
    "linspace": _space(np.linspace, False),
    "logspace": _space(np.geomspace, True),
    "range": _range,
}


def expand_axes(written: dict[str, Any], source: Source) -> Axes:
    """Every axis with its values, checked as far as no run is needed. Raises ConfigError."""
    axes: Axes = {}
    seen: dict[str, str] = {}
    for name, values in written.items():
        for setting in split_names(name):
            _check_setting(setting, name, seen, source)
            _check_override(setting, name, source)
            seen[setting] = name
        axes[name] = _checked_values(name, values, source)
    n_runs = math.prod(len(values) for values in axes.values())
    if n_runs > MAX_RUNS:
        raise source.error(("axes",), f"make {n_runs:,} runs; at most {MAX_RUNS:,} would be right")
    return axes


def _check_override(setting: str, axis: str, source: Source) -> None:
    """An override of a setting that varies would change nothing."""
    key = tuple(setting.split("."))
    if key in source.overrides:
        raise source.error(
            key,
            f"varies in axes.{axis}, so this changes nothing; replace the axis ('axes.{axis}=[...]') "
            f"or remove it (axes.{axis}=null) as well",
        )


def _checked_values(name: str, written: Any, source: Source) -> list[Any]:
    key = ("axes", name)
    try:
        values = expand_axis(written)
    except ValueError as error:
        raise source.error(key, f"{error}{_nested(name, written)}") from None
    if not values:
        raise source.error(key, "is empty; an axis needs at least one value")
    _check_duplicates(values, key, source)
    n = len(split_names(name))
    for value in values if n > 1 else ():
        if not isinstance(value, list) or len(value) != n:
            message = (
                f"moves {n} settings together, so each value is a list of {n}, got {shown(value)}"
            )
            raise source.error(key, message)
    return values


def _nested(name: str, written: Any) -> str:
    """Help for whoever nests the name of an axis."""
    inner = next(iter(written), "") if isinstance(written, dict) else ""
    known = f"{name}.{inner}" in set(dotted_names(RunSettings))
    return f" (did you mean the axis '{name}.{inner}'?)" if known else ""


def _check_duplicates(values: list[Any], key: tuple[str, ...], source: Source) -> None:
    seen: dict[str, Any] = {}
    for value in values:
        known = json.dumps(_number_free(value), sort_keys=True, default=str)
        if known in seen:
            first, again = shown(seen[known]), shown(value)
            both = first if first == again else f"{first} and {again}"
            raise source.error(key, f"has the same value twice ({both}); each value once")
        seen[known] = value


def _number_free(value: Any) -> Any:
    """1 and 1.0 are the same value."""
    if isinstance(value, list):
        return [_number_free(v) for v in value]
    return float(value) if type(value) is int else value


_FIXED = {
    "extendable": "says how long runs are followed and what is measured (extendable)",
    "execution": "says how the work is done (execution)",
}


def _check_setting(name: str, axis: str, seen: dict[str, str], source: Source) -> None:
    """Whether a setting may vary. Raises ConfigError."""
    key, parts = ("axes", axis), tuple(name.split("."))
    clash = next(
        (s for s in seen if s == name or s.startswith(name + ".") or name.startswith(s + ".")), None
    )
    if clash is not None:
        raise source.error(key, f"{name} varies in axes.{seen[clash]} already")
    roles = _roles(name)
    if not roles:
        raise source.error(key, _prefixed(name, axis, unknown_setting(parts, RunSettings)))
    for role in sorted(roles & _FIXED.keys()):
        message = f"{_FIXED[role]}, not what a run is, so it cannot vary in a grid"
        raise source.error(key, _prefixed(name, axis, message))


def _prefixed(name: str, axis: str, message: str) -> str:
    return message if name == axis else f"{name}: {message}"


def _roles(name: str) -> set[Role]:
    """The roles of a setting, or of all settings of a section, over all kinds. Empty for an unknown name."""
    return set(_walk(Experiment, name.split("."), None))


def _walk(node: type[Settings], parts: list[str], above: Role | None) -> Iterator[Role]:
    """A role holds for everything below the setting that declares it."""
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
