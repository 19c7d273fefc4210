"""Numbers read off the histories: a probe's start, peak, end, value at a time, and the time it crosses a level.

A probe may be measured at every fourth evaluation only; here all that counts is where it was measured.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.outcomes import FirstHit, Series, first_hit
from analysis.study import series

Floats = NDArray[np.float64]


def in_epochs(dataset: xr.Dataset) -> xr.Dataset:
    """The dataset with `step` in epochs (a full-batch run has one step in each), and attrs: unit."""
    per_epoch = dataset["steps_per_epoch"].to_numpy().astype(float)
    step = dataset["step"].to_numpy() / per_epoch[:, None]
    scaled = dataset.assign_coords(step=(("run", "eval"), step))
    budget = dataset.attrs["budget"] / per_epoch.min()
    return scaled.assign_attrs(budget=budget, unit="epochs")


def measured(dataset: xr.Dataset, probe: str) -> Series:
    """One probe of all runs, its evaluations without a finite value left out."""
    whole = series(dataset, probe)
    known = whole.real & np.isfinite(whole.value)
    order = np.argsort(~known, axis=1, kind="stable")
    behind = np.arange(known.shape[1]) >= known.sum(1)[:, None]
    step = np.where(behind, np.nan, np.take_along_axis(whole.step, order, 1))
    value = np.where(behind, np.nan, np.take_along_axis(whole.value, order, 1)).astype(float)
    return Series(value=value, step=step, done=known.sum(1), status=whole.status)


def each(dataset: xr.Dataset, probe: str) -> Iterator[tuple[Floats, Floats]]:
    """(steps, values) of each run."""
    found = measured(dataset, probe)
    for step, value, done in zip(found.step, found.value, found.done, strict=True):
        yield step[:done], value[:done]


def first_above(dataset: xr.Dataset, probe: str, level: float) -> FirstHit:
    """When each run's probe was first at or above a level."""
    return first_hit(measured(dataset, probe), level)


def first_below(dataset: xr.Dataset, probe: str, level: float) -> FirstHit:
    """When each run's probe was first at or below a level; the outcome's own `level` has the sign turned."""
    found = measured(dataset, probe)
    return first_hit(Series(-found.value, found.step, found.done, found.status), -level)


def start(dataset: xr.Dataset, probe: str) -> Floats:
    return np.array([value[0] if len(value) else np.nan for _, value in each(dataset, probe)])


def end(dataset: xr.Dataset, probe: str) -> Floats:
    """(run,) last value measured."""
    return np.array([value[-1] if len(value) else np.nan for _, value in each(dataset, probe)])


def peak(dataset: xr.Dataset, probe: str) -> tuple[Floats, Floats]:
    """(run,) largest value, and when it was first measured."""
    return _extreme(dataset, probe, 1)


def trough(dataset: xr.Dataset, probe: str) -> tuple[Floats, Floats]:
    """(run,) smallest value, and when it was first measured."""
    value, step = _extreme(dataset, probe, -1)
    return -value, step


def _extreme(dataset: xr.Dataset, probe: str, sign: int) -> tuple[Floats, Floats]:
    found = np.full((dataset.sizes["run"], 2), np.nan)
    for run, (step, value) in enumerate(each(dataset, probe)):
        if len(value):
            at = int((sign * value).argmax())
            found[run] = sign * value[at], step[at]
    return found[:, 0], found[:, 1]


def value_at(dataset: xr.Dataset, probe: str, time: float) -> Floats:
    """(run,) last value measured up to a time; NaN where the run was not followed that far.

    A run that the stop rule ended keeps its last value.
    """
    stopped = dataset["status"].to_numpy() == "stopped"
    last = series(dataset, probe).last_step
    found = []
    for run, (step, value) in enumerate(each(dataset, probe)):
        known = step <= time * (1 + 1e-9)
        followed = stopped[run] or last[run] >= time * (1 - 1e-9)
        found.append(value[known][-1] if known.any() and followed else np.nan)
    return np.array(found, float)


def floor_time(step: Floats, value: Floats, share: float = 0.1) -> float:
    """First time from the peak on at which a curve is within a share of its minimum from there on; NaN without values.

    Before the peak it may be lower still: at the start, features that have learned nothing all point alike.
    """
    known = np.isfinite(value)
    step, value = step[known], value[known]
    if not len(value):
        return float("nan")
    falls = slice(int(value.argmax()), None)
    near = value[falls] <= (1 + share) * value[falls].min()
    return float(step[falls][near.argmax()])


def near_minimum(dataset: xr.Dataset, probe: str) -> Floats:
    """(run,) when a probe comes within 10 % of its floor."""
    return np.array([floor_time(step, value) for step, value in each(dataset, probe)], float)


def common_grid(
    dataset: xr.Dataset, probe: str, runs: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.float64]]:
    """(times, values (run, time)) of some runs at all times where any was measured; NaN where one was not.

    A run that the stop rule ended keeps its last value there.
    """
    found = measured(dataset, probe)
    kept = [(found.step[r, : found.done[r]], found.value[r, : found.done[r]]) for r in runs]
    times = np.unique(np.concatenate([step for step, _ in kept])) if kept else np.empty(0)
    values = np.full((len(runs), len(times)), np.nan)
    for row, (run, (step, value)) in enumerate(zip(runs, kept, strict=True)):
        at = np.searchsorted(times, step)
        values[row, at] = value
        if found.status[run] == "stopped" and len(at):
            values[row, at[-1] + 1 :] = value[-1]
    return times.astype(float), values


def first_crossing(times: Floats, curve: Floats, level: float, falling: bool = False) -> float:
    """First time at which a curve is at or above a level (`falling`: at or below); inf if it never is."""
    sign = -1 if falling else 1
    with np.errstate(invalid="ignore"):
        crossed = np.flatnonzero(sign * curve >= sign * level)
    return float(times[crossed[0]]) if len(crossed) else float("inf")
