"""Times of configurations side by side: bars of medians, one time against another, two settings on one axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from analysis.figures.lines import colour_and_marker
from analysis.figures.probe_curves import colours
from analysis.figures.style import PALETTE, add_caption, new_figure, short
from analysis.statistics import Interval

BARS = (
    "Bars: Kaplan-Meier medians with 95 % intervals; a hatched bar has no median within the budget "
    "(dashed line), '?' may yet get one. Above each: how many of its runs arrived."
)
SCATTER = (
    "A mark for each run; an open triangle points to where a run lies that did not arrive within the budget. "
    "Dashed: equal times."
)
BEST = (
    "Lines: medians over runs of the largest validation accuracy that a run was evaluated at. Dots: single runs. "
    "Lines and dots stand a little to the side of the values ticked, to be told apart."
)
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Bar:
    """A median time, and how many of n runs arrived."""

    median: Interval
    hits: int
    n: int


@dataclass(frozen=True)
class Times:
    """Times of the runs of one configuration; inf: beyond the budget, NaN: not known."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]


def bars(rows: Mapping[str, Mapping[str, Bar]], budget: float, label: str, about: str) -> Figure:
    """Bars on a log axis. `rows`: group -> what is timed -> its summary."""
    series = list(next(iter(rows.values())))
    figure = new_figure(max(1.1 * len(rows) * max(len(series), 1) ** 0.7 + 2.2, 6.0), 4.0)
    ax = figure.subplots()
    width = 0.8 / len(series)
    for place, timed in enumerate(rows.values()):
        for order, name in enumerate(series):
            at = place + (order - (len(series) - 1) / 2) * width
            _draw_bar(ax, at, 0.92 * width, timed[name], budget, PALETTE[order])
    ax.axhline(budget, color="#606060", linewidth=0.8, linestyle=(0, (4, 3)))
    lowest = min(
        (x for r in rows.values() for s in r.values() if 0 < (x := _least(s.median)) < math.inf),
        default=1.0,
    )
    _log_time(ax, "y", (min(lowest, budget / 10) / 2, 2.2 * budget), label)
    ax.set_xticks(range(len(rows)), list(rows))
    ax.grid(axis="x", visible=False)
    handles = [Line2D([], [], color=PALETTE[i], linewidth=6, label=s) for i, s in enumerate(series)]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(series))
    add_caption(figure, about, BARS)
    return figure


def _least(m: Interval) -> float:
    """Lower limit of a median, or its estimate if it has no limits."""
    return m.low if math.isfinite(m.low) else m.estimate


def _draw_bar(ax: Axes, at: float, width: float, bar: Bar, budget: float, colour: str) -> None:
    m = bar.median
    if math.isnan(m.estimate):
        ax.text(at, 1.08 * budget, f"?\n{bar.hits}/{bar.n}", ha="center", va="bottom", fontsize=8)
        return
    known = math.isfinite(m.estimate)
    top = m.estimate if known else budget
    style: dict[str, Any] = (
        {"color": colour, "alpha": 0.75} if known else {"facecolor": "none", "hatch": "///"}
    )
    ax.bar(at, top, width, edgecolor=colour, linewidth=0.8, **style)
    if known and math.isfinite(m.low):
        high = min(m.high, 1.6 * budget)
        ax.vlines(at, m.low, high, color="#202020", linewidth=1.3)
        top = max(top, high)
    ax.text(at, 1.08 * top, f"{bar.hits}/{bar.n}", ha="center", va="bottom", fontsize=8)


def scatter(points: Mapping[str, Times], budget: float, x: str, y: str, about: str) -> Figure:
    """Two times of each run, one against the other."""
    figure = new_figure(6.4, 4.6)
    ax = figure.subplots()
    known = [v for t in points.values() for v in (*t.x, *t.y) if math.isfinite(v) and v > 0]
    low, high = 0.7 * min(known, default=1.0), 1.5 * budget
    for (name, times), colour in zip(points.items(), colours(list(points)), strict=True):
        _draw_points(ax, times, 1.2 * budget, colour, f"{name} (n = {len(times.x)})")
    ax.plot([low, high], [low, high], color="#606060", linewidth=0.8, linestyle=(0, (4, 3)))
    _log_time(ax, "x", (low, high), x)
    _log_time(ax, "y", (low, high), y)
    figure.legend(loc="outside right upper", fontsize=9)
    add_caption(figure, about, SCATTER)
    return figure


def _draw_points(ax: Axes, times: Times, edge: float, colour: str, label: str) -> None:
    both = np.isfinite(times.x) & np.isfinite(times.y)
    ax.plot(times.x[both], times.y[both], "o", color=colour, alpha=0.8, markersize=5, label=label)
    late = ~both & ~np.isnan(times.x) & ~np.isnan(times.y)
    x, y = np.minimum(times.x[late], edge), np.minimum(times.y[late], edge)
    right = np.isinf(times.x[late])
    for marker, chosen in ((">", right), ("^", ~right)):
        ax.plot(x[chosen], y[chosen], marker, color=colour, fillstyle="none", markersize=6)


def two_axes(
    upper: tuple[str, Sequence[float], Sequence[Interval]],
    lower: tuple[str, Sequence[float], Sequence[Interval]],
    budget: float,
    label: str,
    about: str,
) -> Figure:
    """Median times against two settings, one on the upper and one on the lower axis."""
    figure = new_figure(6.4, 4.4)
    ax = figure.subplots()
    other = ax.twiny()
    other.grid(False)
    other.spines["top"].set_visible(True)
    for axis, (name, values, medians), colour in zip(
        (ax, other), (lower, upper), PALETTE, strict=False
    ):
        _draw_line(axis, np.asarray(values, float), medians, budget, colour)
        axis.set_xscale("log")
        axis.set_xticks(list(values), [f"{v:g}" for v in values])
        axis.set_xticks([], minor=True)
        axis.set_xlabel(name, color=colour)
        axis.tick_params(axis="x", colors=colour)
    ax.axhline(budget, color="#606060", linewidth=0.8, linestyle=(0, (4, 3)))
    lowest = min(
        (x for _, _, ms in (upper, lower) for m in ms if 0 < (x := _least(m)) < math.inf),
        default=budget / 10,
    )
    _log_time(ax, "y", (lowest / 1.5, 1.6 * budget), label)
    add_caption(figure, about, "Kaplan-Meier medians with 95 % intervals; an open triangle has no median within the "
                "budget (dashed line).")  # fmt: skip
    return figure


def _draw_line(
    ax: Axes, values: np.ndarray, medians: Sequence[Interval], budget: float, colour: str
) -> None:
    estimate = np.array([m.estimate for m in medians])
    known = np.isfinite(estimate)
    ax.plot(values[known], estimate[known], "-o", color=colour, markersize=6)
    ax.plot(
        values[~known], np.full((~known).sum(), 1.15 * budget), "^", color=colour, fillstyle="none"
    )
    for value, m in zip(values, medians, strict=True):
        if math.isfinite(m.low) and math.isfinite(m.estimate):
            ax.vlines(value, m.low, min(m.high, 1.4 * budget), color=colour, linewidth=2, alpha=0.6)


def _log_time(ax: Axes, which: str, limits: tuple[float, float], label: str) -> None:
    axis = ax.yaxis if which == "y" else ax.xaxis
    (ax.set_yscale if which == "y" else ax.set_xscale)("log")
    wide = limits[1] / limits[0] > 100
    axis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda steps, _: short(steps)))
    axis.set_minor_formatter(NullFormatter())
    (ax.set_ylim if which == "y" else ax.set_xlim)(*limits)
    (ax.set_ylabel if which == "y" else ax.set_xlabel)(label)


def best_lines(lines: Mapping[str, tuple[Numbers, Numbers]], x_label: str, about: str) -> Figure:
    """A line for each configuration, from the setting and the best accuracy of each of its runs."""
    figure = new_figure(7.6, 4.2)
    ax = figure.subplots()
    places = sorted({at for x, _ in lines.values() for at in x.tolist()})
    gap = min(np.diff(places), default=0.1)
    for order, (name, (x, best)) in enumerate(lines.items()):
        colour, marker = colour_and_marker(order)
        aside = 0.12 * gap * (order / (len(lines) - 1) - 0.5) if len(lines) > 1 else 0.0
        own = np.unique(x[np.isfinite(best)])
        medians = [float(np.nanmedian(best[x == at])) for at in own]
        ax.plot(own + aside, medians, color=colour, marker=marker, markersize=5, label=name)
        ax.plot(x + aside, best, ".", color=colour, markersize=4, alpha=0.6)
    ax.set(xlabel=x_label, ylabel="best validation accuracy", ylim=(-0.03, 1.05))
    ax.set_xticks(places)
    figure.legend(loc="outside right upper", fontsize=8)
    add_caption(figure, about, BEST)
    return figure
