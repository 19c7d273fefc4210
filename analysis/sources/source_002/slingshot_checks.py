"""Quantities and checks of slingshots (Thilak et al. 2022; appendix a of source 002): a transformer on division."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import xarray as xr

from analysis import readings
from analysis.slingshots import Slingshots, slingshots_of
from analysis.sources.core.claims import NO_CLAIM, Finding, MissingError, Results
from analysis.sources.core.estimates import Estimate, of_values
from analysis.sources.core.row import Row
from analysis.sources.core.verdicts import mostly, share_of
from analysis.statistics import Interval


def with_slingshot(row: Row, results: Results) -> Finding:
    """At least half of the runs have a slingshot."""
    by_run = slingshots_of(row.runs(results))
    finding = mostly(sum(s.count > 0 for s in by_run), len(by_run), 0.5, "Runs with a slingshot")
    return replace(finding, evidence=f"{finding.evidence} {_sums(by_run)}")


def with_slingshot_told(row: Row, results: Results) -> Finding:
    """The same without a verdict, because the question is ours."""
    return replace(with_slingshot(row, results), verdict=NO_CLAIM)


def without_slingshot(row: Row, results: Results) -> Finding:
    """No run has a slingshot. Only runs that memorise count, because before that there are none by definition."""
    every = slingshots_of(row.runs(results))
    memorised = [s for s in every if np.isfinite(s.memorised_at)]
    text = f"{_sums(every)} {len(memorised)} of {len(every)} runs reach training accuracy 1."
    if not memorised:
        return Finding(f"n = {len(every)}", NO_CLAIM, text)
    without = sum(s.count == 0 for s in memorised)
    finding = mostly(without, len(memorised), 1.0, "Runs without a slingshot")
    return replace(finding, evidence=f"{finding.evidence} {text}")


def _sums(by_run: Sequence[Slingshots]) -> str:
    return (
        f"In all: {sum(s.count for s in by_run)} slingshots of {sum(s.events for s in by_run)} events, "
        f"{sum(s.spikes for s in by_run)} spikes; by the second threshold {sum(s.jumps for s in by_run)}."
    )


Measure = Literal[
    "number", "step of the first", "height (decades)", "gain of the norm", "cycles of the norm"
]
_PICK: dict[Measure, Callable[[Slingshots], float]] = {
    "number": lambda s: s.count,
    "step of the first": lambda s: s.step[s.qualified][0] if s.count else np.nan,
    "height (decades)": lambda s: np.median(s.height[s.qualified]) if s.count else np.nan,
    "gain of the norm": lambda s: np.median(s.norm_gain[s.qualified]) if s.count else np.nan,
    "cycles of the norm": lambda s: s.cycles,
}  # fmt: skip


def slingshots(runs: xr.Dataset, which: Measure) -> Estimate:
    """A number about the slingshots of each run: how many, step of the first, median height, median gain, or cycles."""
    values = np.array([float(_PICK[which](s)) for s in slingshots_of(runs)])
    if np.isfinite(values).any():
        return of_values(values)
    unknown = Interval(math.nan, math.nan, math.nan)
    return Estimate(unknown, values, f"n = {len(values)}, –", note="No slingshot in any run.")


def features_change(row: Row, results: Results) -> Finding:
    """Median change of features at slingshots, divided by that at the other records after memorisation."""
    runs = row.runs(results)
    each = zip(slingshots_of(runs), readings.each(runs, "feature_change"), strict=True)
    ratios = np.array([_change_ratio(shots, time, change) for shots, (time, change) in each])
    known = ratios[np.isfinite(ratios)]
    if not len(known):
        raise MissingError("no run has a slingshot and a measured change of features")
    return share_of(ratios, known > 1, 1.0, "Runs where it is larger at slingshots")


def _change_ratio(shots: Slingshots, time: np.ndarray, change: np.ndarray) -> float:
    after = time > shots.memorised_at
    here = np.isin(time, shots.step[shots.qualified])
    if not here.any() or not (after & ~here).any():
        return np.nan
    return float(np.median(change[here]) / np.median(change[after & ~here]))
