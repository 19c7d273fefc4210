"""Quantities of source 003: bumps of the test loss, crossings of dimensions, polygons, dictionaries."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from analysis.measured import at_the_end
from analysis.sources.core import verdicts
from analysis.sources.core.checks import Check
from analysis.sources.core.claims import Finding, MissingError, Results
from analysis.sources.core.estimates import Estimate, of_draws, of_values, percent, plain
from analysis.sources.core.quantities import by_name
from analysis.sources.core.row import Row
from analysis.sources.source_003.scan import SIZE, Scan, bump, crossing, place, scan

GROUP_SHARE = 0.8
"""Share of the seeds that must show what a group of runs is said to show: 4 of 5."""


def bump_height(runs: xr.Dataset) -> Estimate:
    """Largest median test loss between the smallest and the largest sample, above the larger of these two ends."""
    return _of_losses(runs, lambda _, curve: bump(curve))


def bump_place(runs: xr.Dataset) -> Estimate:
    """The sample size at which the median test loss between the ends is largest."""
    return _of_losses(runs, place)


def _of_losses(runs: xr.Dataset, read) -> Estimate:
    losses = scan(runs, "val_loss")
    return of_draws(lambda seeds: read(losses.at, losses.median(seeds)), losses.n)


def bump_share(group: Mapping[str, xr.Dataset]) -> Estimate:
    """Height of the second configuration's bump as a share of the first one's; 0 where it has none.

    Raises MissingError where the first has no bump between its ends, of which there could be a share.
    """
    first, second = (scan(runs, "val_loss") for runs in group.values())
    if bump(first.median()) <= 0:
        raise MissingError(
            f"{next(iter(group))} has no maximum between its smallest and largest sample"
        )

    def share(seeds: np.ndarray) -> float:
        return max(bump(second.median(seeds)), 0.0) / bump(first.median(seeds))

    return of_draws(share, min(first.n, second.n), percent)


def onset(runs: xr.Dataset) -> Estimate:
    """Sample size from which on the largest dimension of a feature exceeds that of a training row."""
    feature, row = _dimensions(runs)
    return of_draws(lambda s: crossing(feature.at, feature.median(s), row.median(s)), feature.n)


def useful_from(runs: xr.Dataset) -> Estimate:
    """Sample size from which on the test loss is below 1 for good, which is that of outputting zeros: the geometric
    middle of the two sizes around."""
    losses = scan(runs, "val_loss")
    return of_draws(lambda s: _below_one(losses.at, losses.median(s)), losses.n)


def useful_spread(group: Mapping[str, xr.Dataset]) -> Estimate:
    """Largest over smallest `useful_from` times (1 - sparsity) of several sparsities."""
    by_sparsity = [(_sparsity(runs), scan(runs, "val_loss")) for runs in group.values()]

    def spread(seeds: np.ndarray) -> float:
        scaled = [_below_one(x.at, x.median(seeds)) * (1 - s) for s, x in by_sparsity]
        return max(scaled) / min(scaled)

    return of_draws(spread, min(losses.n for _, losses in by_sparsity))


def _below_one(at: np.ndarray, curve: np.ndarray) -> float:
    useless = np.flatnonzero(curve >= 1)
    if not len(useless):
        return float(at[0])
    last = int(useless[-1])
    return float(np.sqrt(at[last] * at[last + 1])) if last + 1 < len(at) else float("inf")


def onset_spread(group: Mapping[str, xr.Dataset]) -> Estimate:
    """Largest over smallest onset times (1 - sparsity) of several sparsities; inf if one of them has no onset."""
    by_sparsity = [(_sparsity(runs), *_dimensions(runs)) for runs in group.values()]

    def spread(seeds: np.ndarray) -> float:
        scaled = [
            crossing(feature.at, feature.median(seeds), row.median(seeds)) * (1 - sparsity)
            for sparsity, feature, row in by_sparsity
        ]
        return max(scaled) / min(scaled)

    return of_draws(spread, min(feature.n for _, feature, _ in by_sparsity))


def _dimensions(runs: xr.Dataset) -> tuple[Scan, Scan]:
    return scan(runs, "feature_dimension_max"), scan(runs, "row_dimension_max")


def _sparsity(runs: xr.Dataset) -> float:
    return float(runs["task.sparsity"].to_numpy()[0])


def near_polygon(measured: xr.Dataset, largest: float, tolerance: float) -> Estimate:
    """Share of the training rows of each run, up to a sample size, with |D_X T / m - 1| below the tolerance."""
    last, small = _up_to(measured, largest)
    size = last[SIZE].to_numpy().astype(float)[small, None]
    dimension = last["row_dimension"].transpose("run", "row").to_numpy()[small]
    near = np.abs(dimension * size / last.sizes["hidden_dimension"] - 1) < tolerance
    known = np.isfinite(dimension)
    return of_values((near & known).sum(1) / known.sum(1), percent, "row_dimension")


def near_polygon_of_best(measured: xr.Dataset, largest: float, tolerance: float) -> Estimate:
    """The same of the run with the lowest training loss at each sample size."""
    return near_polygon(_best(measured), largest, tolerance)


def row_gap_of_best(measured: xr.Dataset, largest: float) -> Estimate:
    """`row_gap` of the run with the lowest training loss at each sample size."""
    return row_gap(_best(measured), largest)


def _best(measured: xr.Dataset) -> xr.Dataset:
    """Of each sample size the run with the lowest mean loss of its training rows."""
    sizes_of = measured[SIZE].to_numpy()
    losses_of = at_the_end(measured)["loss"].mean("row").to_numpy()
    chosen = [
        np.flatnonzero(sizes_of == t)[losses_of[sizes_of == t].argmin()]
        for t in np.unique(sizes_of)
    ]
    return measured.isel(run=chosen)


def row_gap(measured: xr.Dataset, largest: float) -> Estimate:
    """Largest relative deviation of an angle between neighbouring rows from 2 pi / T, up to a sample size."""
    last, small = _up_to(measured, largest)
    return of_values(last["row_gap"].to_numpy()[small], percent, "row_gap")


def kept_dimension(measured: xr.Dataset) -> Estimate:
    """Median dimension of the features whose norm is above 0.8 of the largest."""
    last = at_the_end(measured)
    norm = np.linalg.norm(
        last["feature"].transpose("run", "output", "hidden_dimension").to_numpy(), axis=2
    )
    dimension = last["feature_dimension"].transpose("run", "output").to_numpy()
    kept = norm > 0.8 * norm.max(1, keepdims=True)
    return of_values([np.median(d[k]) for d, k in zip(dimension, kept, strict=True)])


def _up_to(measured: xr.Dataset, largest: float) -> tuple[xr.Dataset, np.ndarray]:
    last = at_the_end(measured)
    return last, last[SIZE].to_numpy().astype(float) <= largest


def leverage_of_wrong_rows(measured: xr.Dataset) -> Estimate:
    """Mean rank of D* of the misclassified training rows among all training rows of a run: 50 % if D* says nothing."""
    last = at_the_end(measured)
    leverage = last["leverage"].transpose("run", "row").to_numpy()
    right = last["right"].transpose("run", "row").to_numpy()
    ranks = []
    for own, good in zip(leverage, right, strict=True):
        known = np.isfinite(own)
        order = np.argsort(np.argsort(own[known])) / max(known.sum() - 1, 1)
        wrong = good[known] == 0
        ranks.append(order[wrong].mean() if wrong.any() else np.nan)
    return of_values(ranks, percent, "a misclassified row")


def most_have_a_bump(row: Row, results: Results) -> Finding:
    """At least four of five seeds have an interior maximum of the test loss."""
    losses = scan(row.runs(results), "val_loss")
    count = sum(bump(curve) > 0 for curve in losses.value)
    return verdicts.mostly(count, losses.n, GROUP_SHARE, "seeds with an interior maximum")


QUANTITIES = by_name(
    *(bump_height, bump_place, bump_share, onset, onset_spread, useful_from, useful_spread),
    *(near_polygon, near_polygon_of_best, row_gap, row_gap_of_best),
    *(kept_dimension, leverage_of_wrong_rows),
)
CHECKS: dict[str, Check] = {"bump": Check(most_have_a_bump)}
__all__ = ["CHECKS", "QUANTITIES", "plain"]
