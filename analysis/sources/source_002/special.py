"""Quantities and checks of source 002 only: on its saved weights and its intervention; the names of all of them."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
import xarray as xr

from analysis import readings
from analysis.measured import at_the_end
from analysis.slingshots import slingshots_of
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
from analysis.sources.core.verdicts import told
from analysis.sources.source_002 import parity_checks, slingshot_checks
from analysis.statistics import bootstrap
from analysis.weights import share_below as share_below_threshold

DOMINANT = 2.0
"""A frequency is dominant if its share is larger than this many times the flat share. The source has no definition."""
Stage = Literal["early", "plateau", "grokking", "afterwards"]

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


QUANTITIES = by_name(
    *(lost_by_pruning, share_below, share_fed_by, norm_of_numbers, norm_of_signs),
    *(
        dominant_frequencies,
        spread_of_radius,
        speed,
        slingshot_checks.slingshots,
        parity_checks.when_memorised,
    ),
)
CHECKS = {
    "parameters_by_share": Check(parameters_by_share, ("published",)),
    "slowest_at": Check(slowest_at, ("published",)),
    "cycles": Check(cycles),
    "earlier": Check(earlier),
    "with_slingshot": Check(slingshot_checks.with_slingshot),
    "with_slingshot_told": Check(slingshot_checks.with_slingshot_told),
    "without_slingshot": Check(slingshot_checks.without_slingshot),
    "features_change": Check(slingshot_checks.features_change),
    "final_size": Check(parity_checks.final_size),
    "size_falls": Check(parity_checks.size_falls),
    "norm": Check(parity_checks.norm),
}
