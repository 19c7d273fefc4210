"""What only source 004 asks for: what it compares between its configurations, and the NTK."""

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
    """Time to test accuracy 0.995, seed by seed."""
    return reaches(runs, "val_accuracy", 0.995)


def ratio(runs: Mapping[str, xr.Dataset]) -> Estimate:
    """Of the medians to 0.995, the first of the group over the second.

    Runs beyond the budget count with it: late ones of the first make the ratio a lower bound.
    """
    above, below = (_bounds(generalises(one), one.attrs["budget"]) for one in runs.values())
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


def _bounds(e: Estimate, budget: float) -> np.ndarray:
    """Times with the budget for what lies beyond."""
    return np.where(np.isinf(e.known), budget, e.known)


def _limits_of_ratio(above: np.ndarray, below: np.ndarray) -> tuple[float, float]:
    """95 % limits of the ratio of medians, from 2,000 draws of runs."""
    random = np.random.default_rng(0)

    def draw() -> float:
        a, b = random.choice(above, len(above)), random.choice(below, len(below))
        return float(np.median(a) / np.median(b))

    low, high = np.quantile([draw() for _ in range(2000)], [0.025, 0.975])
    return float(low), float(high)


def gain(row: Row, results: Results) -> Finding:
    """Share of time that the second of the group saves; the interval comes from the ratio of medians."""
    slow, fast = (one.of(results) for one in row.configurations)
    found = ratio({"fast": fast, "slow": slow}).interval
    saved = Interval(1 - found.estimate, 1 - found.high, 1 - found.low)
    told = " to ".join(f"{100 * x:.0f} %" for x in (saved.low, saved.high))
    text = f"{100 * saved.estimate:.0f} %"
    text += f" (95 %: {told})" if math.isfinite(saved.low) else " (too few for limits)"
    inside = math.isfinite(saved.low) and saved.low <= row.published <= saved.high
    verdict = HOLDS if inside else WEAKER if saved.estimate > 0 else CONTRADICTED
    return Finding(text, verdict, "Medians of single seeds' times.")


def first(row: Row, results: Results) -> Finding:
    """The first of the group is before each of the others."""
    found, left_out = row.estimates(results)
    lead, *others = found
    if lead != row.configuration.name:
        raise MissingError(f"{row.configuration.experiment} has no run of {row.configuration.name}")
    each = [verdicts.order({lead: found[lead], name: found[name]}) for name in others]
    worst = max((f.verdict for f in each), key=(HOLDS, WEAKER, CONTRADICTED, NOT_RUN).index)
    text = ", ".join(f"{name} {e.show(e.interval.estimate)}" for name, e in found.items())
    return Finding(f"n = {min(e.n for e in found.values())} each: {text}", worst, left_out)


def generalisation(row: Row, results: Results, when: Literal["before", "after"]) -> Finding:
    """Seed by seed, what was read comes before (or after) test accuracy 0.995.

    A claim about the configuration: all runs for 'holds', half of them for 'weaker'.
    """
    runs = row.runs(results)
    sign, arrival = row.read(runs), generalises(runs)
    a, b = sign.values, arrival.values
    known = ~(np.isnan(a) | np.isnan(b)) & (np.isfinite(a) | np.isfinite(b))
    right = int(((a < b) if when == "before" else (a > b))[known].sum())
    found = verdicts.mostly(right, int(known.sum()), 1.0, when.capitalize())
    text = f"{sign.text}; generalisation {arrival.text}"
    return Finding(text, found.verdict, found.evidence + " Seed by seed.")


def strays(runs: xr.Dataset, probe: str) -> Estimate:
    """Largest relative distance from the start, in every run."""
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
    found = verdicts.mostly(int(inside.sum()), e.n, 1.0, "In the range and rising")
    return replace(found, ours=f"{e.text}, ends at {of_values(last).text}")


def flips(row: Row, results: Results) -> Finding:
    """Sign of the rank correlation of alpha with time, in both experiments."""
    rho, known = [], []
    for _, group in groupby(row.configurations, key=lambda one: one.experiment):
        members = list(group)
        found, _ = at_hand(members, results, least=3)
        alphas = [one.where[0][1] for one in members if one.name in found]
        medians = [generalises(runs).interval.estimate for runs in found.values()]
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
    """Largest relative distance of the NTK of each run over its snapshots."""
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
    """Shown for single runs there, hence told, not judged; with the control arm."""
    found, left_out = at_hand(row.configurations, results)
    counts = [
        f"{name}: {of_values([s.spikes for s in slingshots_of(runs)]).text}"
        for name, runs in found.items()
    ]
    return Finding(f"spikes a run: {'; '.join(counts)}", NO_CLAIM, left_out)


def correlated(row: Row, results: Results, which: Literal["all", "arrived"]) -> Finding:
    """Over the medians of all configurations that were run and measured; `arrived`: of those that generalise."""
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
