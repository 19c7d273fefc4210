"""The frame of figures with one axis of the grid across: panels, a line for each value of a second axis, a legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from analysis.cells import Axis, Cell
from analysis.figures.labels import turned_room
from analysis.figures.lines import (
    Line,
    add_colour_bar,
    has_colour_bar,
    left_out,
    legend_entries,
    lines_of,
)
from analysis.figures.panels import other_panels, rows_and_columns
from analysis.figures.scales import spacing_note
from analysis.figures.style import new_figure, points, side_legend
from analysis.study import Study

WIDEST = 0.7
"""Largest width of a lane, as a share of how far marks may be moved. So two or three lines are close together."""


@dataclass(frozen=True)
class Framed:
    """A figure without its data. `notes`: sentences for its caption, some of them empty."""

    figure: Figure
    panels: list[tuple[Axes, Cell]]
    notes: tuple[str, ...]

    @property
    def axes(self) -> list[Axes]:
        return [ax for ax, _ in self.panels]


def frame(
    study: Study, x: Axis, second: Axis | None, y_label: str, marks: Sequence[Line2D]
) -> Framed:
    """A panel for each combination of the axes that are neither x nor second. `marks`: more entries of the legend."""
    panels = other_panels(study, (x,) if second is None else (x, second))
    rows, columns = rows_and_columns(len(panels.cells))
    handles = [*legend_entries(second), *marks]
    width = max(4.2 * columns, 6.4, min(0.45 * len(x.values) + 2.5, 9.0))
    names = turned_room(x, 0.7 * width / columns / len(x.values))
    figure = new_figure(width, max(3.7 * rows + names, 0.2 * len(handles) + 0.4))
    grid = list(figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat)
    used, unused = grid[: len(panels.cells)], grid[len(panels.cells) :]
    for place, (ax, panel) in enumerate(zip(used, panels.cells, strict=True)):
        ax.set_title(panels.title(panel))
        ax.tick_params(labelbottom=place + columns >= len(panels.cells))
    for ax in unused:
        ax.remove()
    figure.supxlabel(x.label, fontsize=points(10))
    figure.supylabel(y_label, fontsize=points(10))
    _add_legend(figure, used, second, handles)
    notes = (spacing_note(x), left_out(second), panels.note)
    return Framed(figure, list(zip(used, panels.cells, strict=True)), notes)


def _add_legend(
    figure: Figure, axes: list[Axes], second: Axis | None, handles: list[Line2D]
) -> None:
    if second is not None and has_colour_bar(second):
        figure.legend(
            handles=handles,
            loc="outside upper center",
            ncols=max(1, len(handles)),
            fontsize=points(9),
        )
        add_colour_bar(figure, axes, second)
    else:
        side_legend(figure, handles)


def lanes(
    second: Axis | None, runs: NDArray[np.int64]
) -> list[tuple[Line, NDArray[np.int64], tuple[float, float]]]:
    """Each line, its runs, and its lane (centre, width) around each value, so that lines are told apart."""
    lines = lines_of(second)
    width = min(2 / len(lines), WIDEST) if len(lines) > 1 else 2.0
    found = []
    for order, line in enumerate(lines):
        mine = runs if second is None else runs[second.code[runs] == line.value]
        found.append((line, mine, ((order - (len(lines) - 1) / 2) * width, width)))
    return found
