"""Quantities and checks of sparse parity (Merrill, Tsilivis & Shukla 2023; appendix b of source 002): a dense network
turns into a sparse one."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr

from analysis import readings
from analysis.sources.core.claims import Finding, MissingError, Results
from analysis.sources.core.estimates import Estimate, Format, of_values, plain
from analysis.sources.core.row import Row
from analysis.sources.core.verdicts import share_of

MEMORISED = 0.98
"""Train accuracy at which a run counts as memorised."""
NEAR = 20.0
"""Number of epochs before and after the jump of the test accuracy of a run."""


def when_memorised(runs: xr.Dataset, show: Format = plain) -> Estimate:
    """Test accuracy when the training rows are memorised."""
    when = readings.first_above(runs, "train_accuracy", MEMORISED).time
    values = [
        float(value[np.searchsorted(time, t)]) if np.isfinite(t) else np.nan
        for (time, value), t in zip(readings.each(runs, "val_accuracy"), when, strict=True)
    ]
    return of_values(values, show, "accuracy at memorisation")


def final_size(row: Row, results: Results) -> Finding:
    """At most ten neurons are enough in at least 80 % of the runs."""
    sizes = _last(_sizes(row, results)[2])
    return share_of(sizes, sizes <= 10, 0.8, "At most 10 neurons")


def size_falls(row: Row, results: Results, level: float) -> Finding:
    """The effective size falls tenfold near the epoch at which the test accuracy reaches a level."""
    runs, epochs, size = _sizes(row, results)
    return judge_fall(readings.first_above(runs, "val_accuracy", level).time, epochs, size)


def judge_fall(jump: np.ndarray, epochs: np.ndarray, size: np.ndarray) -> Finding:
    """Largest fall (a size divided by a later one) between 20 epochs before the jump and 20 after it."""
    ratios = np.full(len(jump), np.nan)
    for run, (epoch, row) in enumerate(zip(epochs, size, strict=True)):
        near = np.isfinite(row) & (np.abs(epoch - jump[run]) <= NEAR)
        if near.any():
            ratios[run] = (np.maximum.accumulate(row[near]) / row[near]).max()
    known = ratios[np.isfinite(ratios)]
    if not len(known):
        raise MissingError("no weights were saved near a jump of the test accuracy")
    return share_of(ratios, known >= 10, 1.0, "Tenfold within 20 epochs")


def norm(
    row: Row,
    results: Results,
    part: Literal["generalising", "complement"],
    direction: Literal["rises", "falls"],
) -> Finding:
    """Norm of a part of the network at the end, divided by that at the first saved weights after memorisation."""
    measured = row.configuration.measured(results, "subnetworks").sel(part=part)
    norms = measured["norm"].transpose("run", "snapshot").to_numpy()
    if norms.shape[1] < 2:
        raise MissingError("subnetworks were measured at the end only")
    runs, epochs = _runs_of(measured, row, results)
    when = readings.first_above(runs, "train_accuracy", MEMORISED).time
    then = [
        own[np.argmax(e >= t)] if (e >= t).any() else np.nan
        for own, e, t in zip(norms, epochs, when, strict=True)
    ]
    ratios = _last(norms) / np.array(then)
    right = ((ratios > 1) == (direction == "rises"))[np.isfinite(ratios)]
    return share_of(ratios, right, 1.0, f"It {direction}")


def _sizes(row: Row, results: Results) -> tuple[xr.Dataset, np.ndarray, np.ndarray]:
    """Runs, epochs (run, snapshot) of the weights, and the fewest neurons with the same train accuracy."""
    measured = row.configuration.measured(results, "effective_sparsity")
    size = measured["neurons_same_accuracy"].transpose("run", "snapshot").to_numpy()
    return *_runs_of(measured, row, results), size


def _runs_of(measured: xr.Dataset, row: Row, results: Results) -> tuple[xr.Dataset, np.ndarray]:
    """Histories of the measured runs, in their order, and the epochs (run, snapshot) of the weights."""
    runs = row.runs(results)
    ids = list(runs["id"].to_numpy())
    runs = runs.isel(run=[ids.index(name) for name in measured["id"].to_numpy()])
    return runs, measured["step"].to_numpy() / runs["steps_per_epoch"].to_numpy()[:, None]


def _last(values: np.ndarray) -> np.ndarray:
    """(run,) the last finite value."""
    known = [row[np.isfinite(row)] for row in values]
    return np.array([row[-1] if len(row) else np.nan for row in known])
