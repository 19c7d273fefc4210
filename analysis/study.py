"""A dataset with the definitions that a reader chose: the source of the table and the figures."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.cells import Axis, Cell, axes_of, cells_of
from analysis.outcomes import FirstHit, Series, Sustain, first_hit
from analysis.phases import PhaseRule, classify
from analysis.statistics import TimeSummary, summarise


@dataclass(frozen=True)
class Definitions:
    """What counts as grokked and as a phase. `level` None: that of the stop rule, else 0.99."""

    level: float | None = None
    rule: PhaseRule = field(default_factory=PhaseRule)
    sustain: Sustain | None = None


@dataclass(frozen=True)
class Study:
    """All runs: `reached` is of validation accuracy at `level`, `phases` follow `rule`."""

    dataset: xr.Dataset
    axes: tuple[Axis, ...]
    level: float
    rule: PhaseRule
    sustain: Sustain | None
    reached: FirstHit
    phases: NDArray[np.str_]

    @property
    def n_runs(self) -> int:
        return self.dataset.sizes["run"]

    @property
    def grid_size(self) -> int:
        """Runs that the experiment asks for, those included that no store has yet."""
        attrs = self.dataset.attrs
        return attrs.get("grid", math.prod(len(values) for values in attrs["axes"].values()))

    @property
    def status(self) -> NDArray[np.str_]:
        return self.dataset["status"].to_numpy()

    @property
    def budget(self) -> int:
        """Optimiser steps that a run may take."""
        return self.dataset.attrs["budget"]

    @property
    def everyone(self) -> NDArray[np.int64]:
        return np.arange(self.n_runs)

    def cells(self) -> list[Cell]:
        """Cells of the whole grid, seeds pooled."""
        return cells_of(self.axes, self.everyone)

    def summary(self, runs: NDArray[np.int64]) -> TimeSummary:
        """Time to the level over some of the runs."""
        return summarise(self.reached.of(runs), self.status[runs])


def scalar_names(dataset: xr.Dataset) -> list[str]:
    """Names of all recorded values that are one number.

    Entries of vectors, and values of single tensors, layers or heads, have a slash in their names and are left out.
    """
    return [name for name in map(str, dataset["probe"].to_numpy()) if "/" not in name]


def series(dataset: xr.Dataset, probe: str) -> Series:
    """One probe of all runs; a probe that nobody recorded is all NaN."""
    known = probe in dataset["probe"].to_numpy()
    shape = (dataset.sizes["run"], dataset.sizes["eval"])
    value = dataset["value"].sel(probe=probe).to_numpy() if known else np.full(shape, np.nan)
    return Series(
        value=value,
        step=dataset["step"].to_numpy(),
        done=dataset["evaluations_done"].to_numpy(),
        status=dataset["status"].to_numpy(),
    )


def accuracy_outcome(
    dataset: xr.Dataset, split: str, level: float, sustain: Sustain | None = None
) -> FirstHit:
    """Outcome of `train` or `val` accuracy at a level, for all runs."""
    return first_hit(series(dataset, f"{split}_accuracy"), level, sustain)


def phases_of(dataset: xr.Dataset, rule: PhaseRule) -> NDArray[np.str_]:
    """Phase of every run, from first hits (as in the paper, no matter whether they last)."""
    train, val = (accuracy_outcome(dataset, split, rule.level) for split in ("train", "val"))
    return classify(train, val, dataset["status"].to_numpy(), rule)


def default_level(dataset: xr.Dataset) -> float:
    """The lowest level of the stop rules, above which times are not observed; else 0.99."""
    levels = dataset["stop_level"].to_numpy()
    return float(np.nanmin(levels)) if np.isfinite(levels).any() else 0.99


def make_study(dataset: xr.Dataset, definitions: Definitions) -> Study:
    """Apply the definitions to all runs."""
    level = definitions.level if definitions.level is not None else default_level(dataset)
    return Study(
        dataset=dataset,
        axes=axes_of(dataset),
        level=level,
        rule=definitions.rule,
        sustain=definitions.sustain,
        reached=accuracy_outcome(dataset, "val", level, definitions.sustain),
        phases=phases_of(dataset, definitions.rule),
    )
