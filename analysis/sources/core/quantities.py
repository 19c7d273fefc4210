"""Quantities read a number from the runs of a configuration. A claims.yaml uses them by name.

A quantity is a function of runs (one dataset, times in epochs) and of the arguments that the YAML gives, such as a
probe and a level. `show` is the format of its numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import xarray as xr

from analysis import readings
from analysis.sources.core import estimates
from analysis.sources.core.claims import MissingError
from analysis.sources.core.estimates import Estimate, Format, of_times, of_values, plain
from analysis.weights import Tensors, final_weights

Quantity = Callable[..., Estimate]
Read = Callable[[xr.Dataset], Estimate]


def at(runs: xr.Dataset, probe: str, time: float, show: Format = plain) -> Estimate:
    """The last value up to a time."""
    return of_values(
        readings.value_at(runs, probe, time), show, f"{probe} at epoch {float(time):g}"
    )


def start(runs: xr.Dataset, probe: str, show: Format = plain) -> Estimate:
    """The first value."""
    return of_values(readings.start(runs, probe), show, probe)


def end(runs: xr.Dataset, probe: str, show: Format = plain) -> Estimate:
    """The last value. A note gives its time, because a stop rule may have ended a run early."""
    last_values = of_values(readings.end(runs, probe), show, probe)
    last = np.median(readings.measured(runs, probe).last_step)
    return replace(last_values, note=f"Ours end at epoch {plain(last)} (median).")


def peak(runs: xr.Dataset, probe: str, since: float = 0, show: Format = plain) -> Estimate:
    """The largest value from a time on."""
    return of_values(_peak(runs, probe, since)[:, 0], show, probe)


def peak_time(runs: xr.Dataset, probe: str, since: float = 0) -> Estimate:
    """When the largest value from a time on was first measured."""
    return of_values(_peak(runs, probe, since)[:, 1], what=probe)


def trough(runs: xr.Dataset, probe: str, show: Format = plain) -> Estimate:
    """The smallest value."""
    return of_values(readings.trough(runs, probe)[0], show, probe)


def trough_time(runs: xr.Dataset, probe: str) -> Estimate:
    """When the smallest value was first measured."""
    return of_values(readings.trough(runs, probe)[1], what=probe)


def settles(runs: xr.Dataset, probe: str) -> Estimate:
    """When a probe is first within 10 % of its smallest value, both from the peak on. It may still fall after that."""
    return of_values(readings.near_minimum(runs, probe), what=probe)


def reaches(runs: xr.Dataset, probe: str, level: float) -> Estimate:
    """When each run is first at or above a level."""
    return of_times(readings.first_above(runs, probe, level), readings.budgets(runs))


def reaches_if_measured(runs: xr.Dataset, probe: str, level: float) -> Estimate:
    """Like `reaches`, for a probe that not every experiment has. Without it the result is missing, not 'never'."""
    if not readings.measured(runs, probe).done.any():
        raise MissingError(f"{probe} was not measured in {runs.attrs['name']}")
    return reaches(runs, probe, level)


def falls(runs: xr.Dataset, probe: str, level: float) -> Estimate:
    """When each run is first at or below a level."""
    return of_times(readings.first_below(runs, probe, level), readings.budgets(runs))


def earliest(runs: xr.Dataset, probe: str, level: float, size: float) -> Estimate:
    """When the first of all runs is at or above a level. Limits: the first of `size` of them."""
    outcome = readings.first_above(runs, probe, level)
    return estimates.of_best(outcome, readings.budgets(runs), int(size))


def mean_rises(runs: xr.Dataset, probe: str, level: float) -> Estimate:
    """When the mean over the runs is first at or above a level."""
    return estimates.of_mean_curve(runs, probe, level)


def mean_falls(runs: xr.Dataset, probe: str, level: float) -> Estimate:
    """When the mean over the runs is first at or below a level."""
    return estimates.of_mean_curve(runs, probe, level, falling=True)


def mean_peak(runs: xr.Dataset, probe: str) -> Estimate:
    """The largest value of the mean over the runs."""
    return estimates.of_mean_extreme(runs, probe)


def mean_low(runs: xr.Dataset, probe: str) -> Estimate:
    """When the mean over the runs is first within 10 % of its smallest value from the peak on."""
    return estimates.of_mean_floor(runs, probe)


def least_fraction(runs: xr.Dataset, share: float, level: float) -> Estimate:
    """The smallest train fraction at which so large a share of the seeds reaches a validation accuracy; inf if none."""
    name = "split.train_fraction"
    if name not in runs:
        raise MissingError(f"{runs.attrs['name']} has no train fractions")
    fraction = runs[name].to_numpy().astype(float)
    hit = np.isfinite(readings.first_above(runs, "val_accuracy", level).time)
    tried = np.unique(fraction)
    enough = [f for f in tried if hit[fraction == f].mean() >= share]
    found = f"{min(enough):g}" if enough else f"none up to {tried[-1]:g}"
    text = f"{found} (n = {len(fraction)}, from {tried[0]:g} on)"
    return replace(of_values([min(enough, default=np.inf)]), text=text)


def weights(runs: xr.Dataset) -> list[Tensors]:
    """Tensors by name of every run that has ended. Raises MissingError if none has."""
    by_run = final_weights(runs)
    if not by_run:
        raise MissingError(f"{runs.attrs['name']} has no final weights yet")
    return by_run


def _peak(runs: xr.Dataset, probe: str, since: float) -> np.ndarray:
    """(run, 2): the largest value from a time on, and when it was first measured."""
    peaks = np.full((runs.sizes["run"], 2), np.nan)
    for run, (time, value) in enumerate(readings.each(runs, probe)):
        time, value = time[time >= since], value[time >= since]
        if len(value):
            peaks[run] = value.max(), time[value.argmax()]
    return peaks


def by_name(*functions: Quantity) -> dict[str, Quantity]:
    """Quantities by the names of their functions."""
    return {function.__name__: function for function in functions}


QUANTITIES = by_name(
    *(at, start, end, peak, peak_time, trough, trough_time, settles),
    *(reaches, reaches_if_measured, falls, earliest),
    *(mean_rises, mean_falls, mean_peak, mean_low),
    least_fraction,
)
