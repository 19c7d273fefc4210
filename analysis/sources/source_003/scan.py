"""Values at the end of training against one axis, a row for each seed: what source 003 plots over sample sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from analysis import readings
from analysis.best import best_of
from analysis.readings import Floats
from analysis.sources.core.claims import MissingError

SIZE = "task.n_train"


@dataclass(frozen=True)
class Scan:
    """One value at the end of training: `at` (point,), rising; `value` (seed, point), NaN if missing."""

    at: Floats
    value: Floats

    @property
    def n(self) -> int:
        return len(self.value)

    def median(self, seeds: np.ndarray | None = None) -> Floats:
        """Median over seeds at each point."""
        chosen = self.value if seeds is None else self.value[seeds]
        return np.nanmedian(chosen, axis=0)


def scan(runs: xr.Dataset, probe: str, axis: str = SIZE) -> Scan:
    """Last values of a probe by seed and axis. Raises MissingError if the axis did not vary."""
    if axis not in runs.coords:
        raise MissingError(f"{runs.attrs['name']} has no axis {axis}")
    of_runs, seed = runs[axis].to_numpy().astype(float), runs["seed"].to_numpy()
    at, seeds = np.unique(of_runs), np.unique(seed)
    value = np.full((len(seeds), len(at)), np.nan)
    value[np.searchsorted(seeds, seed), np.searchsorted(at, of_runs)] = readings.end(runs, probe)
    if np.isnan(value).all():
        raise MissingError(f"{probe} was not measured in {runs.attrs['name']}")
    return Scan(at, value)


def bump(curve: Floats) -> float:
    """How far the largest value between the ends lies above both ends; negative if there is no interior maximum."""
    return float(curve[1:-1].max() - max(curve[0], curve[-1]))


def place(at: Floats, curve: Floats) -> float:
    """Where the largest value between the ends is."""
    return float(at[1:-1][curve[1:-1].argmax()])


def crossing(at: Floats, rising: Floats, falling: Floats) -> float:
    """Where one curve overtakes the other for good, between two points by the logarithms; inf if it never does."""
    above = rising > falling
    if not above[-1]:
        return float("inf")
    last = len(above) - 1 - int((~above[::-1]).argmax()) if not above.all() else -1
    if last < 0:
        return float(at[0])
    gap = np.log(np.maximum(rising, 1e-12)) - np.log(np.maximum(falling, 1e-12))
    share = -gap[last] / (gap[last + 1] - gap[last])
    return float(np.exp(np.log(at[last]) + share * np.log(at[last + 1] / at[last])))


def best_scan(runs: xr.Dataset, probe: str) -> Scan:
    """One value at the end of training: at each point that of the seed with the lowest training loss."""
    best = scan(best_of(runs, "seed"), probe)
    return Scan(best.at, best.median()[None])
