"""The axes of the grid, and its cells. The runs of a cell differ only in seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.numbers import number_texts
from grokjax.experiment.axis_names import split_names

SEEDS = ("seed", "init_seed", "split_seed", "order_seed", "noise_seed")
LONGEST = 22
"""Characters of a name as a tick label."""
LABELS = {
    "split.train_fraction": "train fraction",
    "task.p": "vocabulary size p",
    "model.n_layers": "depth (layers)",
    "model.d_model": "width d_model",
    "optimizer.weight_decay": "weight decay",
    "optimizer.learning_rate": "learning rate",
}


@dataclass(frozen=True)
class Axis:
    """One axis of the grid: its distinct values in order, and the index of each run's value."""

    name: str
    values: tuple[float | str, ...]
    code: NDArray[np.int64]

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers. Only then do distances between them have a meaning."""
        return not any(isinstance(value, str) for value in self.values)

    @property
    def label(self) -> str:
        """The name in figures: from LABELS, or else the last part of the setting's name ('optimizer' for its kind)."""
        return ", ".join(_label(name) for name in split_names(self.name))

    @property
    def texts(self) -> list[str]:
        """The values in words."""
        if self.numeric:
            return number_texts([float(value) for value in self.values])
        return [str(value) for value in self.values]

    @property
    def ticks(self) -> list[str]:
        """The values as tick labels: long names are cut."""
        return [t if len(t) <= LONGEST else f"{t[: LONGEST - 1]}…" for t in self.texts]


def _label(name: str) -> str:
    own = name.removesuffix(".kind").rsplit(".", 1)[-1]
    return LABELS.get(name, own.replace("_", " "))


@dataclass(frozen=True)
class Cell:
    """Runs with equal values on every axis: `index` into each axis's values, and the runs."""

    index: tuple[int, ...]
    runs: NDArray[np.int64]


def axes_of(dataset: xr.Dataset) -> tuple[Axis, ...]:
    """The axes with two or more values, in the experiment's order; seeds do not count as axes."""
    axes = []
    for name in dataset.attrs["axes"]:
        parts = [n for n in split_names(name) if n not in SEEDS and n in dataset.coords]
        if parts:
            axes.append(_axis(", ".join(parts), [dataset[part].to_numpy() for part in parts]))
    return tuple(axis for axis in axes if len(axis.values) > 1)


def _axis(name: str, columns: list[np.ndarray]) -> Axis:
    """An axis of one or more settings.

    Settings that vary together have the values of the first setting that differs between all points. If there is none,
    they have a text of all settings.
    """
    codes = np.stack([np.unique(column, return_inverse=True)[1] for column in columns], axis=1)
    points, code = np.unique(codes, axis=0, return_inverse=True)
    for column in columns:
        values = np.unique(column)
        if len(values) == len(points):
            plain = [str(value) if values.dtype.kind == "U" else float(value) for value in values]
            return Axis(name, tuple(plain), np.searchsorted(values, column))
    levels = [_texts(np.unique(column)) for column in columns]
    texts = [
        ", ".join(level[i] for level, i in zip(levels, point, strict=True)) for point in points
    ]
    return Axis(name, tuple(texts), code)


def _texts(values: np.ndarray) -> list[str]:
    if values.dtype.kind == "U":
        return values.tolist()
    return number_texts([float(value) for value in values])


def cells_of(axes: Sequence[Axis], runs: NDArray[np.int64]) -> list[Cell]:
    """The cells of the given axes that have at least one of the given runs, in grid order."""
    if not axes:
        return [Cell((), runs)] if len(runs) else []
    codes = np.stack([axis.code[runs] for axis in axes], axis=1)
    points, which = np.unique(codes, axis=0, return_inverse=True)
    return [Cell(tuple(map(int, point)), runs[which == i]) for i, point in enumerate(points)]


def describe(axes: Sequence[Axis], index: Sequence[int]) -> str:
    """A cell in words, as in 'train fraction 0.4, depth (layers) 2'."""
    return ", ".join(f"{axis.label} {axis.texts[i]}" for axis, i in zip(axes, index, strict=True))
