"""Figures over the sample size: curves, maps, dimensions, and the geometry of two hidden dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from analysis.figures.style import PALETTE, add_caption, new_figure
from analysis.sources.source_003.scan import SIZE, Scan
from analysis.statistics import bootstrap

MEDIANS = (
    "Lines: medians; dots: single seeds; bands: 95 % limits of the median from draws of seeds."
)
ROWS = "training rows"


def lines(
    panels: Mapping[str, Mapping[str, Scan]],
    x_label: str,
    logs: Sequence[str],
    caption: str,
) -> Figure:
    """A panel for each title, a line for each name in it. `logs`: titles of the panels with a logarithmic scale."""
    figure = new_figure(4.6 * len(panels), 3.4)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (title, named) in zip(axes, panels.items(), strict=True):
        for colour, (name, one) in zip(PALETTE * 9, named.items(), strict=False):
            _line(ax, one, name, colour)
        if all((one.at > 0).all() for one in named.values()):
            ax.set_xscale("log")
            _tick_few(ax, next(iter(named.values())).at)
        ax.set_yscale("log" if title in logs else "linear")
        ax.set(title=title, xlabel=x_label)
        ax.legend(fontsize=8)
    seeds = max(one.n for named in panels.values() for one in named.values())
    add_caption(figure, caption, f"n = {seeds} seeds at each point.", MEDIANS)
    return figure


MOST_TICKS = 6
"""Up to so many values are the ticks of their axis; more would not have room."""


def _tick_few(ax: Axes, at: np.ndarray) -> None:
    if len(at) <= MOST_TICKS:
        ax.set_xticks(at, [f"{x:,g}" for x in at])
        ax.minorticks_off()


def _line(ax: Axes, one: Scan, name: str, colour: str) -> None:
    ax.plot(one.at, one.median(), color=colour, label=name, linewidth=1.6)
    for own in one.value:
        ax.plot(one.at, own, ".", color=colour, markersize=3, alpha=0.5)
    if one.n > 2:
        limits = [
            bootstrap(lambda s, i=i: float(np.median(one.value[s, i])), one.n)
            for i in range(len(one.at))
        ]
        ax.fill_between(
            one.at,
            [x.low for x in limits],
            [x.high for x in limits],
            color=colour,
            alpha=0.15,
            linewidth=0,
        )


def heat_map(
    rows: Mapping[str, Scan], y_label: str, value_label: str, caption: str, x_label: str = ROWS
) -> Figure:
    """Medians as colours: the sample size to the right, a row of cells for each name, the first one at the bottom."""
    at = next(iter(rows.values())).at
    grid = np.stack([one.median() for one in rows.values()])
    figure = new_figure(1.6 + 0.62 * len(at), 1.6 + 0.42 * len(rows))
    ax = figure.subplots()
    image = ax.imshow(grid, origin="lower", aspect="auto", cmap=mpl.colormaps["viridis"])
    for (i, j), value in np.ndenumerate(grid):
        dark = value < (np.nanmin(grid) + np.nanmax(grid)) / 2
        ax.text(
            j, i, f"{value:.3g}", ha="center", va="center", fontsize=7, color="w" if dark else "k"
        )
    ax.set_xticks(range(len(at)), [f"{x:,.0f}" for x in at])
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set(xlabel=x_label, ylabel=y_label)
    ax.grid(False)
    figure.colorbar(image, label=value_label)
    n = " to ".join(map(str, sorted({one.n for one in rows.values()})))
    add_caption(figure, caption, f"Medians of n = {n} seeds a cell.")
    return figure


def geometry(measured: xr.Dataset, sizes: Sequence[int], caption: str) -> Figure:
    """For each sample size the features (above) and the hidden vectors of the training rows (below) of one seed."""
    figure = new_figure(1.75 * len(sizes), 4.1)
    axes = figure.subplots(2, len(sizes), squeeze=False)
    sizes_of, seeds_of = measured[SIZE].to_numpy().astype(int), measured["seed"].to_numpy()
    for column, size in enumerate(sizes):
        (run,) = np.flatnonzero((sizes_of == size) & (seeds_of == seeds_of.min()))
        for ax, name, dim in zip(
            axes[:, column], ("feature", "hidden"), ("output", "row"), strict=True
        ):
            points = measured[name].isel(run=run).transpose(dim, "hidden_dimension").to_numpy()
            _arrows(ax, points[np.isfinite(points).all(1)])
        axes[0, column].set_title(f"T = {size:,}", fontsize=9)
    axes[0, 0].set_ylabel("features")
    axes[1, 0].set_ylabel("training rows")
    add_caption(figure, caption, "One seed a column, each panel at its own scale.")
    return figure


def _arrows(ax: Axes, points_N2: np.ndarray) -> None:
    reach = 1.1 * max(np.abs(points_N2).max(), 1e-9)
    for x, y in points_N2:
        ax.plot([0, x], [0, y], color=PALETTE[0], linewidth=0.5, alpha=0.5)
    ax.plot(*points_N2.T, ".", color=PALETTE[1], markersize=3)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])


def dimensions(measured: xr.Dataset, caption: str) -> Figure:
    """Dimensions of the features (left) and of the training rows (right) of all runs against the sample size."""
    figure = new_figure(9.2, 3.6)
    sizes_of = measured[SIZE].to_numpy().astype(float)
    random = np.random.default_rng(0)
    for ax, name, dim, title in zip(
        figure.subplots(1, 2),
        ("feature_dimension", "row_dimension"),
        ("output", "row"),
        ("features, D_i", "training rows, D_X"),
        strict=True,
    ):
        for size, values in zip(
            sizes_of, measured[name].transpose("run", dim).to_numpy(), strict=True
        ):
            known = values[np.isfinite(values) & (values > 1e-3)]
            beside = size * np.exp(random.uniform(-0.06, 0.06, len(known)))
            ax.plot(beside, known, ".", color=PALETTE[0], markersize=2, alpha=0.35)
        m = measured.sizes["hidden_dimension"]
        at = np.unique(sizes_of)
        ax.plot(at, np.minimum(m / at, 1), color=PALETTE[1], linewidth=1, label="m / T")
        ax.axhline(m / 5, color=PALETTE[2], linewidth=1, linestyle="--", label="m / 5, a pentagon")
        ax.set(xscale="log", title=title, xlabel=ROWS, ylim=(0, 1.02))
        ax.legend(fontsize=8)
    add_caption(figure, caption, "A dot for each feature or row above 0.001, a little to the side.")
    return figure


def dictionary(measured: xr.Dataset, sizes: Sequence[int], caption: str) -> Figure:
    """For each sample size the cosines between the hidden vectors of one seed's training rows, without their signs."""
    figure = new_figure(1.9 * len(sizes), 2.6)
    axes = figure.subplots(1, len(sizes), squeeze=False)[0]
    sizes_of, seeds_of = measured[SIZE].to_numpy().astype(int), measured["seed"].to_numpy()
    shades = ScalarMappable(Normalize(0, 1), mpl.colormaps["Blues"])
    for ax, size in zip(axes, sizes, strict=True):
        (run,) = np.flatnonzero((sizes_of == size) & (seeds_of == seeds_of.min()))
        h = measured["hidden"].isel(run=run).transpose("row", "hidden_dimension").to_numpy()
        h = h[np.isfinite(h).all(1)]
        unit = h / np.maximum(np.linalg.norm(h, axis=1, keepdims=True), 1e-12)
        ax.imshow(np.abs(unit @ unit.T), cmap=shades.cmap, norm=shades.norm)
        ax.set_title(f"T = {size:,}", fontsize=9)
        ax.set(xticks=[], yticks=[])
    axes[0].set_ylabel("training rows")
    figure.colorbar(shades, ax=axes, label="cosine, without its sign")
    add_caption(
        figure, caption, "One seed a panel. A diagonal alone: every row has a direction of its own."
    )
    return figure


def entries(measured: xr.Dataset, size: int, caption: str) -> Figure:
    """The dictionary as a table: what a row's direction says, read off the weights, beside what the row is."""
    sizes_of, seeds_of = measured[SIZE].to_numpy().astype(int), measured["seed"].to_numpy()
    (run,) = np.flatnonzero((sizes_of == size) & (seeds_of == seeds_of.min()))
    one = measured.isel(run=run)
    cells = []
    for row in np.flatnonzero(np.isfinite(one["row_dimension"].to_numpy())):
        h = one["hidden"].isel(row=row).to_numpy()
        said = one["feature"].transpose("output", "hidden_dimension").to_numpy() @ h
        there = one["inputs"].isel(row=row).to_numpy()
        cells.append([f"{row}", f"{float(one['row_dimension'][row]):.2f}", _top(said), _top(there)])
    figure = new_figure(8.0, 0.6 + 0.28 * size)
    ax = figure.subplots()
    ax.axis("off")
    head = [
        "row",
        "D_X",
        "features with the largest weights along its direction",
        "its largest features",
    ]
    table = ax.table(cells, colLabels=head, colWidths=[0.07, 0.09, 0.44, 0.4], loc="center")
    table.auto_set_font_size(False)
    table.set_fontsize(8)
    add_caption(
        figure, caption, f"One seed, T = {size}. In brackets: size relative to the largest."
    )
    return figure


def _top(values: np.ndarray, n: int = 4) -> str:
    """Numbers of the n largest values, with their sizes relative to the largest."""
    order = np.argsort(-values)[:n]
    return ", ".join(f"{i} ({values[i] / values[order[0]]:.2f})" for i in order)


def leverages(measured: xr.Dataset, sizes: Sequence[int], caption: str) -> Figure:
    """Histograms of D* of the training rows, all seeds together; misclassified rows in another colour."""
    figure = new_figure(2.6 * len(sizes), 3.0)
    axes = figure.subplots(1, len(sizes), squeeze=False)[0]
    sizes_of = measured[SIZE].to_numpy().astype(int)
    value, right = (measured[n].transpose("run", "row").to_numpy() for n in ("leverage", "right"))
    for ax, size in zip(axes, sizes, strict=True):
        own, good = value[sizes_of == size], right[sizes_of == size]
        known = np.isfinite(own)
        bins = np.linspace(0, 1, 41)
        ax.hist(own[known], bins, color=PALETTE[0], label="all")
        ax.hist(own[known & (good == 0)], bins, color=PALETTE[1], label="wrong")
        n, wrong = int(known.sum()), int((known & (good == 0)).sum())
        ax.set(title=f"T = {size:,}\n{n:,} rows, {wrong:,} wrong", xlabel="D*", yscale="log")
    axes[0].legend(fontsize=8)
    add_caption(
        figure, caption, f"n = {int((sizes_of == sizes[0]).sum())} seeds a panel, together."
    )
    return figure


def images(measured: xr.Dataset, size: int, caption: str) -> Figure:
    """Training images of one seed by D*: the lowest, the middle ones and the highest."""
    sizes_of, seeds_of = measured[SIZE].to_numpy().astype(int), measured["seed"].to_numpy()
    (run,) = np.flatnonzero((sizes_of == size) & (seeds_of == seeds_of.min()))
    one = measured.isel(run=run)
    value, pixels = one["leverage"].to_numpy(), one["inputs"].transpose("row", "input").to_numpy()
    order = np.flatnonzero(np.isfinite(value))[np.argsort(value[np.isfinite(value)])]
    middle = len(order) // 2
    rows = {"lowest": order[:10], "middle": order[middle - 5 : middle + 5], "highest": order[-10:]}
    figure = new_figure(8.0, 3.2)
    for axes, (name, chosen) in zip(figure.subplots(3, 10), rows.items(), strict=True):
        for ax, row in zip(axes, chosen, strict=True):
            ax.imshow(pixels[row].reshape(8, 8), cmap="gray_r")
            ax.set(xticks=[], yticks=[])
            ax.set_title(f"{value[row]:.2f}", fontsize=7)
        axes[0].set_ylabel(name)
    add_caption(figure, caption, "One seed; the number above each image is its D*.")
    return figure
