"""Everything that probes recorded as one number, over the steps: a small panel for each, coloured by the first axis."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from analysis.cells import Axis
from analysis.figures.lines import (
    Line,
    add_colour_bar,
    has_colour_bar,
    left_out,
    legend_entries,
    lines_of,
)
from analysis.figures.probe_curves import legend_columns
from analysis.figures.style import PALETTE, add_caption, caption_start, new_figure, points
from analysis.readings import common_grid
from analysis.study import Study, scalar_names, series

COLUMNS, MOST = 4, 24
"""Panels side by side, and on a page. More of them make a second page."""
MOST_RUNS = 160
"""Largest number of runs with a thin line of their own. More of them hide each other."""
LOG_SPAN = 100.0
"""Values that are never negative have a log axis if the largest is so many times the smallest above 0."""
FLAT = 1e-5
"""Values that differ by less, relative to their size, differ by rounding: their axis does not show it."""
WIDTH, HEIGHT = 2.8, 1.75
DEFINITION = (
    "Thick lines: medians over runs, wherever at least half of them have a value. Step 0 is "
    "omitted; a run that the stop rule ended keeps its last value until the last run of its colour "
    "ends. Log axes where values other than accuracies span a factor of 100; zeros are left out "
    "there. Entries of vectors, and values of single tensors, layers or heads, are not drawn."
)


@dataclass(frozen=True)
class Bundle:
    """The runs of one value of the axis, with their colour: one value over the steps."""

    line: Line
    steps: NDArray[np.float64]
    values: NDArray[np.float64]
    """(run, step), NaN where a run has none."""


def draw(study: Study) -> Iterator[tuple[str, Figure]]:
    """A page of panels, more if there are more than MOST values; none before the first evaluation."""
    names = [name for name in scalar_names(study.dataset) if _recorded(study, name)]
    for page, first in enumerate(range(0, len(names), MOST), 1):
        stem = "probes" if page == 1 else f"probes_{page}"
        yield stem, draw_page(study, names[first : first + MOST])


def _recorded(study: Study, name: str) -> bool:
    """Whether some run has a value after step 0, which is omitted."""
    metric = series(study.dataset, name)
    return bool((metric.real & (metric.step > 0) & np.isfinite(metric.value)).any())


def draw_page(study: Study, names: Sequence[str]) -> Figure:
    """A panel for each of these values."""
    axis = study.axes[0] if study.axes else None
    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure = new_figure(max(WIDTH * columns, 5.5), HEIGHT * rows + 0.8)
    grid = list(figure.subplots(rows, columns, squeeze=False, sharex=True).flat)
    used, unused = grid[: len(names)], grid[len(names) :]
    every = -(-study.n_runs // MOST_RUNS)
    for ax, name in zip(used, names, strict=True):
        _draw_panel(ax, name, list(_bundles(study, name, axis)), every, _has_markers(axis))
    for ax in unused:
        ax.remove()
    for ax in used[-columns:]:
        ax.tick_params(labelbottom=True)
    _scale_steps(used[0], study)
    figure.supxlabel("optimiser steps", fontsize=points(10))
    _add_legend(figure, used, axis)
    shown = f"Thin lines: {'single runs' if every == 1 else f'one of every {every} runs'}."
    add_caption(figure, caption_start(study), _colours(study), shown, DEFINITION, left_out(axis))
    return figure


def _bundles(study: Study, name: str, axis: Axis | None) -> Iterator[Bundle]:
    dataset = study.dataset.sel(probe=[name])
    for line in lines_of(axis):
        runs = study.everyone if axis is None else np.flatnonzero(axis.code == line.value)
        steps, values = common_grid(dataset.isel(run=runs), name, np.arange(len(runs)))
        yield Bundle(line, steps[steps > 0], values[:, steps > 0])


def _draw_panel(ax: Axes, name: str, bundles: list[Bundle], every: int, markers: bool) -> None:
    faint = 0.35 if every == 1 else 0.2
    for bundle in bundles:
        for row in bundle.values[::every]:
            # Other runs can be measured at other steps: without this the line would have gaps there.
            seen = np.isfinite(row)
            colour = bundle.line.colour
            ax.plot(bundle.steps[seen], row[seen], color=colour, alpha=faint, linewidth=0.5)
    for bundle in bundles:
        _draw_median(ax, bundle, markers)
    _scale_values(ax, name, np.concatenate([bundle.values.ravel() for bundle in bundles]))
    ax.set_title(textwrap.fill(name.replace("_", " "), 34), fontsize=points(9), pad=3)
    ax.tick_params(labelsize=points(8))


def _draw_median(ax: Axes, bundle: Bundle, markers: bool) -> None:
    if not len(bundle.values):
        return
    enough = np.isfinite(bundle.values).mean(0) >= 0.5
    if enough.any():
        median, style = np.nanmedian(bundle.values[:, enough], axis=0), {}
        if markers:
            style = {"marker": bundle.line.marker, "markersize": 4, "markevery": 0.25}
        ax.plot(bundle.steps[enough], median, color=bundle.line.colour, linewidth=1.6, **style)


def _has_markers(axis: Axis | None) -> bool:
    """Whether colours alone do not tell the lines apart."""
    return axis is not None and not axis.numeric and len(axis.values) > len(PALETTE)


def _scale_values(ax: Axes, name: str, values: NDArray[np.float64]) -> None:
    known = values[np.isfinite(values)]
    ax.ticklabel_format(axis="y", useOffset=False)
    if "accuracy" not in name and is_log(known):
        ax.set_yscale("log", nonpositive="mask")
        ax.yaxis.set_minor_formatter(NullFormatter())
    elif np.ptp(known) <= FLAT * np.abs(known).max():
        middle = float(np.median(known))
        ax.set_ylim(middle - 0.1 * abs(middle) - FLAT, middle + 0.1 * abs(middle) + FLAT)


def is_log(values: NDArray[np.float64]) -> bool:
    """Whether a log axis shows finite values better: none is negative, and they span a factor of LOG_SPAN."""
    above = values[values > 0]
    return bool(len(above)) and bool(values.min() >= 0 and above.max() >= LOG_SPAN * above.min())


def _scale_steps(ax: Axes, study: Study) -> None:
    """A log axis that spans a decade at least, so that it has a labelled tick."""
    metric = series(study.dataset, "train_loss")
    steps = metric.step[metric.real & (metric.step > 0)]
    first = float(steps.min())
    ax.set_xscale("log")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(first / 1.2, max(float(steps.max()), 10 * first) * 1.2)


def _add_legend(figure: Figure, panels: Sequence[Axes], axis: Axis | None) -> None:
    if axis is None:
        return
    if has_colour_bar(axis):
        add_colour_bar(figure, panels, axis)
        return
    handles = legend_entries(axis)
    for handle in () if _has_markers(axis) else handles:
        handle.set_marker("")
    labels = [str(handle.get_label()) for handle in handles]
    columns = legend_columns(figure, labels)
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, fontsize=points(9))


def _colours(study: Study) -> str:
    if not study.axes:
        return ""
    first, *others = (axis.label for axis in study.axes)
    pooled = f", over all values of {' and '.join(others)}" if others else ""
    return f"Colours: {first}{pooled}."
