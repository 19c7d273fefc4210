"""Best validation accuracy within the budget against one axis: medians with intervals, and every run as a mark.

The figure of Power et al. 2022 (figure 2): it also tells apart runs that never reach the level.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from analysis import readings
from analysis.cells import Axis, cells_of
from analysis.figures.against_axis import WIDEST, frame, lanes
from analysis.figures.labels import fit_ticks
from analysis.figures.lines import MOST_IN_LEGEND, Line, lines_of
from analysis.figures.panels import file_stem
from analysis.figures.scales import moved, scale
from analysis.figures.style import add_caption, caption_start, missing_runs, percent
from analysis.statistics import median_interval
from analysis.study import Study

MARKS = (
    "Markers and bars: medians over runs and their 95 % intervals (order statistics, from six runs on). "
    "Dots: single runs. Each run counts with the largest validation accuracy that it was evaluated at, also if it "
    "diverged later or the stop rule ended it. Dashed: the level. "
    "Marks stand at the values ticked, a little to their sides to be told apart."
)
FEW_MARKS = (
    "Markers: medians over runs. With so many lines single runs and intervals are left out (runs.csv has the "
    "runs). Each run counts with the largest validation accuracy that it was evaluated at, also if it diverged later."
)
MEDIANS, RUNS = "best medians", "best runs"


def draw(study: Study) -> Iterator[tuple[str, Figure]]:
    """A figure for each axis; none if every run reached the level, because then every best is about the same."""
    if study.reached.hit.all():
        return
    for x in study.axes:
        second = next((axis for axis in study.axes if axis is not x), None)
        yield file_stem("best", x), draw_axis(study, x, second)


def draw_axis(study: Study, x: Axis, second: Axis | None) -> Figure:
    """Best accuracy against one axis, with a line for each value of the second."""
    best = readings.peak(study.dataset, "val_accuracy")[0]
    whole = len(lines_of(second)) <= MOST_IN_LEGEND
    level = Line2D(
        [], [], color="#606060", linewidth=0.8, linestyle=(0, (4, 3)), label=percent(study.level)
    )
    one = Line2D([], [], color="#505050", linestyle="none", marker=".", label="one run")
    framed = frame(study, x, second, "best validation accuracy", [one, level] if whole else [level])
    for ax, panel in framed.panels:
        ax.set_ylim(-0.03, 1.05)
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        ax.axhline(study.level, color="#606060", linewidth=0.8, linestyle=(0, (4, 3)))
        for line, mine, lane in lanes(second, panel.runs):
            _draw_line(ax, best, x, mine, line, lane, whole)
        scale(ax, x)
    fit_ticks(framed.figure, framed.axes, turn=not x.numeric)
    marks = MARKS if whole else FEW_MARKS
    add_caption(framed.figure, caption_start(study), marks, missing_runs(study), *framed.notes)
    return framed.figure


def _draw_line(
    ax: Axes,
    best: NDArray[np.float64],
    x: Axis,
    runs: NDArray[np.int64],
    line: Line,
    lane: tuple[float, float],
    whole: bool,
) -> None:
    """Medians in a lane (centre, width) around each value, with single runs to their right."""
    centre, width = lane
    cells = [cell for cell in cells_of((x,), runs) if np.isfinite(best[cell.runs]).any()]
    values = [best[cell.runs][np.isfinite(best[cell.runs])] for cell in cells]
    limits = np.array([[m.low, m.estimate, m.high] for m in map(median_interval, values)])
    low, median, high = limits.reshape(-1, 3).T
    several = np.array([whole and len(v) > 1 for v in values], bool)
    aside = 0.2 * width * several * (width < WIDEST)
    at = np.array([moved(x, c.index[0], centre - a) for c, a in zip(cells, aside, strict=True)])
    known = several & np.isfinite(low) & np.isfinite(high)
    ax.vlines(at[known], low[known], high[known], color=line.colour, linewidth=2.2, alpha=0.75)
    ax.plot(at, median, linestyle="-" if x.numeric else "none", marker=line.marker,
            color=line.colour, markersize=6 if whole else 4, gid=MEDIANS)  # fmt: skip
    if not whole:
        return
    for cell, own in zip(cells, values, strict=True):
        shares = centre + np.linspace(0.1, 0.5, len(own)) * width * (len(own) > 1)
        places = [moved(x, cell.index[0], share) for share in shares]
        ax.plot(places, own, marker=".", markersize=5.5, markeredgewidth=0, color=line.colour,
                linestyle="none", alpha=0.7, gid=RUNS)  # fmt: skip
