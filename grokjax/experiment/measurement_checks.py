"""Checks of the measurements: whether model and task offer what they need, and whether the weights are saved."""

from __future__ import annotations

from typing import Any

from grokjax.experiment.config import Experiment
from grokjax.experiment.grid import Group, Run
from grokjax.experiment.places import Places
from grokjax.measurements import unmet


def check_kinds(experiment: Experiment, groups: list[Group], places: Places) -> None:
    """Refuse measurements that a model or task of the grid does not offer. Raises ConfigError."""
    for i, measurement in enumerate(experiment.measurements):
        for group in groups:
            run = group.first
            lacking = unmet(measurement, run.settings.model, run.table)
            if lacking:
                message = f"{measurement.kind} needs {lacking}; or remove this measurement"
                raise places.error(("measurements", str(i), "kind"), message)


def check_snapshots(experiment: Experiment, groups: list[Group], places: Places) -> None:
    """Before training: refuse measurements of weights that will not be saved. Raises ConfigError."""
    for i, measurement in enumerate(experiment.measurements):
        for run in (run for group in groups for run in group.runs):
            missing = _never_saved(measurement.at, run)
            if missing:
                key = ("measurements", str(i), "at")
                raise places.error(key, missing, because=("train", "measurements"))


def _never_saved(at: Any, run: Run) -> str | None:
    every = run.settings.train.snapshot_every
    if at == "final":
        return None
    if every is None:
        return f"{at} needs snapshots, but train.snapshot_every is not set; set it, or use final"
    steps = run.cadence.steps(run.budget)
    saved = {*steps[::every].tolist(), int(steps[-1])}
    lost = [step for step in (() if at == "all" else at) if step not in saved]
    if not lost:
        return None
    near = min(saved, key=lambda step: abs(step - lost[0]))
    return (
        f"no weights will be saved at step {lost[0]} (train.snapshot_every is {every}); use {near}"
    )
