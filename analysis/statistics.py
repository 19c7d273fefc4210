"""Statistics of times with censoring: Kaplan-Meier medians, counts, Wilson shares. Also medians of other numbers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import CensoredData, binom, ecdf, norm, rankdata

from analysis.outcomes import CENSORED, DIVERGED, HIT, NOT_OBSERVED, FirstHit

# Products such as 23/24 * ... * 12/13 differ from one half by rounding. Without slack the median is one event late.
SLACK = 1e-9


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % limits; a limit is infinite if the data give none, and NaN if not observed."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class TimeSummary:
    """Steps to one level over the runs of a cell. `undecided`: how many of the censored runs still train."""

    n: int
    hits: int
    censored: int
    diverged: int
    not_observed: int
    undecided: int
    median: Interval
    share: Interval


def kaplan_meier_median(time: ArrayLike, event: ArrayLike) -> Interval:
    """Median time to an event with right censoring, and its 95 % interval from log-log limits.

    Times must be finite. An estimate or a limit that the curve never reaches is inf. (Brookmeyer and
    Crowley 1982)
    """
    times, events = np.asarray(time, float), np.asarray(event, bool)
    if times.size == 0:
        return Interval(math.nan, math.nan, math.nan)
    survival = ecdf(CensoredData.right_censored(times, ~events)).sf
    with warnings.catch_warnings():
        # Expected: the formula has no value where the curve is 0 or 1.
        warnings.filterwarnings("ignore", "The confidence interval is undefined", RuntimeWarning)
        limits = survival.confidence_interval(0.95, method="log-log")
    curve, at = survival.probabilities, survival.quantiles
    low = np.where(
        np.isnan(limits.low.probabilities),
        np.where(curve > SLACK, 1.0, 0.0),
        limits.low.probabilities,
    )
    high = np.nan_to_num(limits.high.probabilities, nan=1.0)
    return Interval(
        _first_below_half(at, curve), _first_below_half(at, low), _first_below_half(at, high)
    )


def _first_below_half(at: NDArray[np.floating], curve: NDArray[np.floating]) -> float:
    below = np.flatnonzero(curve <= 0.5 + SLACK)
    return float(at[below[0]]) if below.size else math.inf


def wilson(k: int, n: int, confidence: float = 0.95) -> Interval:
    """Share k/n with Wilson's score interval (Wilson 1927); all NaN for n = 0."""
    if n == 0:
        return Interval(math.nan, math.nan, math.nan)
    z, share = float(norm.ppf(0.5 + confidence / 2)), k / n
    scale = 1 / (1 + z**2 / n)
    centre = scale * (share + z**2 / (2 * n))
    half = scale * z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # At k = 0 and k = n the limit is 0 and 1 exactly; rounding would leave 1e-17.
    return Interval(share, centre - half if k else 0.0, centre + half if k < n else 1.0)


def median_interval(values: ArrayLike) -> Interval:
    """Median, and the narrowest pair of symmetric order statistics that covers it with a probability of at least 95 %.

    With fewer than six values even the smallest and the largest cover less, so there are no limits. NaNs are left out;
    inf counts as the largest value.
    """
    x = np.sort(np.asarray(values, float))
    x = x[~np.isnan(x)]
    n = len(x)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan)
    # P(the k-th smallest lies above the median) is P(fewer than k of n fall below it).
    k = int((binom.cdf(np.arange(n), n, 0.5) <= 0.025).sum())
    middle = float(x[n // 2]) if n % 2 else _between(float(x[n // 2 - 1]), float(x[n // 2]))
    return Interval(middle, float(x[k - 1]), float(x[n - k])) if k else _unlimited(middle)


def _between(low: float, high: float) -> float:
    return (low + high) / 2 if math.isfinite(high) or math.isfinite(low) else high


def _unlimited(estimate: float) -> Interval:
    return Interval(estimate, -math.inf, math.inf)


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float], n: int, size: int | None = None
) -> Interval:
    """A statistic of n runs, which gets their indices, and its 95 % percentile limits over 2,000 draws of runs.

    `size` runs are drawn with replacement (default: n). Every call uses the same random numbers.
    """
    random = np.random.default_rng(0)
    draws = [statistic(random.integers(n, size=size or n)) for _ in range(2000)]
    low, high = np.quantile(draws, [0.025, 0.975], method="inverted_cdf")
    return Interval(statistic(np.arange(n)), float(low), float(high))


def rank_correlation(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation over the pairs without NaN. All inf (times beyond the budget) share the last rank.

    NaN with fewer than three pairs, or if all values of one side are equal.
    """
    a, b = np.asarray(x, float), np.asarray(y, float)
    known = ~(np.isnan(a) | np.isnan(b))
    ranks = rankdata(a[known]), rankdata(b[known])
    if known.sum() < 3 or min(np.ptp(ranks[0]), np.ptp(ranks[1])) == 0:
        return math.nan
    return float(np.corrcoef(*ranks)[0, 1])


def median_time(outcome: FirstHit) -> Interval:
    """Kaplan-Meier median over all runs, those that diverged included.

    A hit counts at the upper end of its bracket, the first evaluation at the level.

    A diverged run can never reach the level, so it stays at risk until after the last hit. So the
    curve does not fall below the share of diverged runs (1 minus the curve is the cumulative
    incidence of hits), and a cell where most runs diverge has no finite median. A run that the stop
    rule ended below the level is neither a hit nor censored: one such run makes the median NaN,
    because the reason for the end of the observation depends on the time.
    """
    if (outcome.state == NOT_OBSERVED).any():
        return Interval(math.nan, math.nan, math.nan)
    time = np.where(outcome.hit, outcome.upper, np.maximum(outcome.lower, 0.0))
    end = np.max(time, initial=0.0, where=np.isfinite(time))
    return kaplan_meier_median(np.where(outcome.state == DIVERGED, end, time), outcome.hit)


def summarise(outcome: FirstHit, status: NDArray[np.str_]) -> TimeSummary:
    """Counts, median time and share of hits; the share is of all runs, undecided ones included."""
    count = {
        state: int((outcome.state == state).sum())
        for state in (HIT, CENSORED, DIVERGED, NOT_OBSERVED)
    }
    n = len(outcome.state)
    return TimeSummary(
        n=n,
        hits=count[HIT],
        censored=count[CENSORED],
        diverged=count[DIVERGED],
        not_observed=count[NOT_OBSERVED],
        undecided=int(
            ((outcome.state == CENSORED) & np.isin(status, ["waiting", "running"])).sum()
        ),
        median=median_time(outcome),
        share=wilson(count[HIT], n),
    )
