"""Quantities and checks of source 004 only: comparisons between its configurations, and the NTK."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from typing import Literal

import numpy as np
import xarray as xr

from analysis import readings
from analysis.slingshots import slingshots_of
from analysis.sources.core import estimates, verdicts
from analysis.sources.core.checks import Check
from analysis.sources.core.claims import (
    CONTRADICTED,
    HOLDS,
    NO_CLAIM,
    NOT_RUN,
    WEAKER,
    Finding,
    MissingError,
    Results,
)
from analysis.sources.core.configuration import at_hand
from analysis.sources.core.estimates import Estimate, of_values, plain
from analysis.sources.core.quantities import by_name, reaches
from analysis.sources.core.row import Row
from analysis.statistics import Interval


def generalises(runs: xr.Dataset) -> Estimate:
    """Time to test accuracy 0.995 of each run."""
    return reaches(runs, "val_accuracy", 0.995)


def ratio(runs: Mapping[str, xr.Dataset]) -> Estimate:
    """Median time to 0.995 of the first configuration of the group, divided by that of the second.

    Runs beyond the budget count with the budget. If there are such runs in the first, the ratio is a lower bound.
    """
    above, below = (_bounds(generalises(one), readings.budgets(one)) for one in runs.values())
    if not len(above) or not len(below):
        raise MissingError("no run of one of the configurations has ended yet")
    estimate = float(np.median(above) / np.median(below))
    text = f"n = {len(above)} and {len(below)}, {plain(estimate)}"
    if min(len(above), len(below)) < estimates.FEWEST:
        limits = Interval(estimate, -math.inf, math.inf)
        return Estimate(limits, np.empty(0), f"{text} (too few for limits)")
    low, high = _limits_of_ratio(above, below)
    text += f" [{plain(low)}, {plain(high)}]"
    return Estimate(Interval(estimate, low, high), np.empty(0), text)


def _bounds(e: Estimate, budgets: np.ndarray) -> np.ndarray:
    """Times; of those beyond the budget their run's budget."""
    known = ~np.isnan(e.values)
    return np.where(np.isinf(e.values), budgets, e.values)[known]


def _limits_of_ratio(above: np.ndarray, below: np.ndarray) -> tuple[float, float]:
    """95 % limits of the ratio of medians, from 2,000 draws of runs."""
    random = np.random.default_rng(0)

    def draw() -> float:
        a, b = random.choice(above, len(above)), random.choice(below, len(below))
        return float(np.median(a) / np.median(b))

    low, high = np.quantile([draw() for _ in range(2000)], [0.025, 0.975])
    return float(low), float(high)


def gain(row: Row, results: Results) -> Finding:
    """Share of the time that the second configuration of the group saves. The interval is from the ratio of medians."""
    slow, fast = (one.of(results) for one in row.configurations)
    needed = ratio({"fast": fast, "slow": slow}).interval
    saved = Interval(1 - needed.estimate, 1 - needed.high, 1 - needed.low)
    told = " to ".join(f"{100 * x:.0f} %" for x in (saved.low, saved.high))
    text = f"{100 * saved.estimate:.0f} %"
    text += f" (95 %: {told})" if math.isfinite(saved.low) else " (too few for limits)"
    inside = math.isfinite(saved.low) and saved.low <= row.published <= saved.high
    verdict = HOLDS if inside else WEAKER if saved.estimate > 0 else CONTRADICTED
    return Finding(text, verdict, "Medians of single seeds' times.")


def first(row: Row, results: Results) -> Finding:
    """The median of the first configuration of the group is below that of each of the others."""
    ours, left_out = row.estimates(results)
    lead, *others = ours
    if lead != row.configuration.name:
        raise MissingError(f"{row.configuration.experiment} has no run of {row.configuration.name}")
    each = [verdicts.order({lead: ours[lead], name: ours[name]}) for name in others]
    worst = max((f.verdict for f in each), key=(HOLDS, WEAKER, CONTRADICTED, NOT_RUN).index)
    text = ", ".join(f"{name} {e.show(e.interval.estimate)}" for name, e in ours.items())
    return Finding(f"n = {min(e.n for e in ours.values())} each: {text}", worst, left_out)


def generalisation(row: Row, results: Results, when: Literal["before", "after"]) -> Finding:
    """In each run, the time that the row reads is before (or after) that of test accuracy 0.995.

    The claim is about the configuration: all runs are needed for 'holds', half of them for 'weaker'.
    """
    runs = row.runs(results)
    sign, arrival = row.read(runs), generalises(runs)
    a, b = sign.values, arrival.values
    known = ~(np.isnan(a) | np.isnan(b)) & (np.isfinite(a) | np.isfinite(b))
    right = int(((a < b) if when == "before" else (a > b))[known].sum())
    finding = verdicts.mostly(right, int(known.sum()), 1.0, when.capitalize())
    text = f"{sign.text}; generalisation {arrival.text}"
    return Finding(text, finding.verdict, finding.evidence + " Seed by seed.")


def strays(runs: xr.Dataset, probe: str) -> Estimate:
    """Largest relative distance from the value at the start, for each run."""
    far = [
        np.abs(value / value[0] - 1).max() if len(value) else np.nan
        for _, value in readings.each(runs, probe)
    ]
    return of_values(far, estimates.percent, probe)


def rises(row: Row, results: Results, probe: str) -> Finding:
    """Every run starts in the range and ends higher than it started."""
    runs = row.runs(results)
    begin, last = (how(runs, probe) for how in (readings.start, readings.end))
    e, (low, high) = of_values(begin, what=probe), row.within
    inside = (begin >= low) & (begin <= high) & (last > begin)
    finding = verdicts.mostly(int(inside.sum()), e.n, 1.0, "In the range and rising")
    return replace(finding, ours=f"{e.text}, ends at {of_values(last).text}")


def flips(row: Row, results: Results) -> Finding:
    """The rank correlation of alpha with time is negative in the first experiment and positive in the second."""
    rho, known = [], []
    for _, group in groupby(row.configurations, key=lambda one: one.experiment):
        members = list(group)
        datasets, _ = at_hand(members, results, least=3)
        alphas = [one.where[0][1] for one in members if one.name in datasets]
        medians = [generalises(runs).interval.estimate for runs in datasets.values()]
        rho.append(verdicts.rank_correlation(alphas, medians))
        known.append(len(alphas))
    text = (
        f"rho = {rho[0]:.2f} (fixed, n = {known[0]} values of alpha), "
        f"{rho[1]:.2f} (lr/alpha², n = {known[1]})"
    )
    if any(math.isnan(x) for x in rho):
        return Finding(text, NOT_RUN, "Fewer than two different medians in one of them.")
    verdict = HOLDS if rho[0] < 0 < rho[1] else CONTRADICTED
    return Finding(text, verdict, "Rank correlation of alpha with the median time.")


def largest_distance(measured: xr.Dataset) -> Estimate:
    """Largest relative distance of the NTK over the snapshots of each run."""
    distance = measured["distance"].transpose("run", "snapshot").to_numpy()
    known = np.where(np.isfinite(distance), distance, np.nan)
    known = known[np.isfinite(known).any(1)]
    return of_values(np.nanmax(known, axis=1) if len(known) else [], what="the NTK distance")


def trains(row: Row, results: Results) -> Finding:
    """No run diverges."""
    runs = row.runs(results)
    fine = int((runs["status"].to_numpy() != "diverged").sum())
    return verdicts.mostly(fine, runs.sizes["run"], 1.0, "Runs that do not diverge")


def spikes(row: Row, results: Results) -> Finding:
    """Number of spikes, also of the control arm. Without a verdict, because the source shows single runs."""
    datasets, left_out = at_hand(row.configurations, results)
    counts = [
        f"{name}: {of_values([s.spikes for s in slingshots_of(runs)]).text}"
        for name, runs in datasets.items()
    ]
    return Finding(f"spikes a run: {'; '.join(counts)}", NO_CLAIM, left_out)


def correlated(row: Row, results: Results, which: Literal["all", "arrived"]) -> Finding:
    """Rank correlation over the medians of all configurations that were run and measured; `arrived`: only of those that
    generalise."""
    pairs = {}
    for one in row.configurations:
        try:
            runs = one.of(results)
            time, other = generalises(runs).interval.estimate, row.read(runs).interval.estimate
        except MissingError:
            continue
        if math.isfinite(time) or which == "all":
            pairs[one.name] = (time, other)
    return verdicts.correlated(pairs, row.published)


QUANTITIES = by_name(ratio, strays, largest_distance)
CHECKS = {
    "gain": Check(gain, ("group", "published")),
    "first": Check(first, ("group", "read")),
    "generalisation": Check(generalisation, ("read",)),
    "rises": Check(rises, ("within",)),
    "flips": Check(flips, ("group",)),
    "trains": Check(trains),
    "spikes": Check(spikes, ("group",)),
    "correlated": Check(correlated, ("group", "read", "published"), "{published} or more"),
}
