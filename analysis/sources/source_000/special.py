"""Quantities of source 000 only: slingshots and spikes of a run."""

from __future__ import annotations

import xarray as xr

from analysis.slingshots import slingshots_of
from analysis.sources.core.checks import Check
from analysis.sources.core.estimates import Estimate, of_values
from analysis.sources.core.quantities import by_name


def slingshot_count(runs: xr.Dataset) -> Estimate:
    """Slingshots of each run."""
    return of_values([float(s.count) for s in slingshots_of(runs)], what="the training loss")


def spike_count(runs: xr.Dataset) -> Estimate:
    """Spikes of each run's training loss, also those without the output layer's norm before them."""
    return of_values([float(s.spikes) for s in slingshots_of(runs)], what="the training loss")


QUANTITIES = by_name(slingshot_count, spike_count)
CHECKS: dict[str, Check] = {}
