"""What only source 002 asks for: its saved weights, its intervention, slingshots and sparse parity."""

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
"""A frequency dominates from this many times the flat share on; the source gives no definition."""
Stage = Literal["early", "plateau", "grokking", "afterwards"]
MEMORISED = 0.98
"""Train accuracy of a sparse parity that counts as memorised."""
NEAR = 20.0
"""Epochs around the jump of a sparse parity."""

# -- the MLP's weights -------------------------------------------------------------------------------------------------


def parameters_by_share(row: Row, results: Results) -> Finding:
    """From the number of active weights and their share, which both count all parameters."""
    runs = row.runs(results)
    active, share = (readings.start(runs, p) for p in ("active_weights", "sparsity"))
    sizes = sorted({round(n) for n in active / (1 - share) if np.isfinite(n)})
    if not sizes:
        raise MissingError("the number of active weights was not measured")
    text = f"n = {runs.sizes['run']}, {', '.join(f'{n:,}' for n in sizes)}"
    return Finding(text, HOLDS if sizes == [row.published] else CONTRADICTED)


def slowest_at(row: Row, results: Results, time: float) -> Finding:
    """The smallest validation accuracy of five runs, drawn anew from ours."""
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
    """Accuracy at the smallest threshold, where nothing to speak of is pruned, less that at 0.01."""
    found = at_the_end(measured)
    threshold = found["threshold"].to_numpy()
    if not np.isclose(threshold, 0.01).any():
        raise MissingError("pruning was not measured at 0.01")
    accuracy = found[f"{side}_accuracy"].transpose("run", "threshold").to_numpy()
    lost = accuracy[:, threshold.argmin()] - accuracy[:, np.isclose(threshold, 0.01).argmax()]
    return of_values(lost, percent_exactly)


def share_below(runs: xr.Dataset, tensor: str, show: Format = plain) -> Estimate:
    """Share of a tensor's weights below 0.01."""
    return of_values([share_below_threshold(w[tensor], 0.01) for w in weights(runs)], show)


def share_fed_by(
    runs: xr.Dataset, tokens: Literal["signs", "numbers"], show: Format = plain
) -> Estimate:
    """Of linear 1: tokens 1 and 3 of 'a + b =' are numbers; its rows for tokens 2 and 4 see constants (signs)."""
    places = [1, 3] if tokens == "signs" else [0, 2]
    first = [w["W_0"].reshape(4, -1, w["W_0"].shape[-1])[places] for w in weights(runs)]
    return of_values([share_below_threshold(w, 0.01) for w in first], show)


def norm_of_numbers(runs: xr.Dataset) -> Estimate:
    """Mean over the numbers of the length of a row of the embedding."""
    return of_values([np.linalg.norm(w["W_E"][:97], axis=1).mean() for w in weights(runs)])


def norm_of_signs(runs: xr.Dataset, which: Literal["smaller", "larger"]) -> Estimate:
    """Length of the rows of '+' and '=' of the embedding, the smaller or the larger of both."""
    pick = min if which == "smaller" else max
    return of_values([float(pick(np.linalg.norm(w["W_E"][97:99], axis=1))) for w in weights(runs)])


def dominant_frequencies(measured: xr.Dataset) -> Estimate:
    """How many frequencies have more than twice the flat share of the embedding's energy."""
    share = at_the_end(measured)["energy_share"].transpose("run", "frequency").to_numpy()
    counts = (share > DOMINANT / share.shape[1]).sum(1).astype(float)
    return of_values(np.where(np.isfinite(share).all(1), counts, np.nan))


def spread_of_radius(measured: xr.Dataset) -> Estimate:
    """Standard deviation over mean of the numbers' distance from 0 in the PCA; a normal cloud has 0.52."""
    points = at_the_end(measured)["embedding"]
    numbers = points.transpose("run", "token", "component").to_numpy()[:, :97]
    radius = np.linalg.norm(numbers, axis=2)
    return of_values(radius.std(1) / radius.mean(1))


# -- the author's list of things to do ---------------------------------------------------------------------------------


def cycles(row: Row, results: Results) -> Finding:
    """Rises of the output's norm that are followed by a rest."""
    found = slingshots_of(row.runs(results))
    cyclic, shots = sum(s.cycles >= 2 for s in found), sum(s.count for s in found)
    sentence = f"Cyclic (two or more) in {cyclic} of {len(found)} runs; slingshots in all: {shots}."
    return told(of_values([s.cycles for s in found]), sentence)


def earlier(row: Row, results: Results) -> Finding:
    """Time over that of the control, seed by seed; a run beyond the budget counts with its budget, and says so."""
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
    """Seed -> (epochs to 99 % validation accuracy, or of the last look, whether it arrived)."""
    outcome = readings.first_above(runs, "val_accuracy", 0.99)
    time = np.where(outcome.hit, outcome.upper, outcome.lower)
    seeds = runs["seed"].to_numpy().astype(int)
    return {int(s): (float(t), bool(h)) for s, t, h in zip(seeds, time, outcome.hit, strict=True)}


def _paired(arm: dict, control: dict) -> tuple[list[float], int]:
    both = [(arm[seed], control[seed]) for seed in arm if seed in control]
    late = sum((not a[1]) + (not c[1]) for a, c in both)
    # Where both are late, nothing is known.
    return [a[0] / c[0] if a[1] or c[1] else math.nan for a, c in both], late


def speed(runs: xr.Dataset, stage: Stage) -> Estimate:
    """Stages: to 99 % train accuracy, from there to 90 % and on to 99 % val accuracy, and after that."""
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
    """At least half of the runs have one."""
    found = slingshots_of(row.runs(results))
    finding = mostly(sum(s.count > 0 for s in found), len(found), 0.5, "Runs with a slingshot")
    return replace(finding, evidence=f"{finding.evidence} {_sums(found)}")


def with_slingshot_told(row: Row, results: Results) -> Finding:
    """A question of ours, hence without a verdict."""
    return replace(with_slingshot(row, results), verdict=NO_CLAIM)


def without_slingshot(row: Row, results: Results) -> Finding:
    """Of the runs that memorise: before that there are none by definition."""
    every = slingshots_of(row.runs(results))
    found = [s for s in every if np.isfinite(s.memorised_at)]
    text = f"{_sums(every)} {len(found)} of {len(every)} runs reach training accuracy 1."
    if not found:
        return Finding(f"n = {len(every)}", NO_CLAIM, text)
    without = sum(s.count == 0 for s in found)
    finding = mostly(without, len(found), 1.0, "Runs without a slingshot")
    return replace(finding, evidence=f"{finding.evidence} {text}")


def _sums(found: Sequence[Slingshots]) -> str:
    return (
        f"In all: {sum(s.count for s in found)} slingshots of {sum(s.events for s in found)} events, "
        f"{sum(s.spikes for s in found)} spikes; by the second threshold {sum(s.jumps for s in found)}."
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
    """Of the slingshots of each run: how many, the first one's step, their median height and gain."""
    values = np.array([float(_PICK[which](s)) for s in slingshots_of(runs)])
    if np.isfinite(values).any():
        return of_values(values)
    unknown = Interval(math.nan, math.nan, math.nan)
    return Estimate(unknown, values, f"n = {len(values)}, –", note="No slingshot in any run.")


def features_change(row: Row, results: Results) -> Finding:
    """Feature change at the records of slingshots over its median elsewhere after memorisation."""
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
    """All values told, judged by the share of `right` ones."""
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
    """At most ten neurons suffice in four runs of five."""
    sizes = _last(_sizes(row, results)[2])
    return _share_of(sizes, sizes <= 10, 0.8, "At most 10 neurons")


def size_falls(row: Row, results: Results, level: float) -> Finding:
    """The effective size falls tenfold around the jump of the test accuracy over a level."""
    runs, epochs, size = _sizes(row, results)
    return judge_fall(readings.first_above(runs, "val_accuracy", level).time, epochs, size)


def judge_fall(jump: np.ndarray, epochs: np.ndarray, size: np.ndarray) -> Finding:
    """Largest fall, a size over one after it, between 20 epochs before the jump and 20 after."""
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
    """Norm of a part of the network at the end over that at memorisation, the first weights after it."""
    found = row.configuration.measured(results, "subnetworks").sel(part=part)
    norms = found["norm"].transpose("run", "snapshot").to_numpy()
    if norms.shape[1] < 2:
        raise MissingError("subnetworks were measured at the end only")
    runs, epochs = _runs_of(found, row, results)
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
    found = row.configuration.measured(results, "effective_sparsity")
    size = found["neurons_same_accuracy"].transpose("run", "snapshot").to_numpy()
    return *_runs_of(found, row, results), size


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
