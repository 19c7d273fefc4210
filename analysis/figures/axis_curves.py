"""Time to generalise against one axis: medians with intervals, and every run as a mark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from analysis.cells import Axis, cells_of
from analysis.figures.panels import file_stem, other_panels, rows_and_columns, shown_values
from analysis.figures.scales import moved, scale
from analysis.figures.style import (
    PALETTE,
    add_caption,
    caption_start,
    definition,
    missing_runs,
    new_figure,
    short,
    time_label,
)
from analysis.study import Study

MAX_LINES = 7
MARKS = (
    "Markers and bars: Kaplan-Meier median and 95 % interval (log-log); a thin line to the top "
    "stands for an interval without an upper limit, and without a marker for a median beyond the "
    "budget. Marks are moved sideways to be told apart."
)


def draw(study: Study) -> Iterator[tuple[str, Figure]]:
    """A figure for each axis; lines are values of the first other axis, panels of the rest."""
    for x in study.axes:
        second = next((axis for axis in study.axes if axis is not x), None)
        yield file_stem("time", x), _draw_axis(study, x, second)


def _draw_axis(study: Study, x: Axis, second: Axis | None) -> Figure:
    panels = other_panels(study, (x,) if second is None else (x, second))
    rows, columns = rows_and_columns(len(panels.cells))
    figure = new_figure(max(4.2 * columns, 6.0), 3.7 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for ax, panel in zip(grid.flat, panels.cells, strict=False):
        _draw_panel(ax, study, x, second, panel.runs)
        ax.set_title(panels.title(panel))
    for place, ax in enumerate(grid.flat):
        ax.tick_params(labelbottom=place + columns >= len(panels.cells))
    for ax in list(grid.flat)[len(panels.cells) :]:
        ax.remove()
    figure.supxlabel(x.label, fontsize=10)
    figure.supylabel(time_label(study), fontsize=10)
    _legend(figure, study, second)
    add_caption(
        figure, caption_start(study), definition(study), MARKS, missing_runs(study), panels.note
    )
    return figure


def _draw_panel(
    ax: Axes, study: Study, x: Axis, second: Axis | None, runs: NDArray[np.int64]
) -> None:
    ceiling = _ceiling(study)
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda steps, _: short(steps)))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_ylim(_floor(study), 1.7 * ceiling)
    ax.axhline(study.budget, color="#606060", linewidth=0.8, linestyle=(0, (4, 3)))
    lines = [None] if second is None else list(shown_values(second, MAX_LINES))
    for order, value in enumerate(lines):
        mine = runs if second is None else runs[second.code[runs] == value]
        width = min(0.8 / len(lines), 0.3)
        centre = (order - (len(lines) - 1) / 2) * width
        _draw_line(ax, study, x, mine, _colour(second, order, len(lines)), centre, width)
    scale(ax, x)


def _draw_line(
    ax: Axes,
    study: Study,
    x: Axis,
    runs: NDArray[np.int64],
    colour: str,
    centre: float,
    width: float,
) -> None:
    """One line in its lane around each value: `centre` and `width` in distances between values."""
    cells = cells_of((x,), runs)
    medians = [study.summary(cell.runs).median for cell in cells]
    # On a log axis, zero is not a place.
    limits = np.maximum([[m.low, m.estimate, m.high] for m in medians], 1.0).reshape(-1, 3)
    at = np.array(
        [moved(x, cell.index[0], centre - 0.2 * width * (len(cell.runs) > 1)) for cell in cells]
    )
    _draw_intervals(ax, at, limits, colour, top=10 * _ceiling(study))
    ax.plot(
        at,
        np.where(np.isfinite(limits[:, 1]), limits[:, 1], np.nan),
        "-o",
        color=colour,
        markersize=6,
    )
    for cell in cells:
        lane = (
            np.linspace(centre, centre + 0.4 * width, len(cell.runs))
            if len(cell.runs) > 1
            else [centre]
        )
        _draw_runs(ax, study, [moved(x, cell.index[0], move) for move in lane], cell.runs, colour)


def _draw_intervals(ax: Axes, at: np.ndarray, limits: np.ndarray, colour: str, top: float) -> None:
    """Bars between the limits; an infinite upper one is a thin line from the median to the top."""
    low, median, high = limits.T
    known, open_end = np.isfinite(low), np.isfinite(low) & np.isinf(high)
    end = np.where(np.isfinite(high), high, np.where(np.isfinite(median), median, low))
    ax.vlines(at[known], low[known], end[known], color=colour, linewidth=2.2, alpha=0.75)
    ax.vlines(at[open_end], end[open_end], top, color=colour, linewidth=0.7, alpha=0.5)


def _draw_runs(
    ax: Axes, study: Study, at: list[float], runs: NDArray[np.int64], colour: str
) -> None:
    """Dots at hits, open triangles at the last look at censored runs, crosses for diverged ones."""
    outcome, places = study.reached.of(runs), np.array(at)
    hit, censored, gone = outcome.hit, outcome.state == "censored", outcome.state == "diverged"
    ax.plot(
        places[hit],
        outcome.upper[hit],
        ".",
        color=colour,
        alpha=0.6,
        markersize=5.5,
        markeredgewidth=0,
    )
    seen = censored & (outcome.lower > 0)
    ax.plot(
        places[seen],
        outcome.lower[seen],
        "^",
        color=colour,
        fillstyle="none",
        markersize=5,
        alpha=0.8,
    )
    ax.plot(
        places[gone],
        np.full(gone.sum(), 1.35 * _ceiling(study)),
        "x",
        color=colour,
        markersize=4.5,
        alpha=0.8,
    )


def _colour(second: Axis | None, order: int, count: int) -> str:
    """Numbers get an ordered palette, names distinct colours."""
    if second is None or not second.numeric or count <= 3:
        return PALETTE[order % len(PALETTE)]
    return to_hex(mpl.colormaps["viridis"](order / (count - 1) * 0.9))


def _ceiling(study: Study) -> float:
    """The budget, or the last time seen where runs were recorded under a larger one."""
    times = study.reached.time
    return float(np.max(times, initial=study.budget, where=np.isfinite(times)))


def _floor(study: Study) -> float:
    times = study.reached.time
    first = float(np.min(times, initial=study.budget / 10, where=np.isfinite(times)))
    return max(first, 1.0) / 1.6


def _legend(figure: Figure, study: Study, second: Axis | None) -> None:
    grey: dict[str, Any] = {"color": "#505050", "linestyle": "none"}
    handles = [
        Line2D([], [], marker=".", label="one run", **grey),
        Line2D([], [], color="#606060", linewidth=0.8, linestyle=(0, (4, 3)), label="budget"),
    ]
    marks: dict[str, dict[str, Any]] = {
        "diverged": {"marker": "x"},
        "censored": {"marker": "^", "fillstyle": "none"},
    }
    for state, mark in marks.items():
        if (study.reached.state == state).any():
            handles.insert(1, Line2D([], [], label=f"{state} run", **mark, **grey))
    if second is not None:
        shown = list(shown_values(second, MAX_LINES))
        for order, value in reversed(list(enumerate(shown))):
            colour = _colour(second, order, len(shown))
            handles.insert(
                0,
                Line2D(
                    [], [], marker="o", color=colour, label=f"{second.label} {second.texts[value]}"
                ),
            )
    figure.legend(handles=handles, loc="outside right upper", fontsize=9)
