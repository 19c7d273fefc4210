"""The columns of a history store that describe each run."""

from __future__ import annotations

import json
from typing import Any

from grokjax.experiment.grid import Run
from grokjax.settings import leaves


def columns(runs: list[Run]) -> dict[str, list[Any]]:
    """The columns that describe each run: every number and every axis."""
    rows = [describe(run) for run in runs]
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
    numbers = {
        leaf.name: leaf.value
        for leaf in leaves(run.settings)
        if leaf.role == "hyper" and isinstance(leaf.value, int | float)
    }
    axes = {
        n: v if isinstance(v, int | float | str) else json.dumps(v) for n, v in run.point.items()
    }
    counts = {
        "n_train": run.n_train,
        "steps_per_epoch": run.batches,
        "budget_evaluations": run.budget,
    }
    return {**numbers, **run.settings.seeds(), **counts, **axes}
