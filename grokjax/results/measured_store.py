"""What was measured on saved weights, on disk: one sealed file a group and kind. No JAX."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from grokjax.atomic import move_directory_away
from grokjax.results.sealed import Sealed, write_sealed
from grokjax.version import SCHEMA


class Variable(NamedTuple):
    """An array and the names of its dimensions."""

    dims: tuple[str, ...]
    values: Any


class Measured(NamedTuple):
    """What one file holds."""

    variables: dict[str, Variable]
    coordinates: dict[str, Variable]
    attributes: dict[str, Any]


def write_measured(
    path: Path,
    variables: Mapping[str, Variable],
    coordinates: Mapping[str, Variable],
    attributes: Mapping[str, Any],
) -> None:
    """Write a file; it replaces an older one, also a store of schema 1. Raises OSError."""
    path.parent.mkdir(exist_ok=True)
    arrays: dict[str, np.ndarray] = {}
    text: dict[str, Any] = {}
    every = {**variables, **coordinates}
    for name, variable in every.items():
        values = np.asarray(variable.values)
        if values.dtype.kind in "iuf":
            arrays[name] = values
        else:
            text[name] = [str(x) for x in values.tolist()]
    facts = {
        "schema": SCHEMA,
        "variables": list(variables),
        "dims": {name: list(variable.dims) for name, variable in every.items()},
        "text": text,
        "attributes": dict(attributes),
    }
    move_directory_away(path)
    write_sealed(path, facts, {"arrays": arrays}, by_row=False)
    shutil.rmtree(path.with_suffix(".zarr"), ignore_errors=True)


def read_measured(path: Path) -> Measured:
    """Read a file. Raises Damaged."""
    file = Sealed(path)
    facts = file.facts
    text = {name: np.array(values, str) for name, values in facts["text"].items()}
    values: dict[str, np.ndarray] = {**file.whole("arrays"), **text}
    every = {n: Variable(tuple(dims), values[n]) for n, dims in facts["dims"].items()}
    variables = {name: every.pop(name) for name in facts["variables"]}
    return Measured(variables, every, {"schema": facts["schema"], **facts["attributes"]})
