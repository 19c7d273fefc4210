"""Median time to generalise over two axes. A cell shows how many of its runs arrived."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.cells import Axis, Cell
from analysis.figures.labels import fit_in_cells, fit_ticks
from analysis.figures.panels import file_stem, lattices, other_panels, pairs, text_size
from analysis.figures.style import (
    add_caption,
    caption_start,
    definition,
    late_runs,
    missing_runs,
    points,
    short,
    time_label,
)
from analysis.statistics import TimeSummary
from analysis.study import Study

UNREACHED = "#E4E4E4"
CELL = (
    "A cell prints the Kaplan-Meier median and how many of its runs arrived. Darker is slower; "
    "grey has no median: most runs did not arrive in the budget"
)


def draw(study: Study) -> Iterator[tuple[str, Figure]]:
    """A heat map for each pair of axes, with a panel for each combination of the remaining ones."""
    for x, y in pairs(study):
        yield file_stem("median_time", x, y), draw_pair(study, x, y)


def draw_pair(study: Study, x: Axis, y: Axis) -> Figure:
    """The medians on a lattice of two axes."""
    panels = other_panels(study, (x, y))
    figure, drawn = lattices(panels, x, y)
    summaries = [[study.summary(cell.runs) for cell in cells] for _, cells in drawn]
    limits = _limits(summaries, study.budget)
    colours = ScalarMappable(LogNorm(*limits), mpl.colormaps["viridis_r"])
    sizes = text_size(x, y, 9.5), text_size(x, y, 7.5)
    for (ax, cells), panel in zip(drawn, summaries, strict=True):
        for cell, summary in zip(cells, panel, strict=True):
            _draw_cell(ax, cell, summary, colours, study.budget, sizes)
    axes = [ax for ax, _ in drawn]
    any_median = any(np.isfinite(s.median.estimate) for panel in summaries for s in panel)
    if any_median:
        _add_bar(figure, axes, colours, limits, time_label(study))
    fit_ticks(figure, axes, turn=True)
    fit_in_cells(figure, axes, len(x.values))
    add_caption(
        *(figure, caption_start(study), definition(study), _explain(study)),
        "" if any_median else "No cell has a median, so there is no scale of colours.",
        *(late_runs(study), missing_runs(study), panels.note),
    )
    return figure


def _add_bar(
    figure: Figure,
    axes: list[Axes],
    colours: ScalarMappable,
    limits: tuple[float, float],
    label: str,
) -> None:
    # A label longer than the bar would extend beyond the figure.
    label = textwrap.fill(label, max(12, int(9 * figure.get_figheight())))
    bar = figure.colorbar(colours, ax=axes, label=label, shrink=0.9)
    ticks = _ticks(*limits)
    bar.set_ticks(ticks, labels=[short(tick) for tick in ticks])
    bar.minorticks_off()


def _explain(study: Study) -> str:
    going = np.isin(study.status, ["waiting", "running"]).any()
    return CELL + (", or ('?') may yet arrive, because some are still training." if going else ".")


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten. If these are more than 9: only the powers. If fewer than 3: rounded steps."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    round_numbers = [m * 10.0**power for power in powers for m in (1, 2, 5)]
    inside = [tick for tick in round_numbers if low <= tick <= high]
    if len(inside) > 9:
        return [tick for tick in inside if np.log10(tick) % 1 == 0]
    if len(inside) > 2:
        return inside
    steps = np.geomspace(low * 1.05, high / 1.05, 3)
    return sorted({float(f"{step:.2g}") for step in steps})


def _limits(summaries: list[list[TimeSummary]], budget: int) -> tuple[float, float]:
    """Limits of the colours, in steps: a little wider than the medians of all panels."""
    medians = [summary.median.estimate for panel in summaries for summary in panel]
    finite = [max(median, 1.0) for median in medians if np.isfinite(median)] or [budget]
    return min(finite) * 0.9, max(finite) * 1.1


def _draw_cell(
    ax: Axes,
    cell: Cell,
    summary: TimeSummary,
    colours: ScalarMappable,
    budget: int,
    sizes: tuple[float, float],
) -> None:
    column, row = cell.index
    median = summary.median.estimate
    colour = to_rgba(UNREACHED)
    if np.isfinite(median):
        colour = colours.to_rgba(np.array([max(median, 1.0)]))[0]
    ax.add_patch(Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=colour))
    ink = "black" if np.dot(colour[:3], [0.299, 0.587, 0.114]) > 0.5 else "white"
    ax.text(
        column,
        row + 0.14,
        _median_text(summary, budget),
        ha="center",
        va="center",
        color=ink,
        fontsize=points(sizes[0]),
    )
    ax.text(
        column,
        row - 0.24,
        f"{summary.hits}/{summary.n}",
        ha="center",
        va="center",
        color=ink,
        fontsize=points(sizes[1]),
    )


def _median_text(summary: TimeSummary, budget: int) -> str:
    """The median; '> budget' without one; '?' if runs in training can still give one; 'not obs.' if not observed."""
    if np.isnan(summary.median.estimate):
        return "not obs."
    if np.isfinite(summary.median.estimate):
        return short(summary.median.estimate)
    may_come = 2 * (summary.hits + summary.undecided) >= summary.n
    return "?" if summary.undecided and may_come else f"> {short(budget)}"
