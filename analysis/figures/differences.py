"""Two experiments side by side: in each cell that both have, how much later or earlier the second one is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from analysis.comparing import FEWEST, SharedCell
from analysis.figures.style import TRAIN, VAL, add_caption, new_figure, percent, points, short
from analysis.statistics import Interval

ROWS = 40
"""Cells in one figure; more cells make more figures."""
ABOUT = (
    "A row for each cell that both have. Dot: second median minus first, with 95 % limits over draws of runs; "
    "an arrow: no limit on this side. Left of 0 the second one is faster. n: runs of the first and of the second; "
    "p: log-rank, adjusted (Holm) for all cells tested; filled dots have p < 0.05."
)


def draw_differences(
    cells: Sequence[SharedCell], names: tuple[str, str], level: float
) -> Iterator[tuple[str, Figure]]:
    """A figure for each 40 cells, on the same axis."""
    bound = _bound(cells)
    starts = range(0, len(cells), ROWS)
    for page, start in enumerate(starts, 1):
        figure = _page(cells[start : start + ROWS], names, level, bound)
        part = f" Cells {start + 1} to {min(start + ROWS, len(cells))} of {len(cells)}."
        add_caption(figure, f"{names[1]} minus {names[0]}.{part if len(starts) > 1 else ''}", ABOUT)
        yield "differences" if page == 1 else f"differences_{page}", figure


def _page(
    cells: Sequence[SharedCell], names: tuple[str, str], level: float, bound: float
) -> Figure:
    figure = new_figure(7.2, 1.3 + 0.32 * len(cells))
    ax = figure.subplots()
    ax.axvline(0, color="#606060", linewidth=0.8, linestyle=(0, (4, 3)))
    for row, cell in enumerate(cells):
        _draw_row(ax, row, cell, bound)
    ax.set_ylim(len(cells) - 0.4, -0.6)
    ax.set_yticks(range(len(cells)), [cell.label for cell in cells])
    ax.grid(axis="y", visible=False)
    ax.set_xlim(-1.05 * bound, 1.05 * bound)
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: ("−" if x < 0 else "") + short(abs(x))))
    ax.set_xlabel(f"difference of the median steps to {percent(level)} validation accuracy")
    return figure


def _bound(cells: Sequence[SharedCell]) -> float:
    """Half the width of the axis: every estimate, and limits up to three times the farthest estimate."""
    known = [cell.difference for cell in cells if cell.difference is not None]
    farthest = max((abs(d.estimate) for d in known), default=0.0)
    limits = [abs(x) for d in known for x in (d.low, d.high) if math.isfinite(x)]
    widest = max(limits, default=0.0)
    return max(farthest, min(widest, 3 * farthest) if farthest else widest) or 1.0


def _draw_row(ax: Axes, row: int, cell: SharedCell, bound: float) -> None:
    sure = cell.adjusted is not None and cell.adjusted < 0.05
    p = "" if cell.adjusted is None else f", p = {cell.adjusted:.2g}"
    ax.text(1.02, row, f"n = {cell.n[0]}, {cell.n[1]}{p}", transform=ax.get_yaxis_transform(),
            va="center", fontsize=points(8))  # fmt: skip
    if cell.difference is None:
        ax.text(0, row, _reason(cell), ha="center", va="center", fontsize=points(8),
                color="#606060", backgroundcolor="white")  # fmt: skip
        return
    colour = TRAIN if cell.difference.estimate <= 0 else VAL
    _draw_limits(ax, row, cell.difference, bound, colour)
    ax.plot(cell.difference.estimate, row, "o", color=colour, markersize=6,
            markerfacecolor=colour if sure else "white")  # fmt: skip


def _draw_limits(ax: Axes, row: int, d: Interval, bound: float, colour: str) -> None:
    low, high = max(d.low, -bound), min(d.high, bound)
    ax.hlines(row, low, high, color=colour, linewidth=2, alpha=0.6)
    for end, cut, marker in ((low, d.low < -bound, "<"), (high, d.high > bound, ">")):
        if cut:
            ax.plot(end, row, marker, color=colour, markersize=6, alpha=0.6)


def _reason(cell: SharedCell) -> str:
    """Why there is no difference."""
    if min(cell.n) < FEWEST:
        return f"fewer than {FEWEST} runs"
    missing = [math.isinf(m.estimate) for m in cell.medians]
    if all(missing):
        return "both medians beyond the budget"
    if missing[0]:
        return "first median beyond the budget"
    return "second median beyond the budget" if missing[1] else "not observed"
