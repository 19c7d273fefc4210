"""The columns of a history store that describe each run."""

from __future__ import annotations

import json
from typing import Any

from grokjax.experiment.grid import SEEDS, Run
from grokjax.settings import leaves


def columns(runs: list[Run]) -> dict[str, list[Any]]:
    """The columns that describe each run: every number and every axis."""
    shared: dict[tuple[int, ...], dict[str, Any]] = {}
    rows = []
    for run in runs:
        # The seeds of a point share their sections, which are the same objects (grid.make_runs).
        key = tuple(id(value) for name, value in run.settings if name not in SEEDS)
        if key not in shared:
            shared[key] = _numbers(run)
        rows.append(_row(run, shared[key]))
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, float("nan")) for row in rows] for name in names}


def shapes(run: Run) -> dict[str, Any]:
    """Shape settings by dotted name: what all runs of a group share. A store keeps them, so that it says what its runs
    are even where one of them becomes an axis later."""
    return {
        leaf.name: leaf.value
        for leaf in leaves(run.settings)
        if leaf.role == "shape" and isinstance(leaf.value, int | float | str)
    }


def describe(run: Run) -> dict[str, Any]:
    """One run as a row: seeds, counts, hyper settings, axes."""
    return _row(run, _numbers(run))


def _numbers(run: Run) -> dict[str, Any]:
    """All numbers that are settings, but for the seeds."""
    return {
        leaf.name: leaf.value
        for leaf in leaves(run.settings)
        if leaf.role == "hyper" and isinstance(leaf.value, int | float) and leaf.name not in SEEDS
    }


def _row(run: Run, numbers: dict[str, Any]) -> dict[str, Any]:
    axes = {
        n: v if isinstance(v, int | float | str) else json.dumps(v) for n, v in run.point.items()
    }
    counts = {
        "n_train": run.n_train,
        "steps_per_epoch": run.batches,
        "budget_evaluations": run.budget,
    }
    seeds = {"seed": run.settings.seed, **run.settings.seeds()}
    return {**numbers, **seeds, **counts, **axes}
