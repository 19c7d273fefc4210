"""Curves for the page: a choice of evaluations, and values rounded to what a screen can show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.report.packing import packed
from analysis.study import Study, series

METRICS = ("train_accuracy", "val_accuracy", "train_loss", "val_loss")
MANY = 2000
"""With more runs than this, curves have fewer points and one byte a value."""
POINTS, FEW_POINTS = 128, 64
LOG_SPAN = 20.0
"""Positive values whose range has at least this ratio are rounded on a log scale."""


def grids_of(step: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """The different grids of evaluations, without padding, and which of them each run has."""
    if step.strides[0] == 0:  # one grid, as `load` gives it where all groups have the same
        return [step[0][~np.isnan(step[0])]], np.zeros(len(step), int)
    rows, which = np.unique(np.nan_to_num(step, nan=-1.0), axis=0, return_inverse=True)
    return [row[row >= 0] for row in rows], which


def curve(study: Study, probe: str, runs: slice, grid: np.ndarray) -> dict[str, Any]:
    """One probe of a block of runs: steps for each grid, and codes (run, point) with what they stand for.

    A code is lo + (hi - lo) * code / (top - 1), or the same between logarithms; `top` itself is a missing value.
    Codes are differences to the point before, modulo top + 1, because these deflate better.
    """
    history = series(study.dataset.isel(run=runs), probe)
    value = np.where(history.real, history.value, np.nan)
    top = 255 if study.n_runs > MANY else 65535
    most = FEW_POINTS if study.n_runs > MANY else POINTS
    steps: dict[int, list[float]] = {}
    chosen = np.full((len(value), most), np.nan)
    for number in np.unique(grid[runs]):
        mine = grid[runs] == number
        points = thinned(history.step[mine][0], np.asarray(np.isfinite(value[mine]).any(0)), most)
        steps[int(number)] = history.step[mine][0][points].tolist()
        chosen[mine, : len(points)] = value[mine][:, points]
    codes, scale = rounded(chosen, top, probe.endswith("accuracy"))
    kind = np.uint8 if top == 255 else np.uint16
    differences = np.diff(codes, axis=1, prepend=0).astype(kind)
    return {"first": runs.start, "steps": steps, "codes": packed(differences), **scale}


def thinned(step: NDArray[np.floating], known: NDArray[np.bool_], most: int) -> NDArray[np.int64]:
    """Indices of at most so many evaluations that have a value: half of them even in steps, half in their logarithm."""
    there = np.flatnonzero(known & ~np.isnan(step))
    if len(there) <= most:
        return there
    at = step[there]
    first, last = np.log(max(at[0], at[1] / 2, 1.0)), np.log(at[-1])
    wanted = np.concatenate(
        [np.linspace(at[0], at[-1], most // 2), np.exp(np.linspace(first, last, most - most // 2))]
    )
    return there[np.unique(np.clip(np.searchsorted(at, wanted), 0, len(at) - 1))]


def rounded(
    values: np.ndarray, top: int, accuracy: bool = False
) -> tuple[NDArray[np.int64], dict[str, Any]]:
    """(codes, the scale that they are on). What is not finite is missing."""
    finite = values[np.isfinite(values)]
    low, high = (
        (0.0, 1.0)
        if accuracy
        else (float(np.min(finite, initial=np.inf)), float(np.max(finite, initial=-np.inf)))
    )
    positive = finite[finite > 0]
    log = not accuracy and len(positive) > 0 and low >= 0 and high >= LOG_SPAN * positive.min()
    if log:
        low = float(positive.min())
        with np.errstate(invalid="ignore"):
            values, low, high = np.log(np.maximum(values, low)), np.log(low), np.log(high)
    if not len(finite):
        low, high = 0.0, 1.0
    share = (values - low) / (high - low if high > low else 1.0)
    share = np.where(np.isfinite(values), np.clip(share, 0, 1), 0.0)
    codes = np.where(np.isfinite(values), np.rint(share * (top - 1)), top).astype(np.int64)
    return codes, {"lo": float(low), "hi": float(high), "log": bool(log), "top": top}


def blocks(n: int, size: int) -> Sequence[slice]:
    """The runs in blocks of this size."""
    return [slice(begin, min(begin + size, n)) for begin in range(0, n, size)]
