"""Judges of source 002 that need more than one probe: weights, measurements, stages, and the intervention."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from analysis import readings
from analysis.measured import at_the_end
from analysis.slingshots import slingshots_of
from analysis.sources.claims import (
    CONTRADICTED,
    HOLDS,
    NO_CLAIM,
    WEAKER,
    Finding,
    MissingError,
    Results,
)
from analysis.sources.estimates import of_times, of_values, percent, percent_exactly
from analysis.sources.verdicts import every, number, told
from analysis.statistics import bootstrap
from analysis.weights import Tensors, final_weights, share_below

RANDOM = "s002_random_split"
DOMINANT = 2.0
"""A frequency dominates from this many times the flat share on; the source gives no definition."""
ROUND = 0.3
"""Spread of the radius (standard deviation over mean) below which points lie on a ring; a normal cloud has 0.52."""
STAGES = ("early", "plateau", "grokking", "afterwards")

Judge = Callable[[Results], Finding]


def parameters(results: Results) -> Finding:
    """From the number of active weights and their share, which both count all parameters."""
    runs = results.runs(RANDOM)
    active, share = (readings.start(runs, p) for p in ("active_weights", "sparsity"))
    sizes = sorted({round(n) for n in active / (1 - share) if np.isfinite(n)})
    if not sizes:
        raise MissingError("the number of active weights was not measured")
    text = f"n = {runs.sizes['run']}, {', '.join(f'{n:,}' for n in sizes)}"
    return Finding(text, HOLDS if sizes == [91107] else CONTRADICTED)


def slowest_at_300(results: Results) -> Finding:
    """The smallest of five: drawn anew from ours."""
    values = readings.value_at(results.runs(RANDOM), "val_accuracy", 300)
    if not np.isfinite(values).any():
        raise MissingError("no run has been followed to epoch 300")
    known = values[np.isfinite(values)]
    limits = bootstrap(lambda runs: float(known[runs].min()), len(known), 5)
    text = f"n = {len(known)}, smallest {percent(known.min())}; of five, 95 %: "
    text += f"{percent(limits.low)} to {percent(limits.high)}"
    inside = limits.low * 0.95 <= 0.56 <= limits.high * 1.05
    return Finding(text, HOLDS if inside else WEAKER, "Limits: five of our runs, drawn anew.")


def speed(results: Results) -> Finding:
    results.runs(RANDOM)
    raise MissingError("histories hold no clock times; docs/performance.md has the rates")


def pruning_cost(side: str) -> Judge:
    """Accuracy at the smallest threshold, where nothing to speak of is pruned, less that at 0.01."""

    def judge(results: Results) -> Finding:
        found = at_the_end(results.measured(RANDOM, "pruning"))
        threshold = found["threshold"].to_numpy()
        if not np.isclose(threshold, 0.01).any():
            raise MissingError("pruning was not measured at 0.01")
        accuracy = found[f"{side}_accuracy"].transpose("run", "threshold").to_numpy()
        lost = accuracy[:, threshold.argmin()] - accuracy[:, np.isclose(threshold, 0.01).argmax()]
        return every(of_values(lost, percent_exactly), -np.inf, 0)

    return judge


def _tensors(results: Results) -> list[Tensors]:
    found = final_weights(results.runs(RANDOM))
    if not found:
        raise MissingError(f"{RANDOM} has no final weights yet")
    return found


def layer_share(tensor: str, low: float, high: float) -> Judge:
    def judge(results: Results) -> Finding:
        values = [share_below(w[tensor], 0.01) for w in _tensors(results)]
        return every(of_values(values, percent), low, high)

    return judge


def column_share(constant: bool, low: float, high: float) -> Judge:
    """Of linear 1: the rows for tokens 2 and 4 of 'a + b =' see a constant."""

    def judge(results: Results) -> Finding:
        weights = [w["W_0"].reshape(4, -1, w["W_0"].shape[-1]) for w in _tensors(results)]
        places = [1, 3] if constant else [0, 2]
        values = [share_below(w[places], 0.01) for w in weights]
        return every(of_values(values, percent), low, high)

    return judge


def number_norm(results: Results) -> Finding:
    """Mean over the numbers of the length of a row of the embedding."""
    norms = [np.linalg.norm(w["W_E"][:97], axis=1).mean() for w in _tensors(results)]
    return number(of_values(norms), 4.3, figure=True)


def constant_norm(pick: Callable[[Any], Any], low: float, high: float) -> Judge:
    """Of the rows of '+' and '=', one of both."""

    def judge(results: Results) -> Finding:
        norms = [np.linalg.norm(w["W_E"][97:99], axis=1) for w in _tensors(results)]
        return every(of_values([float(pick(n)) for n in norms]), low, high)

    return judge


def frequencies(results: Results) -> Finding:
    share = at_the_end(results.measured(RANDOM, "embedding_fourier"))["energy_share"]
    share = share.transpose("run", "frequency").to_numpy()
    counts = (share > DOMINANT / share.shape[1]).sum(1).astype(float)
    return number(of_values(np.where(np.isfinite(share).all(1), counts, np.nan)), 8, figure=True)


def circular(experiment: str) -> Judge:
    def judge(results: Results) -> Finding:
        points = at_the_end(results.measured(experiment, "pca"))["embedding"]
        numbers = points.transpose("run", "token", "component").to_numpy()[:, :97]
        radius = np.linalg.norm(numbers, axis=2)
        return every(of_values(radius.std(1) / radius.mean(1)), 0, ROUND)

    return judge


def cycles(experiment: str) -> Judge:
    def judge(results: Results) -> Finding:
        found = slingshots_of(results.runs(experiment))
        e = of_values([s.cycles for s in found])
        cyclic = sum(s.cycles >= 2 for s in found)
        shots = sum(s.count for s in found)
        return told(
            e, f"Cyclic (two or more) in {cyclic} of {e.n} runs; slingshots in all: {shots}."
        )

    return judge


def earlier(factor: float) -> Judge:
    """Seed by seed; a run beyond the budget counts with its budget, and says so."""

    def judge(results: Results) -> Finding:
        where = {"intervention__factor": factor, "intervention__armed": True}
        arm = results.runs("s002_scale_output", **where)
        control = results.runs("s002_scale_output", intervention__armed=False)
        ratios, late = _paired(_times(arm), _times(control))
        e = of_values(ratios, what="time of arm and control")
        where_to = f"Later in {sum(r > 1 for r in ratios)} of {len(ratios)} pairs of seeds"
        if not np.isfinite(e.interval.low):
            return Finding(e.text, NO_CLAIM, f"{where_to}, which are too few for a verdict.")
        verdict = HOLDS if e.interval.high < 1 else CONTRADICTED if e.interval.low > 1 else WEAKER
        return Finding(e.text, verdict, f"{where_to}; beyond the budget: {late} runs.")

    return judge


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


def speed_of(stage: str) -> Judge:
    """Stages: to 99 % train accuracy, from there to 90 % and on to 99 % val accuracy, and after that."""

    def judge(results: Results) -> Finding:
        runs = results.runs(RANDOM)
        memorised = readings.first_above(runs, "train_accuracy", 0.99).time
        rises, done = (readings.first_above(runs, "val_accuracy", x).time for x in (0.9, 0.99))
        edges = [np.zeros_like(done), memorised, rises, done, np.full_like(done, np.inf)]
        low, high = edges[STAGES.index(stage)], edges[STAGES.index(stage) + 1]
        values = [
            np.median(speed[inside]) if (inside := (time > a) & (time <= b)).any() else np.nan
            for (time, speed), a, b in zip(
                readings.each(runs, "relative_speed"), low, high, strict=True
            )
        ]
        return told(
            of_values(values, what="relative_speed"), "Median over the stage's evaluations."
        )

    return judge


def decay(value: float) -> Judge:
    def judge(results: Results) -> Finding:
        runs = results.runs("s002_weight_decay", optimizer__weight_decay=value)
        e = of_times(readings.first_above(runs, "val_accuracy", 0.99), runs.attrs["budget"])
        return Finding(e.text, NO_CLAIM)

    return judge
