"""One row of a source's table, as a check sees it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import xarray as xr

from analysis.sources.core.claims import Results
from analysis.sources.core.configuration import Configuration, at_hand
from analysis.sources.core.estimates import Estimate


@dataclass(frozen=True)
class Row:
    """What was published about which runs, and how our number is read from them.

    `configurations`: one, or those of the row's group. `approx`: the published number was read from a figure.
    """

    configurations: tuple[Configuration, ...]
    read: Callable[[Any], Estimate]
    measured: str = ""
    published: float = math.nan
    other: float = math.nan
    within: tuple[float, float] = (math.nan, math.nan)
    approx: bool = False
    note: str = ""

    @property
    def configuration(self) -> Configuration:
        return self.configurations[0]

    def runs(self, results: Results) -> xr.Dataset:
        """Histories of the (first) configuration, or what was measured on its weights if the row says `measured`."""
        if self.measured:
            return self.configuration.measured(results, self.measured)
        return self.configuration.of(results)

    def estimate(self, results: Results) -> Estimate:
        """Our number. For a group, `read` takes all its configurations together, by name."""
        if len(self.configurations) == 1:
            return self.read(self.runs(results))
        return self.read({one.name: one.of(results) for one in self.configurations})

    def estimates(self, results: Results) -> tuple[dict[str, Estimate], str]:
        """Our number for each configuration of the group that was run, at least two, and a sentence on the others."""
        datasets, left_out = at_hand(self.configurations, results, least=2)
        return {name: self.read(runs) for name, runs in datasets.items()}, left_out
