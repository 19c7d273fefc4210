"""A published claim, and the results that its judge reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from analysis.load import ResultsError, load
from analysis.measured import load_measured
from analysis.readings import in_epochs

HOLDS, WEAKER, CONTRADICTED = "holds", "weaker", "contradicted"
NOT_RUN, NO_CLAIM = "not run", "no claim"
VERDICTS = (HOLDS, WEAKER, CONTRADICTED, NOT_RUN, NO_CLAIM)


class MissingError(Exception):
    """A judge needs results that do not exist. The message says which."""


class UnfinishedError(MissingError):
    """A judge needs runs that are still in training. They must not be left out like runs that do not exist."""


@dataclass(frozen=True)
class Finding:
    """Our answer to a claim: our number with n and interval, one of VERDICTS, and a sentence of evidence."""

    ours: str
    verdict: str
    evidence: str = ""


@dataclass
class Results:
    """A directory of results directories, each read once. Raises MissingError if results are missing.

    Unless `partial`, raises UnfinishedError if a run of a configuration is still in training: half of a curve has
    another peak and another end, and the runs that end first are the fast ones.
    """

    root: Path
    partial: bool = False
    _datasets: dict[str, xr.Dataset | MissingError] = field(default_factory=dict)

    def runs(self, experiment: str, **where: Any) -> xr.Dataset:
        """The runs of an experiment whose settings have the given values, times in epochs.

        Names of settings have a double underscore in place of the dot: model__ln="pre".
        """
        dataset = self._load(experiment)
        chosen = _chosen(dataset, where)
        if not chosen.any():
            raise MissingError(f"{experiment} has no run with {_words(where)}")
        going = int(np.isin(dataset["status"].to_numpy()[chosen], ["waiting", "running"]).sum())
        if going and not self.partial:
            raise UnfinishedError(
                f"{experiment}: {going} of {int(chosen.sum())} runs are still in training"
            )
        return dataset.isel(run=np.flatnonzero(chosen))

    def measured(self, experiment: str, kind: str, **where: Any) -> xr.Dataset:
        """What was measured on saved weights of the runs with these settings, `step` in optimiser steps."""
        runs = self._load(experiment)
        try:
            dataset = load_measured(self.root / experiment, kind)
        except ResultsError as error:
            raise MissingError(f"{kind} was not measured in {experiment}") from error
        chosen = _chosen(dataset, where)
        if not chosen.any():
            raise MissingError(f"{kind} was not measured in {experiment} with {_words(where)}")
        dataset = dataset.isel(run=np.flatnonzero(chosen))
        # The status now, not that when it was measured: the run may have got a larger budget since.
        status = dict(zip(runs["id"].to_numpy(), runs["status"].to_numpy(), strict=True))
        going = sum(status.get(name) in ("waiting", "running") for name in dataset["id"].to_numpy())
        if going and not self.partial:
            raise UnfinishedError(f"{experiment}: {going} measured runs are still in training")
        return dataset

    def _load(self, experiment: str) -> xr.Dataset:
        path = self.root / experiment
        if experiment not in self._datasets:
            try:
                self._datasets[experiment] = in_epochs(load(path))
            except ResultsError as error:
                self._datasets[experiment] = MissingError(_told(experiment, path, error))
        loaded = self._datasets[experiment]
        if isinstance(loaded, MissingError):
            raise MissingError(*loaded.args)
        return loaded


def _told(experiment: str, path: Path, error: ResultsError) -> str:
    """Why the results cannot be read, without the path of their directory."""
    if not path.is_dir():
        return f"{experiment} has no results yet"
    return str(error).replace(str(path), experiment)


def _chosen(dataset: xr.Dataset, where: Mapping[str, Any]) -> np.ndarray:
    """(run,) which runs have all these settings."""
    chosen = np.ones(dataset.sizes["run"], bool)
    for name, value in where.items():
        chosen &= _equals(dataset, name.replace("__", "."), value)
    return chosen


def _words(where: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('__', '.')} {value}" for name, value in where.items())


def _equals(dataset: xr.Dataset, name: str, value: Any) -> np.ndarray:
    if name not in dataset.coords:
        return np.zeros(dataset.sizes["run"], bool)
    known = dataset[name].to_numpy()
    # Stores have true and false as text.
    if isinstance(value, str | bool):
        return known.astype(str) == str(value)
    return np.isclose(known.astype(float), float(value), rtol=1e-4, atol=0)


@dataclass(frozen=True)
class Claim:
    """One row of a source's table. `part` groups rows; `judge` may raise MissingError."""

    part: str
    what: str
    published: str
    judge: Callable[[Results], Finding]

    def find(self, results: Results) -> Finding:
        try:
            return self.judge(results)
        except MissingError as missing:
            return Finding("–", NOT_RUN, f"{missing}.")
