"""Judges of source 004: what is compared between its configurations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from analysis import readings
from analysis.slingshots import slingshots_of
from analysis.sources import estimates, verdicts
from analysis.sources.claims import (
    CONTRADICTED,
    HOLDS,
    NO_CLAIM,
    NOT_RUN,
    WEAKER,
    Finding,
    MissingError,
    Results,
)
from analysis.sources.estimates import Estimate, of_times, of_values, plain
from analysis.sources.parts import Part, at_hand
from analysis.sources.parts_004 import (
    ALPHAS,
    EPS,
    NONE,
    SCALES,
    SCALES_LR,
    Read,
    floor_time,
    fourier_time,
    generalises,
    mean_rises,
)
from analysis.statistics import Interval
from analysis.weights import final_weights, n_parameters

Judge = Callable[[Results], Finding]


def rows(results: Results) -> Finding:
    found = NONE.of(results)["n_train"].to_numpy().astype(int)
    sizes = ", ".join(f"{n:,} / {113**2 - n:,}" for n in sorted(set(found)))
    return Finding(f"n = {len(found)}, {sizes}", HOLDS if (found == 3831).all() else CONTRADICTED)


def parameters(part: Part, sizes: Sequence[int]) -> Judge:
    def judge(results: Results) -> Finding:
        weights = final_weights(part.of(results))
        if not weights:
            raise MissingError(f"{part.experiment} has no final weights yet")
        found = sorted({n_parameters(w) for w in weights})
        text = f"n = {len(weights)}, {', '.join(f'{n:,}' for n in found)}"
        return Finding(text, HOLDS if set(found) <= set(sizes) else CONTRADICTED)

    return judge


def median_time(part: Part, probe: str, level: float) -> Judge:
    """A negative level is one to fall to. The source gives the time of the mean curve, another quantity."""

    def judge(results: Results) -> Finding:
        runs = part.of(results)
        falls = level < 0
        outcome = (readings.first_below if falls else readings.first_above)(runs, probe, abs(level))
        return Finding(of_times(outcome, runs.attrs["budget"]).text, NO_CLAIM)

    return judge


def in_order(group: Sequence[Part], read: Read) -> Judge:
    """The medians rise, over those configurations that were run."""

    def judge(results: Results) -> Finding:
        found, left_out = at_hand(group, results, least=2)
        order = verdicts.order({name: read(runs) for name, runs in found.items()})
        return Finding(order.ours, order.verdict, f"{order.evidence} {left_out}".strip())

    return judge


def _bounds(e: Estimate, budget: float) -> np.ndarray:
    """Times with the budget for what lies beyond."""
    return np.where(np.isinf(e.known), budget, e.known)


def ratio(slow: xr.Dataset, fast: xr.Dataset) -> Estimate:
    """Of the medians to 0.995; runs beyond the budget count with it: late `slow` ones make the ratio a lower bound."""
    above = _bounds(generalises(slow), slow.attrs["budget"])
    below = _bounds(generalises(fast), fast.attrs["budget"])
    if not len(above) or not len(below):
        raise MissingError("no run of one of the configurations has ended yet")
    random, estimate = np.random.default_rng(0), float(np.median(above) / np.median(below))

    def draw() -> float:
        a, b = random.choice(above, len(above)), random.choice(below, len(below))
        return float(np.median(a) / np.median(b))

    text = f"n = {len(above)} and {len(below)}, {plain(estimate)}"
    if min(len(above), len(below)) < estimates.FEWEST:
        limits = Interval(estimate, -math.inf, math.inf)
        return Estimate(limits, np.empty(0), f"{text} (too few for limits)")
    low, high = np.quantile([draw() for _ in range(2000)], [0.025, 0.975])
    text += f" [{plain(low)}, {plain(high)}]"
    return Estimate(Interval(estimate, float(low), float(high)), np.empty(0), text)


def ratio_at_least(slow: Part, fast: Part, bound: float) -> Judge:
    return lambda r: verdicts.at_least(ratio(slow.of(r), fast.of(r)), bound)


def ratio_at_most(fast: Part, slow: Part, bound: float) -> Judge:
    return lambda r: verdicts.at_most(ratio(fast.of(r), slow.of(r)), bound)


def gain(slow: Part, fast: Part, published: float) -> Judge:
    """Share of time saved; the interval comes from the ratio of medians."""

    def judge(results: Results) -> Finding:
        found = ratio(fast.of(results), slow.of(results)).interval
        saved = Interval(1 - found.estimate, 1 - found.high, 1 - found.low)
        told = " to ".join(f"{100 * x:.0f} %" for x in (saved.low, saved.high))
        text = f"{100 * saved.estimate:.0f} %"
        text += f" (95 %: {told})" if math.isfinite(saved.low) else " (too few for limits)"
        inside = math.isfinite(saved.low) and saved.low <= published <= saved.high
        verdict = HOLDS if inside else WEAKER if saved.estimate > 0 else CONTRADICTED
        return Finding(text, verdict, "Medians of single seeds' times.")

    return judge


def pair(one: Part, other: Part) -> Judge:
    def judge(results: Results) -> Finding:
        texts = [f"{p.name}: {generalises(p.of(results)).text}" for p in (one, other)]
        return Finding("; ".join(texts), NO_CLAIM)

    return judge


def first(group: Sequence[Part]) -> Judge:
    """The first of the group is before each of the others."""

    def judge(results: Results) -> Finding:
        runs, left_out = at_hand(group, results, least=2)
        found = {name: generalises(one) for name, one in runs.items()}
        lead, *others = found
        if lead != group[0].name:
            raise MissingError(f"{group[0].experiment} has no run of {group[0].name}")
        each = [verdicts.order({lead: found[lead], name: found[name]}) for name in others]
        worst = max((f.verdict for f in each), key=(HOLDS, WEAKER, CONTRADICTED, NOT_RUN).index)
        text = ", ".join(f"{name} {e.show(e.interval.estimate)}" for name, e in found.items())
        return Finding(f"n = {min(e.n for e in found.values())} each: {text}", worst, left_out)

    return judge


def precedes(part: Part, before: bool) -> Judge:
    """Seed by seed: C_Fourier reaches 1 before (or after) test accuracy reaches 0.995."""

    def judge(results: Results) -> Finding:
        runs = part.of(results)
        return _sooner(fourier_time(runs), generalises(runs), before)

    return judge


def floor_after(part: Part, probe: str) -> Judge:
    def judge(results: Results) -> Finding:
        runs = part.of(results)
        return _sooner(floor_time(probe)(runs), generalises(runs), False)

    return judge


def _sooner(sign: Estimate, arrival: Estimate, before: bool) -> Finding:
    """A claim about the configuration: all runs for 'holds', half of them for 'weaker'."""
    a, b = sign.values, arrival.values
    known = ~(np.isnan(a) | np.isnan(b)) & (np.isfinite(a) | np.isfinite(b))
    right = int(((a < b) if before else (a > b))[known].sum())
    found = verdicts.mostly(right, int(known.sum()), 1.0, f"{'Before' if before else 'After'}")
    text = f"{sign.text}; generalisation {arrival.text}"
    return Finding(text, found.verdict, found.evidence + " Seed by seed.")


def stays(part: Part, probe: str, share: float) -> Judge:
    """Largest relative distance from the start, in every run."""

    def judge(results: Results) -> Finding:
        runs = part.of(results)
        far = [
            np.abs(value / value[0] - 1).max() if len(value) else np.nan
            for _, value in readings.each(runs, probe)
        ]
        return verdicts.every(of_values(far, estimates.percent, probe), 0, share)

    return judge


def rises_from(part: Part, probe: str, low: float, high: float) -> Judge:
    def judge(results: Results) -> Finding:
        runs = part.of(results)
        begin, last = (how(runs, probe) for how in (readings.start, readings.end))
        e = of_values(begin, what=probe)
        inside = (begin >= low) & (begin <= high) & (last > begin)
        found = verdicts.mostly(int(inside.sum()), e.n, 1.0, "In the range and rising")
        return Finding(f"{e.text}, ends at {of_values(last).text}", found.verdict, found.evidence)

    return judge


def mean_between(part: Part, low: float, high: float) -> Judge:
    return lambda r: verdicts.median(mean_rises("val_accuracy", 0.995)(part.of(r)), low, high)


def flips(results: Results) -> Finding:
    """Sign of the rank correlation of alpha with time, in both experiments."""
    rho, known = [], []
    for group in (SCALES, SCALES_LR):
        found, _ = at_hand(group, results, least=3)
        alphas = [a for a, part in zip(ALPHAS, group, strict=True) if part.name in found]
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


def ntk(part: Part, low: float, high: float) -> Judge:
    """Largest relative distance of each run over its snapshots; `low` equal to `high` is a single published number."""

    def judge(results: Results) -> Finding:
        e = _largest_ntk(part, results)
        return verdicts.number(e, low, True) if low == high else verdicts.median(e, low, high)

    return judge


def ntk_told(part: Part) -> Judge:
    return lambda results: verdicts.told(_largest_ntk(part, results))


def _largest_ntk(part: Part, results: Results) -> Estimate:
    distance = part.measured(results, "ntk")["distance"].transpose("run", "snapshot").to_numpy()
    known = np.where(np.isfinite(distance), distance, np.nan)
    known = known[np.isfinite(known).any(1)]
    return of_values(np.nanmax(known, axis=1) if len(known) else [], what="the NTK distance")


def trains_with_eps_0(results: Results) -> Finding:
    runs = results.runs("s004_eps0", optimizer__eps=0.0)
    fine = int((runs["status"].to_numpy() != "diverged").sum())
    return verdicts.mostly(fine, runs.sizes["run"], 1.0, "Runs that do not diverge")


def spikes(results: Results) -> Finding:
    """Shown for single runs there, hence told, not judged; with the control arm."""
    found, left_out = at_hand(EPS, results)
    counts = [
        f"{name}: {of_values([s.spikes for s in slingshots_of(runs)]).text}"
        for name, runs in found.items()
    ]
    return Finding(f"spikes a run: {'; '.join(counts)}", NO_CLAIM, left_out)


def correlation(measure: Read, group: Sequence[Part], arrived: bool = False) -> Judge:
    """Over the medians of all configurations that were run and measured; `arrived`: of those that generalise."""

    def judge(results: Results) -> Finding:
        pairs = {}
        for part in group:
            try:
                runs = part.of(results)
                time, other = generalises(runs), measure(runs)
            except MissingError:
                continue
            if math.isfinite(time.interval.estimate) or not arrived:
                pairs[part.name] = (time.interval.estimate, other.interval.estimate)
        return verdicts.correlated(pairs, 0.8)

    return judge
