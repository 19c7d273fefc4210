"""Configurations of an experiment under their source's names, and which of them were run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr

from analysis.sources.claims import MissingError, Results, UnfinishedError


@dataclass(frozen=True)
class Part:
    """One configuration: an experiment's runs with these settings, under the source's name."""

    name: str
    experiment: str
    where: tuple[tuple[str, Any], ...]

    def of(self, results: Results) -> xr.Dataset:
        return results.runs(self.experiment, **dict(self.where))

    def measured(self, results: Results, kind: str) -> xr.Dataset:
        return results.measured(self.experiment, kind, **dict(self.where))


def parts(experiment: str, axis: str, values: dict[str, Any]) -> tuple[Part, ...]:
    return tuple(Part(name, experiment, ((axis, value),)) for name, value in values.items())


def at_hand(
    group: Sequence[Part], results: Results, least: int = 1
) -> tuple[dict[str, xr.Dataset], str]:
    """The configurations that were run, and a sentence about the others. Raises MissingError where too few were."""
    found, missing = {}, []
    for part in group:
        try:
            found[part.name] = part.of(results)
        except UnfinishedError:
            raise
        except MissingError as error:
            missing.append((part.name, error))
    if len(found) < least:
        raise missing[0][1]
    names = ", ".join(name for name, _ in missing)
    return found, f"Not run: {names}." if missing else ""
