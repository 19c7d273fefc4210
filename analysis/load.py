"""The results on disk as one labelled dataset, whether training has ended or goes on."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.blocks import (
    Block,
    Shelf,
    blocks_of,
    column_of,
    known_columns,
    shelves_of,
    spread,
    steps_of,
)
from analysis.histories import Histories
from grokjax.experiment.axis_names import split_names
from grokjax.quoting import cut, cut_path
from grokjax.results.experiment_file import COPY, NAME, read_data
from grokjax.results.loss import Loss
from grokjax.results.sealed import Damaged
from grokjax.results.shares import all_stores
from grokjax.results.store import GroupStore, missing_groups
from grokjax.version import SCHEMA

log = logging.getLogger("grokjax")


class ResultsError(ValueError):
    """A directory that cannot be analysed; the message is one sentence for the user."""


def load(path: str | Path) -> xr.Dataset:
    """All runs of a results directory: `value` over (run, eval, probe), padded with NaN.

    Groups may evaluate at different steps, so `step` is (run, eval), float64 with NaN behind a
    run's last planned evaluation (exact up to 2^53, and drawn as a gap). Every run coordinate of
    any store is there, NaN or '' where a group does not know it, besides `group` and `stop_level`
    (of the validation accuracy, NaN without one). `attrs`: path, name, axes (name -> values), settings,
    budget (steps, of the run with the largest), unverified (number of runs that an older version
    wrote without checksums). Every history is compared with its checksum; runs whose results are
    damaged or lost count as not trained, with a warning. More than 512 MiB of histories stay on
    disk until they are asked for, for example `dataset["value"].sel(probe="val_accuracy")`. Raises
    ResultsError.
    """
    path = Path(path)
    settings = _read_settings(path)
    try:
        return _load(path, settings)
    except Damaged as error:
        raise ResultsError(f"{error}; {_RESTORE}") from error
    except OSError as error:
        where = cut_path(error.filename or path)
        raise ResultsError(
            f"{where}: cannot be read ({error.strerror or error}); make it readable"
        ) from error


def _load(path: Path, settings: dict[str, Any]) -> xr.Dataset:
    stores, losses = _open(path)
    shelves = shelves_of(stores)
    for loss in losses:
        log.warning(
            loss.told("they count as not trained; start the experiment again to train them again")
        )
    blocks = blocks_of(shelves)
    if not blocks:
        unusable = f" ({len(losses)} files cannot be used)" if losses else ""
        raise ResultsError(
            f"{cut_path(path)}: no run has results yet{unusable}; start or continue the training first"
        )
    dataset = _make(shelves, blocks, _axis_settings(settings))
    return _fill_axes(dataset, settings).assign_attrs(
        path=str(path),
        name=str(settings.get("name", path.name)),
        axes=settings.get("axes") or {},
        settings=settings,
        budget=int(budgets(dataset).max()),
        unverified=sum(len(store.unverified) for _, store in stores),
    )


def budgets(dataset: xr.Dataset) -> NDArray[np.float64]:
    """(run,) time of each run's last planned evaluation, in the unit of `step`; the file may give it in epochs.

    In epochs they differ where epochs differ in steps.
    """
    last = dataset["budget_evaluations"].to_numpy().astype(int) - 1
    return dataset["step"].to_numpy()[np.arange(len(last)), last]


def _read_settings(path: Path) -> dict[str, Any]:
    file, told = path / NAME, cut_path(path)
    if not os.path.isdir(path):  # which says no to a null byte or a name that is too long
        kind = "is a file" if os.path.isfile(path) else "does not exist"
        raise ResultsError(f"{told}: {kind}; use the results directory of an experiment")
    if not any((path / name).exists() for name in (NAME, COPY)):
        raise ResultsError(
            f"{told}: contains no experiment.yaml, so it is not a results directory; use the directory of an experiment"
        )
    try:
        settings = read_data(path)
    except Damaged as error:
        raise ResultsError(f"{error}; {_RESTORE}") from error
    except ValueError as error:
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
    schema = settings.get("schema")
    if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
        raise ResultsError(
            f"{told}: schema is {cut(schema)}, but this version reads schemas up to {SCHEMA}; update grokjax"
        )
    axes = settings.get("axes") or {}
    if not isinstance(axes, dict) or not all(isinstance(v, list) for v in axes.values()):
        raise ResultsError(
            f"{told}: axes must be a mapping from settings to lists of values; {_RESTORE}"
        )


def _open(path: Path) -> tuple[list[tuple[str, GroupStore]], list[Loss]]:
    """The stores of all groups with their histories checked, and what is lost."""
    stores = list(all_stores(path))
    for _, store in stores:
        store.check_histories()
    losses = [loss for _, store in stores for loss in store.losses]
    return stores, [*missing_groups(path, "start the experiment again to train it again"), *losses]


def _make(shelves: list[Shelf], blocks: list[Block], axes: list[str]) -> xr.Dataset:
    n = sum(len(block.places) for block in blocks)
    width = max(len(block.admission.step) for block in blocks)
    known = [(s, *s.progress_and_source(run)) for _, s, runs in shelves for run in runs]
    progress = [p for _, p, _ in known]
    done = np.array([p.evaluations_done for p in progress])
    probes = list(dict.fromkeys(name for block in blocks for name in block.admission.names))
    sources = [(store, source) for store, _, source in known]
    values = Histories.of(sources, probes, width, done)
    coordinates: dict[str, Any] = {
        "step": (("run", "eval"), steps_of(blocks, n, width)),
        "probe": probes,
        "id": ("run", np.array([run for shelf in shelves for run in shelf.runs], str)),
    }
    for name in known_columns(blocks, axes):
        coordinates[name] = ("run", column_of(name, blocks, n))
    for name, column in {
        "status": np.array([p.status for p in progress], str),
        "evaluations_done": done,
        "diverged_at": np.array([p.diverged_at for p in progress]),
        "group": np.array([shelf.group for shelf in shelves for _ in shelf.runs], str),
        "stop_level": spread(blocks, n, [block.stop_level for block in blocks]),
    }.items():
        coordinates[name] = ("run", column)
    return xr.Dataset({"value": (("run", "eval", "probe"), values.array())}, coords=coordinates)


def _axis_settings(settings: dict[str, Any]) -> list[str]:
    """The settings that vary, those that move together one by one."""
    return [name for axis in settings.get("axes") or {} for name in split_names(axis)]


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
