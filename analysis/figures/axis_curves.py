"""Time to generalise against one axis: medians with intervals, and every run as a mark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from analysis.cells import Axis, cells_of
from analysis.figures.against_axis import WIDEST, frame, lanes
from analysis.figures.labels import fit_texts, fit_ticks
from analysis.figures.lines import MOST_IN_LEGEND, Line, lines_of
from analysis.figures.panels import file_stem
from analysis.figures.scales import moved, scale
from analysis.figures.style import (
    add_caption,
    arrivals,
    caption_start,
    definition,
    late_runs,
    missing_runs,
    points,
    short,
    time_label,
)
from analysis.study import Study

MARKS = (
    "Markers and bars: Kaplan-Meier median and 95 % interval (log-log), of two runs or more; a thin "
    "line to the top stands for an interval without an upper limit, and without a marker for a "
    "median beyond the budget. Marks stand at the values ticked, a little to their sides to be "
    "told apart."
)
FEW_MARKS = (
    "Markers: Kaplan-Meier medians. With so many lines their intervals and the times of single runs "
    "are left out (the tables cells.csv and runs.csv have them). Marks stand at the values ticked, a "
    "little to their sides to be told apart."
)
COUNTS = "Above: how many of the runs at a value arrived."
MOST_COUNTS = 12
"""Largest number of values on an axis for which counts have room."""
MEDIANS = "medians"
ABOVE, DIVERGED_AT = 0.2, 0.07
"""Heights above the budget line, as shares of the height below it: of the room there, and of the crosses in it."""


def draw(study: Study) -> Iterator[tuple[str, Figure]]:
    """A figure for each axis. Lines are the values of the first other axis, panels those of the remaining axes."""
    for x in study.axes:
        second = next((axis for axis in study.axes if axis is not x), None)
        yield file_stem("time", x), draw_axis(study, x, second)


def draw_axis(study: Study, x: Axis, second: Axis | None) -> Figure:
    """Time against one axis, with a line for each value of the second."""
    whole = len(lines_of(second)) <= MOST_IN_LEGEND
    framed = frame(study, x, second, time_label(study), _marks_of_legend(study, whole))
    for ax, panel in framed.panels:
        _draw_panel(ax, study, x, second, panel.runs)
    counts = [text for ax, p in framed.panels for text in _draw_counts(ax, study, x, p.runs)]
    counted = bool(counts) and fit_texts(framed.figure, counts)
    fit_ticks(framed.figure, framed.axes, turn=not x.numeric)
    add_caption(
        *(
            framed.figure,
            caption_start(study),
            definition(study),
            MARKS if whole else FEW_MARKS,
            COUNTS if counted else "",
        ),
        *(late_runs(study), missing_runs(study), *framed.notes),
    )
    return framed.figure


def _draw_panel(
    ax: Axes, study: Study, x: Axis, second: Axis | None, runs: NDArray[np.int64]
) -> None:
    _scale_time(ax, study)
    whole = len(lines_of(second)) <= MOST_IN_LEGEND
    for line, mine, lane in lanes(second, runs):
        _draw_line(ax, study, x, mine, line, lane, whole)
    scale(ax, x)
    if not study.reached.of(runs).hit.any():
        ax.text(*(0.5, 0.45, arrivals(study, runs)), transform=ax.transAxes, ha="center",
                va="center", fontsize=points(9), color="#303030")  # fmt: skip


def _scale_time(ax: Axes, study: Study) -> None:
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda steps, _: short(steps)))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_ylim(_floor(study), _above(study, ABOVE))
    ax.axhline(study.budget, color="#606060", linewidth=0.8, linestyle=(0, (4, 3)))


def _draw_line(
    ax: Axes,
    study: Study,
    x: Axis,
    runs: NDArray[np.int64],
    line: Line,
    lane: tuple[float, float],
    whole: bool,
) -> None:
    """Draw one line in its lane (centre, width) around each value, with runs to the right of the medians.

    `whole` false: only the medians, and the runs that have no time.
    """
    centre, width = lane
    cells = cells_of((x,), runs)
    medians = [study.summary(cell.runs).median for cell in cells]
    # A log axis has no zero.
    limits = np.maximum([[m.low, m.estimate, m.high] for m in medians], 1.0).reshape(-1, 3)
    several = np.array([whole and len(cell.runs) > 1 for cell in cells], bool)
    aside = 0.2 * width * several * (width < WIDEST)
    at = np.array([moved(x, c.index[0], centre - a) for c, a in zip(cells, aside, strict=True)])
    _draw_intervals(ax, at[several], limits[several], line.colour, top=10 * _ceiling(study))
    known = np.where(np.isfinite(limits[:, 1]), limits[:, 1], np.nan)
    # Names have no line between them, because there are no values between names.
    ax.plot(at, known, linestyle="-" if x.numeric else "none", marker=line.marker,
            color=line.colour, markersize=6 if whole else 4, gid=MEDIANS)  # fmt: skip
    for cell in cells:
        shares = centre + np.linspace(0.1, 0.5, len(cell.runs)) * width * (len(cell.runs) > 1)
        places = [moved(x, cell.index[0], share) for share in shares]
        _draw_runs(ax, study, places, cell.runs, line.colour, whole)


def _draw_intervals(ax: Axes, at: np.ndarray, limits: np.ndarray, colour: str, top: float) -> None:
    """Bars between the limits. An infinite upper limit is a thin line from the median to the top."""
    low, median, high = limits.T
    known, open_end = np.isfinite(low), np.isfinite(low) & np.isinf(high)
    end = np.where(np.isfinite(high), high, np.where(np.isfinite(median), median, low))
    ax.vlines(at[known], low[known], end[known], color=colour, linewidth=2.2, alpha=0.75)
    ax.vlines(at[open_end], end[open_end], top, color=colour, linewidth=0.7, alpha=0.5)


def _draw_runs(
    ax: Axes, study: Study, at: list[float], runs: NDArray[np.int64], colour: str, hits: bool
) -> None:
    """Dots: hits. Triangles (censored) and plus signs (not observed): last evaluations. Crosses: diverged runs."""
    outcome, places = study.reached.of(runs), np.array(at)
    seen, crosses = outcome.lower > 0, np.full(len(runs), _above(study, DIVERGED_AT))
    for state, height, mark in (
        ("hit", outcome.upper, {"marker": ".", "markersize": 5.5, "markeredgewidth": 0}),
        ("censored", outcome.lower, {"marker": "^", "markersize": 5, "fillstyle": "none"}),
        ("not observed", outcome.lower, {"marker": "+", "markersize": 5}),
        ("diverged", crosses, {"marker": "x", "markersize": 4.5}),
    ):
        chosen = (outcome.state == state) & (hits if state == "hit" else seen)
        style: dict[str, Any] = {**mark, "color": colour, "linestyle": "none"}
        ax.plot(places[chosen], height[chosen], alpha=0.7, **style)


def _draw_counts(ax: Axes, study: Study, x: Axis, runs: NDArray[np.int64]) -> list[Text]:
    """At the top of each value, how many of its runs arrived."""
    if len(x.values) > MOST_COUNTS:
        return []
    hits = [(cell.index[0], study.reached.of(cell.runs).hit) for cell in cells_of((x,), runs)]
    return [
        ax.text(*(moved(x, index, 0), 0.995, f"{hit.sum()}/{len(hit)}"), color="#505050",
                transform=ax.get_xaxis_transform(), ha="center", va="top", fontsize=points(7.5),
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})
        for index, hit in hits
    ]  # fmt: skip


def _ceiling(study: Study) -> float:
    """The budget, or the last hit if runs were recorded with a larger budget."""
    times = study.reached.time
    return float(np.max(times, initial=study.budget, where=np.isfinite(times)))


def _floor(study: Study) -> float:
    times = study.reached.time
    first = float(np.min(times, initial=study.budget / 10, where=np.isfinite(times)))
    return max(first, 1.0) / 1.6


def _above(study: Study, share: float) -> float:
    """A time above the budget line; `share`: its height above the line, as a share of the height below."""
    return _ceiling(study) * (_ceiling(study) / _floor(study)) ** share


def _marks_of_legend(study: Study, hits: bool) -> list[Line2D]:
    """An entry for each kind of mark that is drawn. `hits` false: none for runs that arrived."""
    grey: dict[str, Any] = {"color": "#505050", "linestyle": "none"}
    marks: dict[str, dict[str, Any]] = {
        "hit": {"marker": ".", "label": "one run"},
        "censored": {"marker": "^", "fillstyle": "none", "label": "not by then (censored)"},
        "not observed": {"marker": "+", "label": "ended before (not observed)"},
        "diverged": {"marker": "x", "label": "diverged run"},
    }
    return [
        *(Line2D([], [], **mark, **grey) for state, mark in marks.items()
          if (study.reached.state == state).any() and (hits or state != "hit")),
        Line2D([], [], color="#606060", linewidth=0.8, linestyle=(0, (4, 3)), label="budget"),
    ]  # fmt: skip
