"""Two experiments, cell by cell: difference of median times with its interval, and the log-rank test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import CensoredData, logrank

from analysis.cells import cells_of, describe
from analysis.combining import EXPERIMENT
from analysis.outcomes import DIVERGED, NOT_OBSERVED, FirstHit
from analysis.statistics import SLACK, Interval, median_time
from analysis.study import Study

FEWEST = 4
"""Runs that both experiments must have in a cell to be compared there."""
DRAWS = 2000


@dataclass(frozen=True)
class SharedCell:
    """A cell that both experiments have. `difference`: second minus first; None, like the p values, where it is not
    compared: too few runs, times that are not observed, or a median beyond the budget."""

    label: str
    n: tuple[int, int]
    medians: tuple[Interval, Interval]
    difference: Interval | None
    p: float | None
    adjusted: float | None = None


def shared_cells(study: Study, names: tuple[str, str]) -> list[SharedCell]:
    """All cells of the combined study in which both experiments have runs."""
    axes = tuple(axis for axis in study.axes if axis.name != EXPERIMENT)
    who = study.dataset[EXPERIMENT].to_numpy()
    cells = []
    for cell in cells_of(axes, study.everyone):
        first, second = (cell.runs[who[cell.runs] == name] for name in names)
        if len(first) and len(second):
            outcomes = study.reached.of(first), study.reached.of(second)
            cells.append(_compared(describe(axes, cell.index) or "all runs", *outcomes))
    return adjusted(cells)


def _compared(label: str, first: FirstHit, second: FirstHit) -> SharedCell:
    n = len(first.state), len(second.state)
    medians = median_time(first), median_time(second)
    unseen = any((outcome.state == NOT_OBSERVED).any() for outcome in (first, second))
    if min(n) < FEWEST or unseen:
        return SharedCell(label, n, medians, None, None)
    times = survival_times(first), survival_times(second)
    finite = all(math.isfinite(median.estimate) for median in medians)
    return SharedCell(label, n, medians, _difference(*times) if finite else None, _log_rank(*times))


Times = tuple[NDArray[np.float64], NDArray[np.bool_]]


def survival_times(outcome: FirstHit) -> Times:
    """(times, hits) as the Kaplan-Meier median takes them: diverged runs stay at risk to the end."""
    time = np.where(outcome.hit, outcome.upper, np.maximum(outcome.lower, 0.0))
    end = np.max(time, initial=0.0, where=np.isfinite(time))
    return np.where(outcome.state == DIVERGED, end, time), outcome.hit


def _log_rank(first: Times, second: Times) -> float | None:
    """Two-sided p; None where nobody arrived."""
    if not (first[1].any() or second[1].any()):
        return None
    samples = [CensoredData.right_censored(time, ~hit) for time, hit in (first, second)]
    p = float(logrank(samples[0], samples[1]).pvalue)
    return None if math.isnan(p) else p


def _difference(first: Times, second: Times) -> Interval | None:
    """Second median minus first, with 95 % percentile limits over draws of runs.

    A draw whose median is beyond the budget gives inf or -inf; with more than a few draws in which both are, there are
    no limits.
    """
    random = np.random.default_rng(0)
    draws = [
        quick_median(*_drawn(second, random)) - quick_median(*_drawn(first, random))
        for _ in range(DRAWS)
    ]
    known = np.array([draw for draw in draws if not math.isnan(draw)])
    estimate = quick_median(*second) - quick_median(*first)
    if len(known) < 0.975 * DRAWS:
        return Interval(estimate, -math.inf, math.inf)
    low, high = np.quantile(known, [0.025, 0.975], method="inverted_cdf")
    return Interval(estimate, float(low), float(high))


def _drawn(times: Times, random: np.random.Generator) -> Times:
    chosen = random.integers(len(times[0]), size=len(times[0]))
    return times[0][chosen], times[1][chosen]


def quick_median(time: NDArray[np.float64], hit: NDArray[np.bool_]) -> float:
    """The Kaplan-Meier median, inf where there is none, in a hundredth of the time that its interval takes."""
    order = np.lexsort(
        (~hit, time)
    )  # of equal times hits come first: the others are still at risk then
    left = np.arange(len(time), 0, -1)
    survival = np.cumprod(1 - hit[order] / left)
    below = np.flatnonzero(survival <= 0.5 + SLACK)
    return float(time[order][below[0]]) if len(below) else math.inf


def adjusted(cells: Sequence[SharedCell]) -> list[SharedCell]:
    """The same with p values adjusted for the number of cells that were tested (Holm 1979)."""
    tested = sorted((cell.p, i) for i, cell in enumerate(cells) if cell.p is not None)
    found: dict[int, float] = {}
    highest = 0.0
    for rank, (p, i) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * p))
        found[i] = highest
    return [
        SharedCell(c.label, c.n, c.medians, c.difference, c.p, found.get(i))
        for i, c in enumerate(cells)
    ]


def as_rows(cells: Sequence[SharedCell], names: tuple[str, str]) -> list[dict[str, Any]]:
    """A row for each cell, for comparison.csv."""
    rows = []
    for cell in cells:
        row: dict[str, Any] = {"cell": cell.label}
        for name, n, median in zip(names, cell.n, cell.medians, strict=True):
            row |= {f"n_{name}": n, f"median_{name}": median.estimate}
            row |= {f"median_low_{name}": median.low, f"median_high_{name}": median.high}
        difference = cell.difference or Interval(math.nan, math.nan, math.nan)
        row |= {"difference": difference.estimate, "low": difference.low, "high": difference.high}
        none = math.nan
        rows.append(row | {"p": none if cell.p is None else cell.p,
                           "p_adjusted": none if cell.adjusted is None else cell.adjusted})  # fmt: skip
    return rows
