"""What was measured on saved weights, on disk: one zarr store a group and kind. No JAX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr

from grokjax.atomic import replacing
from grokjax.version import SCHEMA


class Variable(NamedTuple):
    """An array and the names of its dimensions."""

    dims: tuple[str, ...]
    values: Any


def write_measured(
    path: Path,
    variables: Mapping[str, Variable],
    coordinates: Mapping[str, Variable],
    attributes: Mapping[str, Any],
) -> None:
    """Write a store; it replaces an older one."""
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as aside:
        group = zarr.open_group(aside, mode="w", zarr_format=3)
        for name, variable in {**variables, **coordinates}.items():
            _write(group, name, variable, " ".join(coordinates))
        group.attrs.update({"schema": SCHEMA, "coordinates": " ".join(coordinates), **attributes})


def _write(group: Any, name: str, variable: Variable, coordinates: str) -> None:
    values = np.asarray(variable.values)
    text = values.dtype.kind not in "iuf"
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=tuple(max(n, 1) for n in values.shape),
        dtype="str" if text else values.dtype,
        dimension_names=variable.dims,
        fill_value="" if text else 0,
    )
    array[...] = values.astype(object) if text else values
    if len(variable.dims) > 1:
        array.attrs["coordinates"] = coordinates
