"""Quantities and checks of source 002 only: on its saved weights, its intervention, slingshots and sparse parity."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import xarray as xr

from analysis import readings
from analysis.measured import at_the_end
from analysis.slingshots import Slingshots, slingshots_of
from analysis.sources.core.checks import Check
from analysis.sources.core.claims import (
    CONTRADICTED,
    HOLDS,
    NO_CLAIM,
    WEAKER,
    Finding,
    MissingError,
    Results,
)
from analysis.sources.core.estimates import (
    Estimate,
    Format,
    of_values,
    percent,
    percent_exactly,
    plain,
)
from analysis.sources.core.quantities import by_name, weights
from analysis.sources.core.row import Row
from analysis.sources.core.verdicts import mostly, told
from analysis.statistics import Interval, bootstrap
from analysis.weights import share_below as share_below_threshold

DOMINANT = 2.0
"""A frequency is dominant if its share is larger than this many times the flat share. The source has no definition."""
Stage = Literal["early", "plateau", "grokking", "afterwards"]
MEMORISED = 0.98
"""Train accuracy at which a run on sparse parity counts as memorised."""
NEAR = 20.0
"""Number of epochs before and after the jump of the test accuracy of a run on sparse parity."""

# -- the MLP's weights -------------------------------------------------------------------------------------------------


def parameters_by_share(row: Row, results: Results) -> Finding:
    """The number of parameters, from the number of active weights and their share, which both count all parameters."""
    runs = row.runs(results)
    active, share = (readings.start(runs, p) for p in ("active_weights", "sparsity"))
    sizes = sorted({round(n) for n in active / (1 - share) if np.isfinite(n)})
    if not sizes:
        raise MissingError("the number of active weights was not measured")
    text = f"n = {runs.sizes['run']}, {', '.join(f'{n:,}' for n in sizes)}"
    return Finding(text, HOLDS if sizes == [row.published] else CONTRADICTED)


def slowest_at(row: Row, results: Results, time: float) -> Finding:
    """The smallest validation accuracy of five runs. Limits: five of our runs, drawn at random."""
    values = readings.value_at(row.runs(results), "val_accuracy", time)
    known = values[np.isfinite(values)]
    if not len(known):
        raise MissingError(f"no run has been followed to epoch {time:g}")
    limits = bootstrap(lambda runs: float(known[runs].min()), len(known), 5)
    text = f"n = {len(known)}, smallest {percent(known.min())}; of five, 95 %: "
    text += f"{percent(limits.low)} to {percent(limits.high)}"
    inside = limits.low * 0.95 <= row.published <= limits.high * 1.05
    return Finding(text, HOLDS if inside else WEAKER, "Limits: five of our runs, drawn anew.")


def lost_by_pruning(measured: xr.Dataset, side: Literal["train", "val"]) -> Estimate:
    """Accuracy at the smallest threshold, where almost nothing is pruned, minus that at 0.01."""
    last = at_the_end(measured)
    threshold = last["threshold"].to_numpy()
    if not np.isclose(threshold, 0.01).any():
        raise MissingError("pruning was not measured at 0.01")
    accuracy = last[f"{side}_accuracy"].transpose("run", "threshold").to_numpy()
    lost = accuracy[:, threshold.argmin()] - accuracy[:, np.isclose(threshold, 0.01).argmax()]
    return of_values(lost, percent_exactly)


def share_below(runs: xr.Dataset, tensor: str, show: Format = plain) -> Estimate:
    """Share of a tensor's weights below 0.01."""
    return of_values([share_below_threshold(w[tensor], 0.01) for w in weights(runs)], show)


def share_fed_by(
    runs: xr.Dataset, tokens: Literal["signs", "numbers"], show: Format = plain
) -> Estimate:
    """Share of small weights in the rows of linear 1 for some tokens of 'a + b =': 1 and 3 are numbers, 2 and 4 are
    signs, which are constant."""
    places = [1, 3] if tokens == "signs" else [0, 2]
    first = [w["W_0"].reshape(4, -1, w["W_0"].shape[-1])[places] for w in weights(runs)]
    return of_values([share_below_threshold(w, 0.01) for w in first], show)


def norm_of_numbers(runs: xr.Dataset) -> Estimate:
    """Mean length of the embedding's rows for numbers."""
    return of_values([np.linalg.norm(w["W_E"][:97], axis=1).mean() for w in weights(runs)])


def norm_of_signs(runs: xr.Dataset, which: Literal["smaller", "larger"]) -> Estimate:
    """Length of the embedding's row for '+' or for '=': the smaller or the larger one."""
    pick = min if which == "smaller" else max
    return of_values([float(pick(np.linalg.norm(w["W_E"][97:99], axis=1))) for w in weights(runs)])


def dominant_frequencies(measured: xr.Dataset) -> Estimate:
    """How many frequencies have more than twice the flat share of the embedding's energy."""
    share = at_the_end(measured)["energy_share"].transpose("run", "frequency").to_numpy()
    counts = (share > DOMINANT / share.shape[1]).sum(1).astype(float)
    return of_values(np.where(np.isfinite(share).all(1), counts, np.nan))


def spread_of_radius(measured: xr.Dataset) -> Estimate:
    """Standard deviation of the numbers' distance from 0 in the PCA, divided by its mean; 0.52 for normal points."""
    points = at_the_end(measured)["embedding"]
    numbers = points.transpose("run", "token", "component").to_numpy()[:, :97]
    radius = np.linalg.norm(numbers, axis=2)
    return of_values(radius.std(1) / radius.mean(1))


# -- the author's list of things to do ---------------------------------------------------------------------------------


def cycles(row: Row, results: Results) -> Finding:
    """Number of rises of the output's norm that are followed by a rest."""
    by_run = slingshots_of(row.runs(results))
    cyclic, shots = sum(s.cycles >= 2 for s in by_run), sum(s.count for s in by_run)
    sentence = (
        f"Cyclic (two or more) in {cyclic} of {len(by_run)} runs; slingshots in all: {shots}."
    )
    return told(of_values([s.cycles for s in by_run]), sentence)


def earlier(row: Row, results: Results) -> Finding:
    """Time divided by that of the control arm, for each seed. A run beyond the budget counts with its budget, and the
    evidence says how many there are."""
    arm = row.runs(results)
    control = results.runs(row.configuration.experiment, intervention__armed=False)
    ratios, late = _paired(_times(arm), _times(control))
    e = of_values(ratios, what="time of arm and control")
    where_to = f"Later in {sum(r > 1 for r in ratios)} of {len(ratios)} pairs of seeds"
    if not np.isfinite(e.interval.low):
        return Finding(e.text, NO_CLAIM, f"{where_to}, which are too few for a verdict.")
    verdict = HOLDS if e.interval.high < 1 else CONTRADICTED if e.interval.low > 1 else WEAKER
    return Finding(e.text, verdict, f"{where_to}; beyond the budget: {late} runs.")


def _times(runs: xr.Dataset) -> dict[int, tuple[float, bool]]:
    """Seed -> (epochs to 99 % validation accuracy or to the last evaluation, whether it arrived)."""
    outcome = readings.first_above(runs, "val_accuracy", 0.99)
    time = np.where(outcome.hit, outcome.upper, outcome.lower)
    seeds = runs["seed"].to_numpy().astype(int)
    return {int(s): (float(t), bool(h)) for s, t, h in zip(seeds, time, outcome.hit, strict=True)}


def _paired(arm: dict, control: dict) -> tuple[list[float], int]:
    both = [(arm[seed], control[seed]) for seed in arm if seed in control]
    late = sum((not a[1]) + (not c[1]) for a, c in both)
    # If both are late, their ratio is not known.
    return [a[0] / c[0] if a[1] or c[1] else math.nan for a, c in both], late


def speed(runs: xr.Dataset, stage: Stage) -> Estimate:
    """Median relative speed in a stage: until 99 % train accuracy, until 90 % and 99 % val accuracy, or afterwards."""
    memorised = readings.first_above(runs, "train_accuracy", 0.99).time
    rises, done = (readings.first_above(runs, "val_accuracy", x).time for x in (0.9, 0.99))
    edges = [np.zeros_like(done), memorised, rises, done, np.full_like(done, np.inf)]
    at = get_args(Stage).index(stage)
    low, high = edges[at], edges[at + 1]
    each = zip(readings.each(runs, "relative_speed"), low, high, strict=True)
    inside = [value[(time > a) & (time <= b)] for (time, value), a, b in each]
    values = [np.median(value) if len(value) else np.nan for value in inside]
    return of_values(values, what="relative_speed")


# -- slingshots (Thilak et al. 2022; appendix a): a transformer on division --------------------------------------------


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
    return _share_of(ratios, known > 1, 1.0, "Runs where it is larger at slingshots")


def _change_ratio(shots: Slingshots, time: np.ndarray, change: np.ndarray) -> float:
    after = time > shots.memorised_at
    here = np.isin(time, shots.step[shots.qualified])
    if not here.any() or not (after & ~here).any():
        return np.nan
    return float(np.median(change[here]) / np.median(change[after & ~here]))


def _share_of(values: np.ndarray, right: np.ndarray, share: float, what: str) -> Finding:
    """A finding with all values. The verdict depends on the share of `right` ones."""
    finding = mostly(int(right.sum()), len(right), share, what)
    return replace(finding, ours=of_values(values).text)


# -- sparse parity (Merrill, Tsilivis & Shukla 2023; appendix b): a dense network turns into a sparse one --------------


def when_memorised(runs: xr.Dataset, show: Format = plain) -> Estimate:
    """Test accuracy when the training rows are memorised."""
    when = readings.first_above(runs, "train_accuracy", MEMORISED).time
    values = [
        float(value[np.searchsorted(time, t)]) if np.isfinite(t) else np.nan
        for (time, value), t in zip(readings.each(runs, "val_accuracy"), when, strict=True)
    ]
    return of_values(values, show, "accuracy at memorisation")


def final_size(row: Row, results: Results) -> Finding:
    """At most ten neurons are enough in at least 80 % of the runs."""
    sizes = _last(_sizes(row, results)[2])
    return _share_of(sizes, sizes <= 10, 0.8, "At most 10 neurons")


def size_falls(row: Row, results: Results, level: float) -> Finding:
    """The effective size falls tenfold near the epoch at which the test accuracy reaches a level."""
    runs, epochs, size = _sizes(row, results)
    return judge_fall(readings.first_above(runs, "val_accuracy", level).time, epochs, size)


def judge_fall(jump: np.ndarray, epochs: np.ndarray, size: np.ndarray) -> Finding:
    """Largest fall (a size divided by a later one) between 20 epochs before the jump and 20 after it."""
    ratios = np.full(len(jump), np.nan)
    for run, (epoch, row) in enumerate(zip(epochs, size, strict=True)):
        near = np.isfinite(row) & (np.abs(epoch - jump[run]) <= NEAR)
        if near.any():
            ratios[run] = (np.maximum.accumulate(row[near]) / row[near]).max()
    known = ratios[np.isfinite(ratios)]
    if not len(known):
        raise MissingError("no weights were saved near a jump of the test accuracy")
    return _share_of(ratios, known >= 10, 1.0, "Tenfold within 20 epochs")


def norm(
    row: Row,
    results: Results,
    part: Literal["generalising", "complement"],
    direction: Literal["rises", "falls"],
) -> Finding:
    """Norm of a part of the network at the end, divided by that at the first saved weights after memorisation."""
    measured = row.configuration.measured(results, "subnetworks").sel(part=part)
    norms = measured["norm"].transpose("run", "snapshot").to_numpy()
    if norms.shape[1] < 2:
        raise MissingError("subnetworks were measured at the end only")
    runs, epochs = _runs_of(measured, row, results)
    when = readings.first_above(runs, "train_accuracy", MEMORISED).time
    then = [
        own[np.argmax(e >= t)] if (e >= t).any() else np.nan
        for own, e, t in zip(norms, epochs, when, strict=True)
    ]
    ratios = _last(norms) / np.array(then)
    right = ((ratios > 1) == (direction == "rises"))[np.isfinite(ratios)]
    return _share_of(ratios, right, 1.0, f"It {direction}")


def _sizes(row: Row, results: Results) -> tuple[xr.Dataset, np.ndarray, np.ndarray]:
    """Runs, epochs (run, snapshot) of the weights, and the fewest neurons with the same train accuracy."""
    measured = row.configuration.measured(results, "effective_sparsity")
    size = measured["neurons_same_accuracy"].transpose("run", "snapshot").to_numpy()
    return *_runs_of(measured, row, results), size


def _runs_of(measured: xr.Dataset, row: Row, results: Results) -> tuple[xr.Dataset, np.ndarray]:
    """Histories of the measured runs, in their order, and the epochs (run, snapshot) of the weights."""
    runs = row.runs(results)
    ids = list(runs["id"].to_numpy())
    runs = runs.isel(run=[ids.index(name) for name in measured["id"].to_numpy()])
    return runs, measured["step"].to_numpy() / runs["steps_per_epoch"].to_numpy()[:, None]


def _last(values: np.ndarray) -> np.ndarray:
    """(run,) the last finite value."""
    known = [row[np.isfinite(row)] for row in values]
    return np.array([row[-1] if len(row) else np.nan for row in known])


QUANTITIES = by_name(
    *(lost_by_pruning, share_below, share_fed_by, norm_of_numbers, norm_of_signs),
    *(dominant_frequencies, spread_of_radius, speed, slingshots, when_memorised),
)
CHECKS = {
    "parameters_by_share": Check(parameters_by_share, ("published",)),
    "slowest_at": Check(slowest_at, ("published",)),
    "cycles": Check(cycles),
    "earlier": Check(earlier),
    "with_slingshot": Check(with_slingshot),
    "with_slingshot_told": Check(with_slingshot_told),
    "without_slingshot": Check(without_slingshot),
    "features_change": Check(features_change),
    "final_size": Check(final_size),
    "size_falls": Check(size_falls),
    "norm": Check(norm),
}
