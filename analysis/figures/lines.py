"""How the lines of a figure are named: in a legend for few values and for names, on a colour bar for many numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.cells import Axis
from analysis.figures.labels import fit_vertical_ticks
from analysis.figures.panels import shown_values
from analysis.figures.style import PALETTE

MARKERS = ("o", "s", "D", "P", "*")
MOST_NAMES = len(PALETTE) * len(MARKERS)
"""Largest number of names whose colour and marker together are different."""
MOST_IN_LEGEND = 7
"""Largest number of numeric values with an entry each in the legend; more of them get a colour bar."""


def colour_and_marker(order: int) -> tuple[str, str]:
    """Of the line in this place; after MOST_NAMES they come again."""
    return PALETTE[order % len(PALETTE)], MARKERS[order // len(PALETTE) % len(MARKERS)]


@dataclass(frozen=True)
class Line:
    """The line of one value of an axis (its index). `value` None: the line of all runs."""

    value: int | None
    colour: str
    marker: str = "o"


def lines_of(axis: Axis | None) -> list[Line]:
    """A line for every value: numbers in an ordered palette, names in different colours and markers."""
    if axis is None:
        return [Line(None, PALETTE[0])]
    count = len(axis.values)
    if axis.numeric and count > 3:
        shades = mpl.colormaps["viridis"](np.linspace(0, 0.9, count))
        return [Line(value, to_hex(shade)) for value, shade in enumerate(shades)]
    shown = shown_values(axis, MOST_NAMES)
    return [Line(v, *colour_and_marker(i)) for i, v in enumerate(shown)]


def has_colour_bar(axis: Axis | None) -> bool:
    """Whether a legend would be too long for the values."""
    return axis is not None and axis.numeric and len(axis.values) > MOST_IN_LEGEND


def legend_entries(axis: Axis | None) -> list[Line2D]:
    """An entry for each line; none if there is a colour bar."""
    if axis is None or has_colour_bar(axis):
        return []
    return [
        Line2D([], [], marker=line.marker, color=line.colour,
               label=f"{axis.label} {axis.texts[line.value]}")
        for line in lines_of(axis) if line.value is not None
    ]  # fmt: skip


def add_colour_bar(figure: Figure, panels: Sequence[Axes], axis: Axis) -> Axes:
    """A bar with one field for each value. Fields are equal, because the distances of the values can have any size."""
    count = len(axis.values)
    colours = ListedColormap([line.colour for line in lines_of(axis)])
    norm = BoundaryNorm(np.arange(count + 1) - 0.5, count)
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=list(panels), label=axis.label)
    bar.set_ticks(list(range(count)), labels=axis.ticks)
    bar.minorticks_off()
    fit_vertical_ticks(figure, bar.ax)
    return bar.ax


def left_out(axis: Axis | None) -> str:
    """A sentence for the caption if not every value has a line."""
    if axis is None or axis.numeric or len(axis.values) <= MOST_NAMES:
        return ""
    return f"{len(axis.values)} values of {axis.label}, {MOST_NAMES} of them shown, evenly spaced."
