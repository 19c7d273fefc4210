"""What `run.py --measure` found in saved weights, as one labelled dataset over all groups. Imports no JAX."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import xarray as xr

from analysis.load import ResultsError
from grokjax.quoting import cut, cut_path
from grokjax.results.measured_store import read_measured
from grokjax.results.sealed import Damaged
from grokjax.version import SCHEMA


def load_measured(path: str | Path, kind: str) -> xr.Dataset:
    """One kind of measurement of a results directory, dimensions run, snapshot and its own.

    Groups can differ in their own dimensions and in the number of snapshots: what one of them does not have is NaN, and
    so is `step` (run, snapshot) after a run's last snapshot. `attrs`: kind, settings, meaning. Raises ResultsError.
    """
    path = Path(path)
    stores = _stores(path, kind)
    if not stores:
        raise ResultsError(f"{cut_path(path)}: {_missing(path, kind)}")
    groups = [_read(store) for store in stores]
    every = dict.fromkeys(name for g in groups for name in _on_runs(g))
    merged = xr.concat(
        [_with_all(g, list(every), groups) for g in groups],
        "run",
        data_vars="all",
        coords="different",
        compat="equals",
        join="outer",
        combine_attrs="drop_conflicts",
    )
    return merged.drop_attrs(deep=False).assign_attrs(
        {name: groups[0].attrs[name] for name in ("kind", "settings", "meaning")}
    )


def at_the_end(measured: xr.Dataset) -> xr.Dataset:
    """What was measured on the last of each run's measured weights, without the dimension snapshot; NaN without any."""
    place = xr.DataArray(np.arange(measured.sizes["snapshot"]), dims="snapshot")
    last = place.where(measured["step"].notnull(), 0).max("snapshot")
    return measured.isel(snapshot=last)


def _missing(path: Path, kind: str) -> str:
    others = sorted({store.stem for store in _stores(path, "*")})
    there = f"; there are {', '.join(others)}" if others else ""
    return (
        f"{cut(kind)} was not measured{there}; "
        f"python run.py --measure {cut_path(path)} 'measurements=[{{kind: {kind}}}]' does it"
    )


def _stores(path: Path, kind: str) -> list[Path]:
    """The files of a kind, and the stores that older versions wrote."""
    files = [path.glob(f"groups/*/measured/{kind}.{ending}") for ending in ("safetensors", "zarr")]
    return sorted(itertools.chain(*files))


def _read(store: Path) -> xr.Dataset:
    try:
        group = _read_older(store) if store.suffix == ".zarr" else _read_file(store)
    except Damaged as error:
        raise ResultsError(f"{cut_path(store)}: {error}; delete it and measure again") from error
    schema = group.attrs.get("schema")
    if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
        raise ResultsError(
            f"{store}: schema is {schema}, but this version reads schemas up to {SCHEMA}; update grokjax"
        )
    # As fixed-width strings, which NumPy compares and sorts everywhere.
    text = {
        name: (x.dims, x.values.astype(object).astype(str))
        for name, x in group.coords.items()
        if x.dtype.kind in "OT"
    }
    return group.assign_coords(text)


def _read_file(store: Path) -> xr.Dataset:
    variables, coordinates, attributes = read_measured(store)
    return xr.Dataset(dict(variables), coords=dict(coordinates), attrs=attributes)


def _read_older(store: Path) -> xr.Dataset:
    try:
        with xr.open_zarr(store, consolidated=False) as opened:
            return opened.load()
    except Exception as error:  # zarr and xarray raise whatever their layers raise on broken files
        raise Damaged(f"is damaged ({cut(error, 200)})") from error


def _on_runs(group: xr.Dataset) -> list[str]:
    return [str(name) for name, x in group.coords.items() if x.dims == ("run",)]


def _with_all(group: xr.Dataset, names: list[str], groups: list[xr.Dataset]) -> xr.Dataset:
    """The group with every run coordinate that any group has, '' or NaN where it is unknown here."""
    unknown = {
        name: ("run", np.full(group.sizes["run"], "" if _is_text(name, groups) else np.nan))
        for name in names
        if name not in group.coords
    }
    return group.assign_coords(unknown)


def _is_text(name: str, groups: list[xr.Dataset]) -> bool:
    return any(g[name].dtype.kind == "U" for g in groups if name in g.coords)
