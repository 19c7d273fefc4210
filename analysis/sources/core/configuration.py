"""Configurations of an experiment, with the names that their source uses, and which of them were run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr

from analysis.sources.core.claims import MissingError, Results, UnfinishedError


@dataclass(frozen=True)
class Configuration:
    """The runs of an experiment with these settings (none: all runs), with the name that the source uses."""

    name: str
    experiment: str
    where: tuple[tuple[str, Any], ...] = ()

    def of(self, results: Results) -> xr.Dataset:
        """Histories of its runs, times in epochs."""
        return results.runs(self.experiment, **dict(self.where))

    def measured(self, results: Results, kind: str) -> xr.Dataset:
        """What was measured on saved weights of its runs, `step` in optimiser steps."""
        return results.measured(self.experiment, kind, **dict(self.where))


def at_hand(
    group: Sequence[Configuration], results: Results, least: int = 1
) -> tuple[dict[str, xr.Dataset], str]:
    """The configurations that were run, and a sentence about the others. Raises MissingError if too few were."""
    datasets, missing = {}, []
    for one in group:
        try:
            datasets[one.name] = one.of(results)
        except UnfinishedError:
            raise
        except MissingError as error:
            missing.append((one.name, error))
    if len(datasets) < least:
        raise missing[0][1]
    names = ", ".join(name for name, _ in missing)
    return datasets, f"Not run: {names}." if missing else ""
