"""Which axes become panels, and the lattice that heat maps and phase diagrams share."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.cells import Axis, Cell, cells_of, describe
from analysis.figures.labels import name_room, turned_room
from analysis.figures.style import new_figure
from analysis.study import Study

MAX_PANELS = 6
MAX_PAIRS = 10
MAX_COLUMNS = 3
# For titles, with a margin.
CHARACTERS_PER_INCH = 11
# In inches: largest width of a figure with panels side by side; width of a cell, its smallest width, and the width of
# all cells of a row.
MAX_WIDTH = 16.0
CELL, SMALLEST_CELL, ROOM = 0.72, 0.5, 9.0


@dataclass(frozen=True)
class Panels:
    """The panels of a figure: cells of the axes that it does not draw. `total`: how many there are, also not shown."""

    axes: tuple[Axis, ...]
    cells: list[Cell]
    total: int

    @property
    def note(self) -> str:
        """A sentence for the caption if some were left out."""
        shown = len(self.cells)
        return f"{shown} of {self.total} panels shown, evenly spaced." if shown < self.total else ""

    def title(self, cell: Cell) -> str:
        return describe(self.axes, cell.index)


def other_panels(study: Study, drawn: tuple[Axis, ...]) -> Panels:
    """A panel for each combination of the axes not drawn; at most MAX_PANELS, evenly spaced."""
    rest = tuple(axis for axis in study.axes if all(axis is not other for other in drawn))
    cells = cells_of(rest, study.everyone)
    return Panels(rest, evenly(cells, MAX_PANELS), len(cells))


def evenly(items: list[Cell], most: int) -> list[Cell]:
    """At most `most` items, evenly spaced, the first and the last included."""
    if len(items) <= most:
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]


def pairs(study: Study) -> list[tuple[Axis, Axis]]:
    """(horizontal, vertical) pairs of axes, at most MAX_PAIRS."""
    return list(combinations(study.axes, 2))[:MAX_PAIRS]


def file_stem(kind: str, *axes: Axis) -> str:
    """A file name, without its ending, that gives the kind of figure and its axes."""
    return "_".join([kind, *(axis.name.replace(", ", "+").replace("/", "-") for axis in axes)])


def rows_and_columns(count: int) -> tuple[int, int]:
    """Rows and columns of a figure with `count` panels."""
    columns = 2 if count == 4 else min(count, MAX_COLUMNS)
    return math.ceil(count / columns), columns


def lattices(panels: Panels, x: Axis, y: Axis) -> tuple[Figure, list[tuple[Axes, list[Cell]]]]:
    """A figure with one lattice of x by y for each panel, and the cells to draw in each.

    Labels can overlap until `fit_ticks` is called on the whole figure.
    """
    side = cell_side(x, y)
    width = side * len(x.values) + 0.9 + name_room(y)
    height = 0.86 * side * len(y.values) + 0.9 + turned_room(x, side)
    most = max(1, int(MAX_WIDTH / width))
    columns = min(rows_and_columns(len(panels.cells))[1], most)
    rows = math.ceil(len(panels.cells) / columns)
    width = max(width, 3.7 / columns)
    figure = new_figure(columns * width + 1.3, rows * height)
    grid = figure.subplots(rows, columns, squeeze=False)
    drawn = []
    for ax, panel in zip(grid.flat, panels.cells, strict=False):
        title = textwrap.fill(panels.title(panel), int(CHARACTERS_PER_INCH * width))
        _frame(ax, x, y, title)
        drawn.append((ax, cells_of((x, y), panel.runs)))
    for ax in list(grid.flat)[len(panels.cells) :]:
        ax.remove()
    return figure, drawn


def cell_side(x: Axis, y: Axis) -> float:
    """Width of a lattice's cell in inches: smaller for many values, so that the figure fits on a page."""
    return min(CELL, max(SMALLEST_CELL, ROOM / max(len(x.values), len(y.values))))


def text_size(x: Axis, y: Axis, points: float) -> float:
    """A font size for the text in a cell, from the one in a cell of full size."""
    return points * min(1.0, cell_side(x, y) / 0.6)


def _frame(ax: Axes, x: Axis, y: Axis, title: str) -> None:
    """Set ticks at equal distances for any values, because a lattice is a table."""
    ax.set(
        xlim=(-0.5, len(x.values) - 0.5),
        ylim=(-0.5, len(y.values) - 0.5),
        xlabel=x.label,
        ylabel=y.label,
    )
    ax.set_xticks(range(len(x.values)), x.ticks)
    ax.set_yticks(range(len(y.values)), y.ticks)
    ax.set_title(title)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


def shown_values(axis: Axis, most: int) -> Iterator[int]:
    """Indices of at most `most` of an axis's values, evenly spaced."""
    count = len(axis.values)
    yield from np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()
