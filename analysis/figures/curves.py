"""Accuracy and loss against steps: single runs faint, the median and the 10-90 % band strong."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from analysis.cells import Cell, describe
from analysis.figures.panels import MAX_PANELS, evenly, rows_and_columns
from analysis.figures.style import (
    TRAIN,
    VAL,
    add_caption,
    caption_start,
    most_panels,
    new_figure,
    percent,
    room,
    some_rows,
)
from analysis.study import Study, series

COLOURS = {"train": TRAIN, "val": VAL}
SMALLEST = (1.9, 2.6)
"""Inches that a cell needs, at a font of 10 points."""
TITLE_CHARACTERS = 11
"""Of a title in an inch."""
NAMES = {"train": "training", "val": "validation"}
DEFINITION = (
    "Thin lines: single runs, 200 of them where there are more. "
    "Thick line and band: median and 10-90 % quantiles over runs, "
    "wherever at least half of the runs have a value; a run that the stop rule ended keeps its "
    "last value there. Step 0 is omitted."
)


def draw(study: Study) -> Iterator[tuple[str, Figure]]:
    """One figure, with accuracy above loss for up to six cells."""
    cells = representative_cells(study, min(MAX_PANELS, most_panels(*SMALLEST)))
    rows, columns = rows_and_columns(len(cells))
    figure = new_figure(max(3.4 * columns + 0.4, 5.5), 4.2 * rows + 0.3)
    grid = figure.subplots(2 * rows, columns, squeeze=False, sharex=True, sharey="row")
    for place, cell in enumerate(cells):
        row, column = divmod(place, columns)
        width = int(TITLE_CHARACTERS * room(figure) / columns)
        _draw_cell(study, cell, grid[2 * row, column], grid[2 * row + 1, column], width)
    _limit(study, grid)
    _label(grid, len(cells), columns)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    add_caption(figure, caption_start(study), _choice(study, len(cells)), DEFINITION)
    yield "curves", figure


def representative_cells(study: Study, most: int = MAX_PANELS) -> list[Cell]:
    """All cells if there are few, else those at evenly spaced ranks of the median time (without a median: last)."""
    cells = study.cells()
    if len(cells) <= most:
        return cells
    return evenly(sorted(cells, key=lambda cell: _slowness(study, cell)), most)


def _choice(study: Study, shown: int) -> str:
    total = len(study.cells())
    if shown == total:
        return ""
    return (
        f"{shown} of {total} cells, evenly spaced from the shortest to the longest median time to "
        f"{percent(study.level)} validation accuracy."
    )


def _slowness(study: Study, cell: Cell) -> tuple[float, float]:
    summary = study.summary(cell.runs)
    return float(np.nan_to_num(summary.median.estimate, nan=np.inf)), -summary.share.estimate


def aligned(study: Study, probe: str, runs: NDArray[np.int64]) -> tuple[np.ndarray, np.ndarray]:
    """(steps, values (run, step)) of some runs, at all steps after 0 at which one of them was evaluated."""
    metric = series(study.dataset, probe)
    real, status = metric.real, metric.status
    steps = np.unique(metric.step[runs][real[runs]])
    values = np.full((len(runs), len(steps)), np.nan)
    for row, run in enumerate(runs):
        at = np.searchsorted(steps, metric.step[run, real[run]])
        values[row, at] = metric.value[run, real[run]]
        if status[run] == "stopped" and len(at):
            values[row, at[-1] + 1 :] = values[row, at[-1]]
    return steps[steps > 0], values[:, steps > 0]


def _draw_cell(study: Study, cell: Cell, upper: Axes, lower: Axes, title_width: int) -> None:
    place = describe(study.axes, cell.index)
    n = f"n\u00a0=\u00a0{len(cell.runs)}"  # no-break spaces: it stays on one line
    title = f"{place} ({n})" if place else n
    upper.set_title(textwrap.fill(title, min(title_width, 40), break_long_words=False))
    for ax, metric in ((upper, "accuracy"), (lower, "loss")):
        for split, colour in COLOURS.items():
            steps, values = aligned(study, f"{split}_{metric}", cell.runs)
            if metric == "loss":
                values = np.where(values > 0, values, np.nan)
            _draw_bundle(ax, steps, values, colour, NAMES[split])


def _draw_bundle(ax: Axes, steps: np.ndarray, values: np.ndarray, colour: str, label: str) -> None:
    faint = max(0.08, min(0.45, 2.0 / max(len(values), 1)))
    lines = some_rows(values)
    ax.plot(steps, lines.T, color=colour, alpha=faint, linewidth=0.7, rasterized=len(lines) > 50)
    enough = np.isfinite(values).mean(axis=0) >= 0.5
    low, median, high = (
        np.nanquantile(values[:, enough], [0.1, 0.5, 0.9], axis=0)
        if enough.any()
        else np.empty((3, 0))
    )
    ax.fill_between(steps[enough], low, high, color=colour, alpha=0.2, linewidth=0)
    ax.plot(steps[enough], median, color=colour, linewidth=2, label=label)


def _limit(study: Study, grid: np.ndarray) -> None:
    """Set limits also for axes on which nothing is drawn yet: a log scale finds none without data."""
    metric = series(study.dataset, "train_loss")
    steps = metric.step[metric.real & (metric.step > 0)]
    first = float(steps.min()) if steps.size else study.budget / 100
    for ax in grid.flat:
        ax.set_xscale("log")
        # The range spans a decade, so there is a major tick. Labels between major ticks would overlap.
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_xlim(first / 1.2, max(np.max(steps, initial=0.0), 10 * first) * 1.2)
    for upper, lower in zip(grid[::2], grid[1::2], strict=True):
        upper[0].set_ylim(-0.03, 1.03)
        lower[0].set_yscale("log")
        lines = [line for ax in lower for line in ax.lines]
        if not any(np.isfinite(line.get_ydata()).any() for line in lines):
            lower[0].set_ylim(1e-3, 10)


def _label(grid: np.ndarray, count: int, columns: int) -> None:
    """Set labels on the outer axes only, and remove axes without a cell."""
    for row in range(len(grid)):
        grid[row, 0].set_ylabel("loss" if row % 2 else "accuracy")
        for column in range(columns):
            if (row // 2) * columns + column >= count:
                grid[row, column].remove()
            elif row % 2 and (row // 2 + 1) * columns + column >= count:
                grid[row, column].set_xlabel("optimiser steps")
                grid[row, column].tick_params(labelbottom=True)
