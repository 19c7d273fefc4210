"""Numbers from histories: a probe's start, peak, end, value at a time, and the time at which it crosses a level.

A probe may be measured only at every fourth evaluation, for example. Evaluations without a value do not count here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.load import budgets
from analysis.outcomes import FirstHit, Series, first_hit
from analysis.study import series

Floats = NDArray[np.float64]


def in_epochs(dataset: xr.Dataset) -> xr.Dataset:
    """The dataset with `step` and attrs budget in epochs, and attrs unit. Where each epoch is one step: steps."""
    per_epoch = dataset["steps_per_epoch"].to_numpy().astype(float)
    step = dataset["step"].to_numpy() / per_epoch[:, None]
    scaled = dataset.assign_coords(step=(("run", "eval"), step))
    unit = "epochs" if (per_epoch > 1).any() else "steps"
    return scaled.assign_attrs(budget=budgets(scaled).max(), unit=unit)


def budget_told(dataset: xr.Dataset) -> str:
    """The budget, or the smallest and the largest one of the runs."""
    low, high = (f"{f(budgets(dataset)):,.0f}" for f in (np.min, np.max))
    return high if low == high else f"{low} to {high}"


def measured(dataset: xr.Dataset, probe: str) -> Series:
    """One probe of all runs. Evaluations without a finite value are left out."""
    whole = series(dataset, probe)
    known = whole.real & np.isfinite(whole.value)
    order = np.argsort(~known, axis=1, kind="stable")
    behind = np.arange(known.shape[1]) >= known.sum(1)[:, None]
    step = np.where(behind, np.nan, np.take_along_axis(whole.step, order, 1))
    value = np.where(behind, np.nan, np.take_along_axis(whole.value, order, 1)).astype(float)
    return Series(value=value, step=step, done=known.sum(1), status=whole.status)


def each(dataset: xr.Dataset, probe: str) -> Iterator[tuple[Floats, Floats]]:
    """(steps, values) of each run."""
    history = measured(dataset, probe)
    for step, value, done in zip(history.step, history.value, history.done, strict=True):
        yield step[:done], value[:done]


def first_above(dataset: xr.Dataset, probe: str, level: float) -> FirstHit:
    """When each run's probe was first at or above a level."""
    return first_hit(measured(dataset, probe), level)


def first_below(dataset: xr.Dataset, probe: str, level: float) -> FirstHit:
    """When each run's probe was first at or below a level. The `level` of the outcome is minus this level."""
    history = measured(dataset, probe)
    return first_hit(Series(-history.value, history.step, history.done, history.status), -level)


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
    extremes = np.full((dataset.sizes["run"], 2), np.nan)
    for run, (step, value) in enumerate(each(dataset, probe)):
        if len(value):
            at = int((sign * value).argmax())
            extremes[run] = sign * value[at], step[at]
    return extremes[:, 0], extremes[:, 1]


def value_at(dataset: xr.Dataset, probe: str, time: float) -> Floats:
    """(run,) last value measured up to a time; NaN if the last evaluation of the run is earlier.

    A run that the stop rule ended keeps its last value.
    """
    stopped = dataset["status"].to_numpy() == "stopped"
    last = series(dataset, probe).last_step
    values = []
    for run, (step, value) in enumerate(each(dataset, probe)):
        known = step <= time * (1 + 1e-9)
        followed = stopped[run] or last[run] >= time * (1 - 1e-9)
        values.append(value[known][-1] if known.any() and followed else np.nan)
    return np.array(values, float)


def floor_time(step: Floats, value: Floats, share: float = 0.1) -> float:
    """First time, from the peak on, at which a curve is at most (1 + share) times its minimum from the peak on.

    NaN without values. Before the peak the curve can be lower: at the start, features that have learned nothing all
    have the same direction.
    """
    known = np.isfinite(value)
    step, value = step[known], value[known]
    if not len(value):
        return float("nan")
    falls = slice(int(value.argmax()), None)
    near = value[falls] <= (1 + share) * value[falls].min()
    return float(step[falls][near.argmax()])


def near_minimum(dataset: xr.Dataset, probe: str) -> Floats:
    """(run,) first time at which a probe is within 10 % of its minimum, from its peak on."""
    return np.array([floor_time(step, value) for step, value in each(dataset, probe)], float)


def common_grid(
    dataset: xr.Dataset, probe: str, runs: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.float64]]:
    """(times, values (run, time)) of some runs, at all times at which one of them was measured; NaN for the others.

    A run that the stop rule ended keeps its last value afterwards.
    """
    history = measured(dataset, probe)
    kept = [(history.step[r, : history.done[r]], history.value[r, : history.done[r]]) for r in runs]
    times = np.unique(np.concatenate([step for step, _ in kept])) if kept else np.empty(0)
    values = np.full((len(runs), len(times)), np.nan)
    for row, (run, (step, value)) in enumerate(zip(runs, kept, strict=True)):
        at = np.searchsorted(times, step)
        values[row, at] = value
        if history.status[run] == "stopped" and len(at):
            values[row, at[-1] + 1 :] = value[-1]
    return times.astype(float), values


def first_crossing(times: Floats, curve: Floats, level: float, falling: bool = False) -> float:
    """First time at which a curve is at or above a level (`falling`: at or below); inf if it never is."""
    sign = -1 if falling else 1
    with np.errstate(invalid="ignore"):
        crossed = np.flatnonzero(sign * curve >= sign * level)
    return float(times[crossed[0]]) if len(crossed) else float("inf")
