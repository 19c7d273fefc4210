"""Any probe against time, raw values: single runs faint, the median and the 10-90 % band strong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.figures.style import PALETTE, add_caption, new_figure, room, some_rows
from analysis.readings import common_grid

RAW = (
    "Raw values at the evaluations where they were measured, no smoothing. Thin lines: single runs, 200 of them "
    "where there are more; "
    "thick line and band: median and 10-90 % quantiles over runs, wherever at least half of them "
    "have a value. A run that the stop rule ended keeps its last value."
)
Groups = Mapping[str, xr.Dataset]
"""Runs by their name in the legend."""


@dataclass(frozen=True)
class Curve:
    """One panel: a probe, its axis label, and whether its axis is logarithmic. `also`: a second probe, whose median is
    dashed."""

    probe: str
    label: str
    log: bool = False
    also: str | None = None
    level: float | None = None
    """A horizontal line."""


def probe_curves(groups: Groups, curves: list[Curve], log_time: bool = True) -> Figure:
    """A panel for each curve, side by side; a colour for each group of runs."""
    columns = min(len(curves), 3)
    rows = -(-len(curves) // columns)
    figure = new_figure(max(4.3 * columns, 6.0), 3.4 * rows + 0.4)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax, curve in zip(grid, curves, strict=False):
        draw_probe(ax, groups, curve)
        scale_time(ax, groups, log_time)
    for ax in grid[len(curves) :]:
        ax.remove()
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=legend_columns(figure, labels))
    dashed = [curve for curve in curves if curve.also]
    told = (
        f"Dashed: median of {', '.join(sorted({str(c.also) for c in dashed}))}." if dashed else ""
    )
    add_caption(figure, about(groups), RAW, told)
    return figure


def draw_probe(ax: Axes, groups: Groups, curve: Curve) -> None:
    for (name, runs), colour in zip(groups.items(), colours(list(groups)), strict=True):
        label = f"{name} (n = {runs.sizes['run']})" if name else f"n = {runs.sizes['run']}"
        _draw_runs(ax, runs, curve, colour, label)
    if curve.level is not None:
        ax.axhline(curve.level, color="#606060", linewidth=0.8, linestyle=(0, (4, 3)))
    if curve.log:
        ax.set_yscale("log")
    ax.set_ylabel(curve.label)


def _draw_runs(ax: Axes, runs: xr.Dataset, curve: Curve, colour: str, label: str) -> None:
    time, values = common_grid(runs, curve.probe, np.arange(runs.sizes["run"]))
    values = np.where(values > 0, values, np.nan) if curve.log else values
    faint = max(0.08, min(0.4, 2.0 / max(len(values), 1)))
    for row in some_rows(values):
        # Other runs were measured at other times: without this the line would have gaps there.
        seen = np.isfinite(row)
        ax.plot(time[seen], row[seen], color=colour, alpha=faint, linewidth=0.7)
    enough = np.isfinite(values).mean(0) >= 0.5 if len(values) else np.empty(0, bool)
    if enough.any():
        low, middle, high = np.nanquantile(values[:, enough], [0.1, 0.5, 0.9], axis=0)
        ax.fill_between(time[enough], low, high, color=colour, alpha=0.18, linewidth=0)
        ax.plot(time[enough], middle, color=colour, linewidth=1.8, label=label)
    if curve.also:
        _draw_dashed(ax, runs, curve, colour)


def _draw_dashed(ax: Axes, runs: xr.Dataset, curve: Curve, colour: str) -> None:
    time, values = common_grid(runs, str(curve.also), np.arange(runs.sizes["run"]))
    enough = np.isfinite(values).mean(0) >= 0.5 if len(values) else np.empty(0, bool)
    if enough.any():
        middle = np.nanmedian(values[:, enough], axis=0)
        middle = np.where(middle > 0, middle, np.nan) if curve.log else middle
        ax.plot(time[enough], middle, color=colour, linewidth=1.2, linestyle=(0, (3, 2)))


def scale_time(ax: Axes, groups: Groups, log: bool) -> None:
    steps = [runs["step"].to_numpy() for runs in groups.values()]
    first = min(float(np.nanmin(np.where(s > 0, s, np.nan))) for s in steps)
    last = max(float(np.nanmax(s)) for s in steps)
    unit = next(iter(groups.values())).attrs.get("unit", "optimiser steps")
    ax.set_xlabel(unit)
    if log:
        ax.set_xscale("log")
        ax.set_xlim(first / 1.1, last * 1.1)
    else:
        ax.set_xlim(0, last)
        ax.ticklabel_format(axis="x", style="plain")


def colours(names: Sequence[str]) -> list[str]:
    """An ordered palette for the values of one setting ('decay 0.1', 'decay 1' ...), distinct colours for names."""
    words = {name.split(" ")[0] for name in names}
    if len(names) > 3 and len(words) == 1:
        return [
            to_hex(mpl.colormaps["viridis"](i / (len(names) - 1) * 0.9)) for i in range(len(names))
        ]
    if len(names) > len(PALETTE):
        return [to_hex(mpl.colormaps["tab20"](i % 20)) for i in range(len(names))]
    return list(PALETTE[: len(names)])


def legend_columns(figure: Figure, labels: Sequence[str]) -> int:
    """Number of columns of a legend: as many as fit into the figure's width."""
    inches = 0.6 + 0.085 * max(map(len, labels), default=1)
    return max(1, min(len(labels), int(room(figure) / inches)))


def about(groups: Groups) -> str:
    """The start of a caption: which experiments, how many runs, which budget, and how many runs still train."""
    unit = next(iter(groups.values())).attrs.get("unit", "optimiser steps")
    names = ", ".join(dict.fromkeys(runs.attrs["name"] for runs in groups.values()))
    n = sum(runs.sizes["run"] for runs in groups.values())
    budget = max(runs.attrs["budget"] for runs in groups.values())
    going = sum(
        int(np.isin(runs["status"].to_numpy(), ["waiting", "running"]).sum())
        for runs in groups.values()
    )
    told = f" Training still going on: {going} of {n} runs." if going else ""
    return f"{names}: n = {n} runs, budget {budget:,.0f} {unit}.{told}"
