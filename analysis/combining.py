"""Two results directories as one dataset, with the experiment as one more axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from analysis.load import ResultsError
from grokjax.experiment.axis_names import split_names

EXPERIMENT = "experiment"


def combined(parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """All runs of several datasets (by the names that their experiments get here), in the form that `load` gives.

    Axes are those of any part; a part in which one did not vary has its setting there. Raises ResultsError where a
    part does not have such a setting.
    """
    datasets = list(parts.values())
    axes = _axes(parts)
    evals = max(d.sizes["eval"] for d in datasets)
    probes = list(dict.fromkeys(str(p) for d in datasets for p in d["probe"].to_numpy()))
    coordinates: dict[str, Any] = {
        "step": (
            ("run", "eval"),
            np.concatenate([_wide(d["step"].to_numpy(), evals) for d in datasets]),
        ),
        "probe": probes,
        **{name: ("run", _joined(name, datasets)) for name in _columns(datasets, axes)},
        EXPERIMENT: ("run", np.repeat(list(parts), [d.sizes["run"] for d in datasets])),
    }
    coordinates["id"] = ("run", _ids(parts))
    value = np.concatenate([_values(d, evals, probes) for d in datasets])
    attrs = {
        "path": "", "name": " and ".join(parts), "axes": axes,
        "settings": _common([d.attrs["settings"] for d in datasets]),
        "budget": max(d.attrs["budget"] for d in datasets),
        "grid": sum(_grid(d) for d in datasets),
        "unverified": sum(d.attrs["unverified"] for d in datasets),
    }  # fmt: skip
    return xr.Dataset({"value": (("run", "eval", "probe"), value)}, coordinates, attrs)


def _grid(dataset: xr.Dataset) -> int:
    """Runs that an experiment asks for."""
    return math.prod(len(values) for values in dataset.attrs["axes"].values())


def _axes(parts: Mapping[str, xr.Dataset]) -> dict[str, list[Any]]:
    """The settings that vary in any part, one by one, and the experiment."""
    names = dict.fromkeys(
        n for d in parts.values() for axis in d.attrs["axes"] for n in split_names(axis)
    )
    for name in names:
        for part, dataset in parts.items():
            if setting(dataset, name) is None:
                raise ResultsError(
                    f"{part}: has no setting {name}, which varies in the other experiment; compare experiments of one "
                    "kind"
                )
    values = {n: sorted({v for d in parts.values() for v in setting(d, n).tolist()}) for n in names}
    return {**values, EXPERIMENT: list(parts)}


def setting(dataset: xr.Dataset, name: str) -> Any:
    """(run,) values of a setting, also of one that did not vary; None where there is none."""
    if name in dataset.coords:
        return dataset[name].to_numpy()
    node: Any = dataset.attrs["settings"]
    for part in name.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return (
        None
        if node is None or isinstance(node, dict | list)
        else np.full(dataset.sizes["run"], node)
    )


def _columns(datasets: Sequence[xr.Dataset], axes: Mapping[str, Any]) -> list[str]:
    own = [str(n) for d in datasets for n, column in d.coords.items() if column.dims == ("run",)]
    return [n for n in dict.fromkeys([*own, *axes]) if n not in ("id", EXPERIMENT)]


def _joined(name: str, datasets: Sequence[xr.Dataset]) -> np.ndarray:
    """A column of all runs; NaN or '' for the runs of a part that does not know it."""
    pieces = [setting(d, name) for d in datasets]
    known = [piece for piece in pieces if piece is not None]
    text = any(piece.dtype.kind in "UO" for piece in known)
    filled = [
        np.full(d.sizes["run"], "" if text else np.nan) if piece is None else piece
        for piece, d in zip(pieces, datasets, strict=True)
    ]
    return np.concatenate([piece.astype(str) if text else piece for piece in filled])


def _ids(parts: Mapping[str, xr.Dataset]) -> np.ndarray:
    """The ids of the runs; with the name of the experiment where two parts have the same run."""
    ids = [str(run) for d in parts.values() for run in d["id"].to_numpy()]
    if len(set(ids)) == len(ids):
        return np.array(ids)
    return np.array([f"{part}:{run}" for part, d in parts.items() for run in d["id"].to_numpy()])


def _wide(step: np.ndarray, evals: int) -> np.ndarray:
    return np.pad(step, ((0, 0), (0, evals - step.shape[1])), constant_values=np.nan)


def _values(dataset: xr.Dataset, evals: int, probes: Sequence[str]) -> np.ndarray:
    values = np.full((dataset.sizes["run"], evals, len(probes)), np.nan, np.float32)
    for name in map(str, dataset["probe"].to_numpy()):
        values[:, : dataset.sizes["eval"], probes.index(name)] = (
            dataset["value"].sel(probe=name).to_numpy()
        )
    return values


def _common(settings: Sequence[Any]) -> Any:
    """What all settings agree on."""
    first, *others = settings
    if not all(isinstance(each, dict) for each in settings):
        return first
    return {
        name: _common([value, *(other[name] for other in others)])
        for name, value in first.items()
        if all(name in other for other in others)
        and (isinstance(value, dict) or all(other[name] == value for other in others))
        and all(isinstance(other[name], dict) == isinstance(value, dict) for other in others)
    }


def differences(a: xr.Dataset, b: xr.Dataset) -> dict[str, tuple[Any, Any]]:
    """Settings in which two experiments differ and that vary in neither."""
    varied = {n for d in (a, b) for axis in d.attrs["axes"] for n in split_names(axis)}
    left, right = (_flat(d.attrs["settings"]) for d in (a, b))
    names = [
        n for n in left.keys() | right.keys() if n not in varied and left.get(n) != right.get(n)
    ]
    return {n: (left.get(n), right.get(n)) for n in sorted(names)}


_NOT_SETTINGS = ("axes", "schema", "grokjax", "figures", "name", "measurements")


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in node.items():
        if prefix or name not in _NOT_SETTINGS:
            dotted = prefix + name
            flat |= _flat(value, dotted + ".") if isinstance(value, dict) else {dotted: value}
    return flat
