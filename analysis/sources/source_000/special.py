"""Quantities of source 000 only: slingshots of a run, and how many runs arrive."""

from __future__ import annotations

import numpy as np
import xarray as xr

from analysis import readings
from analysis.slingshots import slingshots_of
from analysis.sources.core.checks import Check
from analysis.sources.core.estimates import Estimate, of_values, percent
from analysis.sources.core.quantities import by_name


def slingshot_count(runs: xr.Dataset) -> Estimate:
    """Slingshots of each run."""
    return of_values([float(s.count) for s in slingshots_of(runs)], what="the training loss")


def spike_count(runs: xr.Dataset) -> Estimate:
    """Spikes of each run's training loss, also those without the output layer's norm before them."""
    return of_values([float(s.spikes) for s in slingshots_of(runs)], what="the training loss")


def arrived(runs: xr.Dataset, level: float) -> Estimate:
    """The share of runs whose validation accuracy is ever at or above a level, with the rule of the median's limits on
    ones and zeros."""
    hit = np.isfinite(readings.first_above(runs, "val_accuracy", level).time)
    return of_values([hit.mean()], percent)


QUANTITIES = by_name(slingshot_count, spike_count, arrived)
CHECKS: dict[str, Check] = {}
