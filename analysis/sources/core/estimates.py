"""Our numbers in a comparison: one for each run, their median, its 95 % interval, and a text of these."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from analysis import readings
from analysis.outcomes import CENSORED, HIT, NOT_OBSERVED, FirstHit
from analysis.sources.core.claims import MissingError
from analysis.statistics import Interval, bootstrap, median_interval, median_time

Format = Callable[[float], str]

FEWEST = 3
"""Fewest runs for which draws of runs give an interval."""


def plain(x: float) -> str:
    """Three significant digits; whole numbers from 1,000 on; an exponent for very small and very large numbers."""
    if x == 0 or 0.001 <= abs(x) < 999.5:
        return f"{x:.3g}"
    return f"{x:,.0f}" if 999.5 <= abs(x) < 1e7 else f"{x:.1e}"


def percent(x: float) -> str:
    return f"{100 * x:.3g} %"


def percent_exactly(x: float) -> str:
    """Five significant digits, for shares near one, where three are too few."""
    return f"{100 * x:.5g} %"


@dataclass(frozen=True)
class Estimate:
    """`values`: one for each run; inf for a time beyond the budget, NaN if the run has no value."""

    interval: Interval
    values: NDArray[np.float64]
    text: str
    show: Format = plain
    note: str = ""

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def known(self) -> NDArray[np.float64]:
        return self.values[~np.isnan(self.values)]


def of_values(values: ArrayLike, show: Format = plain, what: str = "the probe") -> Estimate:
    """Median of the runs' values with limits from order statistics."""
    numbers = np.asarray(values, float)
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        raise MissingError(f"{what} was not measured")
    limits = median_interval(known)
    return Estimate(limits, numbers, _words(len(known), limits, show), show)


def of_times(outcome: FirstHit, budgets: NDArray[np.float64]) -> Estimate:
    """Kaplan-Meier median of times. A time beyond its run's budget is written as '> budget', the smallest of all."""
    n, reached, times = len(outcome.state), int(outcome.hit.sum()), _times(outcome, budgets)
    unseen, going = int((outcome.state == NOT_OBSERVED).sum()), int(np.isnan(times).sum())
    show, limits = _within(budgets.min()), _limits(outcome, times)
    text = f"n = {n}" if math.isnan(limits.estimate) else _words(n, limits, show)
    text += "" if reached == n else f", {reached} of {n} arrived"
    text += f", {unseen} were stopped before" if unseen else ""
    text += f", {going - unseen} still in training" if going > unseen else ""
    return Estimate(limits, times, text, show)


def _limits(outcome: FirstHit, times: NDArray[np.float64]) -> Interval:
    """Kaplan-Meier median. If every run has arrived or spent its budget, its limits are exact, from order statistics,
    unless a run had spent its budget before another arrived.

    NaN without a median while runs in training can still give one.
    """
    median = median_time(outcome)
    latest = outcome.upper[outcome.hit].max(initial=-np.inf)
    early = ((outcome.state == CENSORED) & (outcome.lower < latest)).any()
    if math.isinf(median.estimate) and np.isnan(times).any():
        return Interval(math.nan, math.nan, math.nan)
    exact = median_interval(times)
    if np.isnan(times).any() or early:
        return median
    if math.isinf(exact.low) and exact.low < 0:  # too few runs
        return Interval(median.estimate, exact.low, exact.high)
    # An arrival lies between two evaluations.
    earliest = median_interval(np.where(outcome.hit, np.maximum(outcome.lower, 0), times)).low
    return Interval(median.estimate, earliest, exact.high)


def _times(outcome: FirstHit, budgets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times; inf for runs that spent their budget or diverged, NaN for those that may still arrive or were stopped."""
    open_end = (outcome.state == CENSORED) & (outcome.lower < 0.999 * budgets)
    late = np.where(open_end | (outcome.state == NOT_OBSERVED), np.nan, np.inf)
    return np.where(outcome.state == HIT, outcome.upper, late)


def of_mean_curve(
    dataset: xr.Dataset, probe: str, level: float, falling: bool = False, decimals: int = 4
) -> Estimate:
    """When the mean over all runs crosses a level (the source's own criterion); limits from random draws of runs.

    This is not the mean of the runs' times: the mean reaches a high level only when the slowest runs do.
    """
    times, curves = _curves(dataset, probe)

    def crossing(runs: NDArray[np.int64]) -> float:
        # The source's logs have four decimals. And a mean of accuracies that are all 1 must be exactly 1.
        curve = curves[runs].mean(0).round(decimals)
        return readings.first_crossing(times, curve, level, falling)

    limits, show = _drawn(crossing, len(curves)), _within(readings.budgets(dataset).min())
    before = times[times < limits.low]
    if math.isfinite(limits.low):
        # The mean crossed the level between two evaluations.
        limits = Interval(limits.estimate, float(before[-1]) if len(before) else 0.0, limits.high)
    return Estimate(limits, _alone(crossing, len(curves)), _words(len(curves), limits, show), show)


def of_mean_extreme(dataset: xr.Dataset, probe: str, largest: bool = True) -> Estimate:
    """Peak (or trough) of the mean over all runs that did not diverge."""
    _, curves, note = _finite_curves(dataset, probe)

    def extreme(runs: NDArray[np.int64]) -> float:
        mean = curves[runs].mean(0)
        return float(np.nanmax(mean) if largest else np.nanmin(mean))

    limits = _drawn(extreme, len(curves))
    words = _words(len(curves), limits, plain)
    return Estimate(limits, _alone(extreme, len(curves)), words, note=note)


def of_mean_floor(dataset: xr.Dataset, probe: str) -> Estimate:
    """When the mean over all runs that did not diverge is first within 10 % of its minimum, both from its peak on."""
    times, curves, note = _finite_curves(dataset, probe)

    def near(runs: NDArray[np.int64]) -> float:
        return readings.floor_time(times, curves[runs].mean(0))

    limits, show = _drawn(near, len(curves)), _within(readings.budgets(dataset).min())
    words = _words(len(curves), limits, show)
    return Estimate(limits, _alone(near, len(curves)), words, show, note)


def of_best(outcome: FirstHit, budgets: NDArray[np.float64], size: int) -> Estimate:
    """The earliest time of the runs. Limits: the earliest of `size` runs (the source's number), drawn from ours."""
    arrivals = _times(outcome, budgets)
    times = np.where(np.isnan(arrivals), np.inf, arrivals)
    limits = _drawn(lambda runs: float(times[runs].min()), len(times), size)
    show, stopped = _within(budgets.min()), int((outcome.state == NOT_OBSERVED).sum())
    text = _words(len(times), limits, show) + (
        f", {stopped} were stopped before" if stopped else ""
    )
    return Estimate(limits, times, text, show)


def of_draws(
    statistic: Callable[[NDArray[np.int64]], float], n: int, show: Format = plain
) -> Estimate:
    """A statistic of n seeds, given their numbers, with limits from draws of seeds; `values`: of each seed alone."""
    limits = _drawn(statistic, n)
    return Estimate(limits, _alone(statistic, n), _words(n, limits, show), show)


def _curves(dataset: xr.Dataset, probe: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times at which every run that did not diverge has a value, and the values (run, time).

    A run that diverged is NaN from then on, and so is a mean that includes it. Such a mean never reaches a level.
    """
    times, values = readings.common_grid(dataset, probe, np.arange(dataset.sizes["run"]))
    whole = dataset["status"].to_numpy() != "diverged"
    everywhere = np.isfinite(values[whole]).all(0)
    if not everywhere.any():
        raise MissingError(f"{probe} was not measured in {dataset.attrs['name']}")
    return times[everywhere], values[:, everywhere]


def _finite_curves(
    dataset: xr.Dataset, probe: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """The same without the runs that diverged, and a sentence that says so."""
    times, values = _curves(dataset, probe)
    whole = dataset["status"].to_numpy() != "diverged"
    if not whole.any():
        raise MissingError(f"every run of {dataset.attrs['name']} diverged")
    gone = int((~whole).sum())
    return times, values[whole], f"{gone} diverged and are left out." if gone else ""


def _drawn(
    statistic: Callable[[NDArray[np.int64]], float], n: int, size: int | None = None
) -> Interval:
    """A statistic with limits from draws of runs. One or two runs give no limits."""
    interval = bootstrap(statistic, n, size)
    return interval if n >= FEWEST else Interval(interval.estimate, -math.inf, math.inf)


def _alone(statistic: Callable[[NDArray[np.int64]], float], n: int) -> NDArray[np.float64]:
    return np.array([statistic(np.array([run])) for run in range(n)])


def _words(n: int, limits: Interval, show: Format) -> str:
    if math.isinf(limits.low) and limits.low < 0:
        return f"n = {n}, {show(limits.estimate)} (too few for limits)"
    return f"n = {n}, {show(limits.estimate)} [{show(limits.low)}, {show(limits.high)}]"


def _within(budget: float) -> Format:
    return lambda x: f"> {plain(budget)}" if math.isinf(x) else plain(x)
