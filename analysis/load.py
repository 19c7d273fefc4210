"""The results on disk as one labelled dataset, whether training has ended or goes on."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from grokjax.experiment.axis_names import split_names
from grokjax.experiment.parsing import parse_yaml
from grokjax.quoting import cut, cut_path
from grokjax.version import SCHEMA

REQUIRED = ("id", "status", "evaluations_done")
log = logging.getLogger("grokjax")


class ResultsError(ValueError):
    """A directory that cannot be analysed; the message is one sentence for the user."""


@dataclass(frozen=True)
class Store:
    """A history store in memory: `value` (run, eval, probe), `step` (eval,), coordinates (run,)."""

    group: str
    number: int
    stop_level: float
    value: np.ndarray
    step: np.ndarray
    probe: list[str]
    coordinates: dict[str, np.ndarray]
    shape: dict[str, Any]
    """Shape settings that all its runs share, by dotted name."""


def load(path: str | Path) -> xr.Dataset:
    """All runs of a results directory: `value` over (run, eval, probe), padded with NaN.

    Groups may evaluate at different steps, so `step` is (run, eval), float64 with NaN behind a
    run's last planned evaluation (exact up to 2^53, and drawn as a gap). Every run coordinate of
    any store is there, NaN or '' where a group does not know it, besides `group` and `stop_level`
    (of the validation accuracy, NaN without one). `attrs`: path, name, axes (name -> values),
    budget (steps, of the run with the largest). Raises ResultsError.
    """
    path = Path(path)
    settings = _read_settings(path)
    paths = _store_paths(path)
    stores = [store for one in paths if (store := _read_store(one)) is not None]
    picked = _latest_rows(stores)
    if not picked:
        left = len(paths) - len(stores)
        without = f" ({left} incomplete history stores were left out)" if left else ""
        raise ResultsError(
            f"{cut_path(path)}: no run has results yet{without}; start or continue the training first"
        )
    dataset = _merge(stores, picked, _axis_settings(settings))
    return _fill_axes(dataset, settings).assign_attrs(
        path=str(path),
        name=str(settings.get("name", path.name)),
        axes=settings.get("axes") or {},
        budget=_budget(dataset),
    )


def _budget(dataset: xr.Dataset) -> int:
    """The largest budget of any run, in steps; the file may give it in epochs."""
    last = dataset["budget_evaluations"].values.astype(int) - 1
    return int(dataset["step"].values[np.arange(len(last)), last].max())


def _read_settings(path: Path) -> dict[str, Any]:
    file, told = path / "experiment.yaml", cut_path(path)
    if not os.path.isdir(path):  # which says no to a null byte or a name that is too long
        kind = "is a file" if os.path.isfile(path) else "does not exist"
        raise ResultsError(f"{told}: {kind}; use the results directory of an experiment")
    if not os.path.isfile(file):
        raise ResultsError(
            f"{told}: contains no experiment.yaml, so it is not a results directory; use the directory of an experiment"
        )
    try:
        settings = parse_yaml(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultsError(f"{cut_path(file)}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # also bytes that are no text
        why = cut(error, 200)
        raise ResultsError(f"{cut_path(file)}: is damaged ({why}); {_RESTORE}") from error
    _check_settings(settings, cut_path(file))
    return settings


_RESTORE = "restore it from a copy, or train in another directory"


def _check_settings(settings: Any, told: str) -> None:
    """What the analysis reads of an experiment is there, in its form. Raises ResultsError."""
    if (
        not isinstance(settings, dict)
        or not isinstance(settings.get("train"), dict)
        or "steps" not in settings["train"]
    ):
        raise ResultsError(
            f"{told}: has no setting train.steps, so it is damaged or not an experiment; {_RESTORE}"
        )
    if settings.get("schema") != SCHEMA:
        raise ResultsError(
            f"{told}: schema is {cut(settings.get('schema'))}, but this version reads schema {SCHEMA}; update grokjax"
        )
    axes = settings.get("axes") or {}
    if not isinstance(axes, dict) or not all(isinstance(v, list) for v in axes.values()):
        raise ResultsError(
            f"{told}: axes must be a mapping from settings to lists of values; {_RESTORE}"
        )


def _store_paths(path: Path) -> list[Path]:
    stores = [store for store in path.glob("groups/*/history/*.zarr") if store.stem.isdigit()]
    return sorted(stores, key=lambda store: (store.parts[-3], int(store.stem)))


def _read_store(path: Path) -> Store | None:
    """A store, or None while its writer is still creating it. Raises ResultsError."""
    try:
        group = zarr.open_group(str(path), mode="r")
        arrays = dict(group.arrays())
        value, step, probe = arrays.pop("value"), arrays.pop("step"), arrays.pop("probe")
        _ = [arrays[name] for name in REQUIRED]
    except (KeyError, FileNotFoundError) as error:
        log.warning(f"{path}: is not complete yet and was left out ({error})")
        return None
    except Exception as error:  # zarr raises whatever its layers raise on broken files
        raise _damaged(path, error) from error
    try:
        store = _in_memory(path, group, arrays, value, step, probe)
    except Exception as error:
        raise _damaged(path, error) from error
    wrong = _misshapen(store)
    if wrong:
        raise _damaged(path, wrong)
    return store


def _damaged(path: Path, why: object) -> ResultsError:
    return ResultsError(
        f"{cut_path(path)}: is damaged ({cut(why, 200)}); "
        "restore it from a copy, or delete it and train again"
    )


def _in_memory(
    path: Path, group: zarr.Group, arrays: dict[str, Any], value: Any, step: Any, probe: Any
) -> Store:
    # Status and count before the values: a writer at work can only make the values longer.
    names = sorted(arrays, key=lambda name: (name != "status", name != "evaluations_done"))
    coordinates = {
        name: _plain(arrays[name][:]) for name in names if arrays[name].shape == value.shape[:1]
    }
    if group.attrs.get("schema") != SCHEMA:
        raise ValueError(f"its schema is {group.attrs.get('schema')}, but must be {SCHEMA}")
    stop: Any = group.attrs.get("stop") or {}
    return Store(
        group=path.parts[-3],
        number=int(path.stem),
        stop_level=float(stop.get("val_accuracy", np.nan)),
        value=np.asarray(value[:]),
        step=np.asarray(step[:], np.float64),
        probe=[str(name) for name in np.asarray(probe[:])],
        coordinates=coordinates,
        shape=dict(group.attrs.get("shape") or {}),  # type: ignore[call-overload]
    )


def _misshapen(store: Store) -> str | None:
    """What does not fit together in a store."""
    if store.value.ndim != 3 or store.value.shape[1:] != (len(store.step), len(store.probe)):
        return f"its values have the shape {store.value.shape}, which does not fit its runs, steps and probes"
    lacking = [name for name in (*REQUIRED, "budget_evaluations") if name not in store.coordinates]
    return f"{' and '.join(lacking)} of its runs are missing" if lacking else None


def _plain(values: Any) -> np.ndarray:
    """Numbers as they are, anything else as fixed-width strings, which NumPy compares and sorts
    everywhere.
    """
    array = np.asarray(values)
    return array if array.dtype.kind in "biuf" else array.astype(object).astype(str)


def _latest_rows(stores: list[Store]) -> list[tuple[int, int]]:
    """(store, row) of every run, in order of admission; the store with the largest number wins a
    run.
    """
    latest: dict[tuple[str, str], tuple[int, int]] = {}
    for index, store in enumerate(stores):
        for row, run in enumerate(store.coordinates["id"]):
            latest[store.group, str(run)] = (index, row)
    # An empty id is a row whose writer has not come to it yet.
    return [place for (_, run), place in latest.items() if run]


def _axis_settings(settings: dict[str, Any]) -> list[str]:
    """The settings that vary, those that move together one by one."""
    return [name for axis in settings.get("axes") or {} for name in split_names(axis)]


def _merge(stores: list[Store], picked: list[tuple[int, int]], axes: list[str]) -> xr.Dataset:
    probes = list(dict.fromkeys(name for store in stores for name in store.probe))
    width = max(store.value.shape[1] for store in stores)
    value = np.full((len(picked), width, len(probes)), np.nan, np.float32)
    step = np.full((len(picked), width), np.nan)
    for index, store in enumerate(stores):
        to = np.array([run for run, (i, _) in enumerate(picked) if i == index], int)
        rows = np.array([row for i, row in picked if i == index], int)
        columns = np.array([probes.index(name) for name in store.probe])
        evals = np.arange(store.value.shape[1])
        value[np.ix_(to, evals, columns)] = store.value[rows]
        step[to, : len(evals)] = store.step
    coordinates = {"step": (("run", "eval"), step), "probe": probes} | _run_coordinates(
        stores, picked, axes
    )
    dataset = xr.Dataset({"value": (("run", "eval", "probe"), value)}, coords=coordinates)
    valid = np.arange(width) < dataset["evaluations_done"].to_numpy()[:, None]
    # Behind the last evaluation a resumed run may hold rows of an earlier life.
    return dataset.assign(value=dataset["value"].where(xr.DataArray(valid, dims=("run", "eval"))))


def _run_coordinates(
    stores: list[Store], picked: list[tuple[int, int]], axes: list[str]
) -> dict[str, Any]:
    """Every coordinate of any store. A setting that became an axis later is a shape of the older stores."""
    stored = dict.fromkeys(name for store in stores for name in store.coordinates)
    shapes = {name for store in stores for name in store.shape}
    columns: dict[str, Any] = {}
    for name in [*stored, *(axis for axis in axes if axis in shapes and axis not in stored)]:
        present = [
            stores[i].coordinates[name][row]
            if name in stores[i].coordinates
            else stores[i].shape.get(name)
            for i, row in picked
        ]
        columns[name] = ("run", _column(present))
    columns["group"] = ("run", np.array([stores[i].group for i, _ in picked]))
    columns["stop_level"] = ("run", np.array([stores[i].stop_level for i, _ in picked]))
    return columns


def _column(values: list[Any]) -> np.ndarray:
    """One type for a coordinate: numbers where all known values are numbers, with NaN for the
    unknown ones.
    """
    if any(isinstance(value, str) for value in values):
        return np.array(["" if value is None else str(value) for value in values])
    return np.array([np.nan if value is None else value for value in values])


def _fill_axes(dataset: xr.Dataset, settings: dict[str, Any]) -> xr.Dataset:
    """Give runs stored before a setting became an axis, in stores that do not say, its base value."""
    for name in _axis_settings(settings):
        base = _setting(settings, name)
        if base is None:
            continue
        known = dataset.coords.get(name)
        old = np.full(dataset.sizes["run"], base) if known is None else known.to_numpy()
        missing = old == "" if old.dtype.kind == "U" else np.isnan(old.astype(float))
        if known is None or missing.any():
            filled = np.where(missing, base, old) if known is not None else old
            dataset = dataset.assign_coords({name: ("run", filled)})
    return dataset


def _setting(settings: dict[str, Any], dotted: str) -> Any:
    """The value of a dotted setting, None where the tree has none."""
    node: Any = settings
    for part in dotted.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node if isinstance(node, int | float | str) else None
