"""Phases over the grid: a cell has the colour of its most probable phase, and a bar shows the shares over seeds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from analysis.cells import Axis, Cell, cells_of
from analysis.figures.labels import fit_in_cells, fit_ticks, turned_room
from analysis.figures.panels import file_stem, lattices, other_panels, pairs
from analysis.figures.style import (
    PHASE_COLOURS,
    add_caption,
    caption_start,
    new_figure,
    points,
    side_legend,
)
from analysis.phases import PHASES, most_probable, probabilities
from analysis.study import Study

LATTICE = (
    "Tint: the most probable phase (of equals, the first in the legend). Bar: share of each phase "
    "among the cell's runs, whose number "
    "stands above it."
)
BARS = "Bars: share of each phase among the runs, whose number stands above."


def draw(study: Study) -> Iterator[tuple[str, Figure]]:
    """A diagram for each pair of axes, or stacked bars for a single axis."""
    if len(study.axes) == 1:
        yield file_stem("phases", study.axes[0]), draw_single(study, study.axes[0])
    for x, y in pairs(study):
        yield file_stem("phases", x, y), draw_pair(study, x, y)


def draw_pair(study: Study, x: Axis, y: Axis) -> Figure:
    """A lattice of two axes."""
    panels = other_panels(study, (x, y))
    figure, drawn = lattices(panels, x, y)
    for ax, cells in drawn:
        for cell in cells:
            _draw_cell(ax, cell, study.phases[cell.runs])
    _legend(figure, study)
    fit_ticks(figure, [ax for ax, _ in drawn], turn=True)
    fit_in_cells(figure, [ax for ax, _ in drawn], len(x.values))
    add_caption(figure, caption_start(study), LATTICE, _rule(study), panels.note)
    return figure


def _draw_cell(ax: Axes, cell: Cell, phases: np.ndarray) -> None:
    column, row = cell.index
    tint = PHASE_COLOURS[most_probable(phases)]
    ax.add_patch(
        Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=tint, alpha=0.4, linewidth=0)
    )
    ax.text(column, row + 0.16, str(len(phases)), ha="center", va="center", fontsize=points(9))
    left = column - 0.38
    for phase, share in probabilities(phases).items():
        width = 0.76 * share
        ax.add_patch(
            Rectangle((left, row - 0.32), width, 0.26, facecolor=PHASE_COLOURS[phase], linewidth=0)
        )
        left += width


def draw_single(study: Study, x: Axis) -> Figure:
    """Stacked bars over one axis."""
    # Bars are 0.7 inches wide, or narrower if there are many, but with room for a number above each.
    bar = min(0.7, max(0.4, 9 / len(x.values)))
    figure = new_figure(max(bar * len(x.values) + 2.5, 5.5), 3.2 + turned_room(x, bar))
    ax = figure.subplots()
    cells = cells_of((x,), study.everyone)
    at, bottom = np.array([cell.index[0] for cell in cells]), np.zeros(len(cells))
    for phase in PHASES:
        share = np.array([probabilities(study.phases[cell.runs])[phase] for cell in cells])
        ax.bar(at, share, 0.8, bottom, color=PHASE_COLOURS[phase])
        bottom += share
    for cell in cells:
        ax.text(
            cell.index[0], 1.02, str(len(cell.runs)), ha="center", va="bottom", fontsize=points(9)
        )
    ax.set_xticks(at, [x.ticks[i] for i in at])
    ax.set(xlabel=x.label, ylabel="share of runs", ylim=(0, 1.12))
    _legend(figure, study)
    fit_ticks(figure, [ax], turn=True)
    add_caption(figure, caption_start(study), BARS, _rule(study))
    return figure


def _rule(study: Study) -> str:
    return (
        f"Phases after Liu et al. (2022); {study.rule.describe()}; memorisation: validation has not "
        "arrived by the end of the budget."
    )


def _legend(figure: Figure, study: Study) -> None:
    present = [phase for phase in PHASES if (study.phases == phase).any()]
    handles = [Patch(facecolor=PHASE_COLOURS[phase], label=phase) for phase in present]
    side_legend(figure, handles)
