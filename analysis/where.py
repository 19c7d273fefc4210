"""Some of the runs of a dataset, chosen by conditions such as `optimizer.weight_decay=1`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from analysis.load import ResultsError
from grokjax.quoting import cut

_FORM = re.compile(r"\s*([^<>=!]+?)\s*(<=|>=|!=|==|=|<|>)\s*(.+?)\s*")
_COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
}
CLOSE = 1e-6
"""Settings are stored in float32: a number in a condition means the one that differs by less than this share."""


def where(dataset: xr.Dataset, conditions: Sequence[str]) -> xr.Dataset:
    """The runs that meet all conditions, which attrs `where` has. Raises ResultsError, also where none does."""
    for condition in conditions:
        kept = _met(dataset, condition)
        if not kept.any():
            raise ResultsError(
                f"--where {cut(condition)}: no run has this; {_values(dataset, condition)}"
            )
        dataset = dataset.isel(run=np.flatnonzero(kept))
    return dataset.assign_attrs(where=tuple(conditions))


def full_name(given: str, names: Sequence[str], flag: str) -> str:
    """A name by itself or by its last part. Raises ResultsError."""
    if given in names:
        return given
    ends = [name for name in names if given in [part.rsplit(".", 1)[-1] for part in name.split(", ")]
            or given in name.split(", ")]  # fmt: skip
    if len(ends) == 1:
        return ends[0]
    told = (
        f"could be {' or '.join(ends)}; write the whole name"
        if ends
        else (f"there is no such setting here; choose from {', '.join(names) or 'none'}")
    )
    raise ResultsError(f"{flag} {cut(given)}: {told}")


def _met(dataset: xr.Dataset, condition: str) -> np.ndarray:
    """(run,) whether a run meets the condition."""
    name, sign, wanted = _parts(dataset, condition)
    column = dataset[name].to_numpy()
    if column.dtype.kind in "UOb":
        equal = np.array([str(value).lower() == wanted.lower() for value in column])
        if sign in _COMPARED:
            raise ResultsError(
                f"--where {cut(condition)}: {name} has names, which have no order; use = or !="
            )
    else:
        number = _number(wanted, condition)
        equal = np.isclose(column.astype(float), number, rtol=CLOSE, atol=0)
        if sign in _COMPARED:
            return np.asarray(_COMPARED[sign](column, number)) | (equal & ("=" in sign))
    return ~equal if sign == "!=" else equal


def _parts(dataset: xr.Dataset, condition: str) -> tuple[str, str, str]:
    found = _FORM.fullmatch(condition)
    if found is None:
        raise ResultsError(
            f"--where {cut(condition)}: must be a condition such as optimizer.weight_decay=1"
        )
    name, sign, wanted = found.groups()
    return full_name(name, _columns(dataset), "--where"), sign, wanted


def _columns(dataset: xr.Dataset) -> list[str]:
    return [str(name) for name, column in dataset.coords.items() if column.dims == ("run",)]


def _number(text: str, condition: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ResultsError(
            f"--where {cut(condition)}: {cut(text)} must be a number, because this setting has numbers"
        ) from None


def _values(dataset: xr.Dataset, condition: str) -> str:
    """Which values there are, for a message."""
    name = _parts(dataset, condition)[0]
    values = np.unique(dataset[name].to_numpy())
    told = ", ".join(f"{v:g}" if values.dtype.kind in "iuf" else str(v) for v in values[:12])
    return f"{name} has the values {told}{', ...' if len(values) > 12 else ''}"
