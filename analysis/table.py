"""runs.csv, a tidy row for each run, and cells.csv, a row for each cell of the grid with its seeds pooled."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from analysis.cells import SEEDS, Cell
from analysis.outcomes import LEVELS, FirstHit, Series, Sustain, delay, delay_ratio
from analysis.phases import probabilities
from analysis.study import Study, accuracy_outcome, scalar_names, series
from grokjax.atomic import own_name, replacing
from grokjax.experiment.axis_names import split_names

FINAL = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
COUNTS = ("n_train", "steps_per_epoch", "evaluations_done", "budget_evaluations", "diverged_at")


def table_columns(study: Study) -> dict[str, np.ndarray]:
    """Columns by name, each (run,): who, where on the grid, how it ended, when it got where.

    Times and brackets are in optimiser steps; an empty field is a missing value, inf an open end.
    """
    dataset = study.dataset
    names = ["id", "group", *_axis_names(study), *SEEDS, "status", *COUNTS]
    columns = {
        name: dataset[name].to_numpy() for name in dict.fromkeys(names) if name in dataset.coords
    }
    columns["last_step"] = series(dataset, "val_accuracy").last_step
    columns |= {f"final_{probe}": _final(dataset, probe) for probe in _scalar_probes(dataset)}
    for level in sorted({*LEVELS, study.level, study.rule.level}):
        columns |= dict(_level_columns(study, level))
    return columns | {"phase": study.phases}


def _scalar_probes(dataset: xr.Dataset) -> list[str]:
    """Names of all values that are one number, those of FINAL first."""
    return [*FINAL, *(name for name in scalar_names(dataset) if name not in FINAL)]


def cell_columns(study: Study) -> dict[str, list[Any]]:
    """Columns by name, each (cell,): where on the grid, outcomes at the level, median time, phases.

    `median` is Kaplan-Meier in steps with its 95 % limits, inf above the budget; shares are of all runs.
    """
    rows = [_cell_row(study, cell) for cell in study.cells()]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _cell_row(study: Study, cell: Cell) -> dict[str, Any]:
    places = {a.name: a.values[i] for a, i in zip(study.axes, cell.index, strict=True)}
    found = study.summary(cell.runs)
    return {
        **places,
        "level": study.level,
        "n": found.n,
        "hits": found.hits,
        "censored": found.censored,
        "diverged": found.diverged,
        "not_observed": found.not_observed,
        "median": found.median.estimate,
        "median_low": found.median.low,
        "median_high": found.median.high,
        **probabilities(study.phases[cell.runs]),
    }


def write_table(study: Study, path: Path) -> Path:
    """Write runs.csv, whole or not at all."""
    return _write(table_columns(study), path)


def write_parquet(study: Study, path: Path) -> Path:
    """Write the same table as Parquet, whole or not at all: numbers keep all digits, NaN where runs.csv has nothing."""
    import pyarrow
    from pyarrow import parquet

    columns = {
        name: values.tolist() if values.dtype.kind in "UO" else values
        for name, values in table_columns(study).items()
    }
    with replacing(path, own_name(path)) as aside:
        parquet.write_table(pyarrow.table(columns), aside)
    return path


def write_cells(study: Study, path: Path) -> Path:
    """Write cells.csv, whole or not at all."""
    return _write(cell_columns(study), path)


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Write rows that all have the same fields, whole or not at all."""
    return _write({name: [row[name] for row in rows] for name in rows[0]}, path)


def _write(columns: Mapping[str, Sequence[Any] | np.ndarray], path: Path) -> Path:
    with (
        replacing(path, own_name(path)) as aside,
        aside.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(
            [_field(value) for value in row] for row in zip(*columns.values(), strict=True)
        )
    return path


def _axis_names(study: Study) -> list[str]:
    return [name for axis in study.dataset.attrs["axes"] for name in split_names(axis)]


def _final(dataset: xr.Dataset, probe: str) -> np.ndarray:
    """(run,) the last value that was measured, NaN for a run that has none and for one that diverged there."""
    metric = series(dataset, probe)
    if metric.value.shape[1] == 0:
        return np.full(len(metric.value), np.nan)
    every = 1 if probe in FINAL else _every(metric)
    last = np.maximum(metric.done - 1, 0) // every * every
    return np.where(metric.done > 0, metric.value[np.arange(len(last)), last], np.nan)


def _every(metric: Series) -> int:
    """The probe's setting `every`: evaluations from one value to the next. Seen from the values of all runs."""
    measured = np.flatnonzero((metric.real & ~np.isnan(metric.value)).any(0))
    # Only step 0 has a value: the next one would come behind the last evaluation.
    return int(np.gcd.reduce(measured)) or metric.value.shape[1]


def _level_columns(study: Study, level: float) -> Iterator[tuple[str, np.ndarray]]:
    train, val = (accuracy_outcome(study.dataset, split, level) for split in ("train", "val"))
    yield from _outcome_columns(f"train_{level:g}", train)
    yield from _outcome_columns(f"val_{level:g}", val)
    lasting = accuracy_outcome(study.dataset, "val", level, study.sustain or Sustain())
    yield f"val_{level:g}_sustained_step", lasting.time
    yield f"delay_{level:g}", delay(train, val)
    yield f"ratio_{level:g}", delay_ratio(train, val)


def _outcome_columns(prefix: str, outcome: FirstHit) -> Iterator[tuple[str, np.ndarray]]:
    yield f"{prefix}_state", outcome.state
    yield f"{prefix}_step", outcome.time
    yield f"{prefix}_after", outcome.lower
    yield f"{prefix}_until", outcome.upper


def _field(value: Any) -> str:
    """Empty for NaN; integers without a point, so that a step reads as one."""
    if isinstance(value, float | np.floating):
        return (
            ""
            if np.isnan(value)
            else f"{float(value):.8g}"
            if np.isinf(value) or value % 1
            else f"{int(value)}"
        )
    return str(value)
