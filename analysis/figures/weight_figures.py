"""Figures of measurements on saved weights: pruning, principal components, Fourier spectra, NTK distances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.figures.lines import colour_and_marker
from analysis.figures.probe_curves import colours, legend_columns
from analysis.figures.style import PALETTE, TRAIN, VAL, add_caption, new_figure
from analysis.measured import at_the_end
from analysis.statistics import rank_correlation

BAND = "Thin lines: single runs; thick: median over runs."


def pruning_curve(measured: xr.Dataset, name: str) -> Figure:
    """Accuracy against the threshold, and against the share of weights that it sets to 0."""
    last = at_the_end(measured).transpose("run", "threshold", ...)
    figure = new_figure(8.6, 3.7)
    for place, ax in enumerate(figure.subplots(1, 2, sharey=True)):
        for side, colour, label in (("train", TRAIN, "training"), ("val", VAL, "validation")):
            accuracy = last[f"{side}_accuracy"].to_numpy()
            x = last["share_pruned"].to_numpy() if place else last["threshold"].to_numpy()
            _bundle(ax, np.broadcast_to(x, accuracy.shape), accuracy, colour, label)
        ax.set_xlabel("share of weights set to 0" if place else "threshold")
    ax, other = figure.axes[:2]
    ax.set(xscale="log", ylabel="accuracy", ylim=(-0.03, 1.03))
    ax.axvline(0.01, color="#606060", linewidth=0.8, linestyle=(0, (4, 3)))
    other.set_xlim(-0.02, 1.02)
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    add_caption(figure, f"{name}: n = {last.sizes['run']} runs, weights of the end.", BAND,
                "Dashed: the source's threshold, 0.01. Each run on its own split.")  # fmt: skip
    return figure


def _bundle(ax: Axes, x: np.ndarray, values: np.ndarray, colour: str, label: str) -> None:
    ax.plot(x.T, values.T, color=colour, alpha=max(0.1, min(0.4, 2 / len(values))), linewidth=0.7)
    known = np.isfinite(values).any(0)
    ax.plot(np.nanmedian(x[:, known], 0), np.nanmedian(values[:, known], 0), "-o", color=colour,
            linewidth=1.8, markersize=4, label=label)  # fmt: skip


def pca_scatter(
    points: np.ndarray, share: np.ndarray, labels: Sequence[str], title: str, caption: str
) -> Figure:
    """Points (point, 2) on two components, each with its name; `share` (2,) of the variance."""
    figure = new_figure(6.2, 6.0)
    ax = figure.subplots()
    shade = np.linspace(0, 1, len(points))
    ax.scatter(points[:, 0], points[:, 1], c=shade, cmap="viridis", s=14)
    for (x, y), label in zip(points, labels, strict=True):
        ax.annotate(
            label, (x, y), (3, 2), textcoords="offset points", fontsize=6.5, color="#303030"
        )
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.08)
    ax.set(
        xlabel=f"first component ({100 * share[0]:.0f} % of the variance)",
        ylabel=f"second component ({100 * share[1]:.0f} %)",
        title=title,
    )
    add_caption(figure, caption)
    return figure


def fourier_spectrum(measured: xr.Dataset, name: str) -> Figure:
    """Shares of the energy: sorted, for all runs; and by frequency, for one run."""
    share = at_the_end(measured)["energy_share"].transpose("run", "frequency")
    values, frequency = share.to_numpy(), share["frequency"].to_numpy()
    figure = new_figure(9.4, 3.6)
    left, right = figure.subplots(1, 2)
    ranked, rank = np.sort(values, 1)[:, ::-1], np.arange(1, values.shape[1] + 1)
    _bundle(left, np.broadcast_to(rank, ranked.shape), ranked, PALETTE[0], "sorted")
    left.axhline(1 / len(rank), color="#606060", linewidth=0.8, linestyle=(0, (4, 3)))
    left.set(xlabel="rank of the frequency", ylabel="share of the embedding's energy")
    right.bar(frequency, values[0], color=PALETTE[0])
    right.set(xlabel="frequency", title=f"seed {_seed(measured)}")
    add_caption(figure, f"{name}: n = {len(values)} runs, weights of the end. Left: all runs, frequencies sorted by "
                "energy; right: one run.", BAND, "Dashed: a flat spectrum. The constant part is left out.")  # fmt: skip
    return figure


def _seed(measured: xr.Dataset) -> str:
    return (
        f"{int(measured['seed'].to_numpy()[0])}"
        if "seed" in measured.coords
        else "of the first run"
    )


def over_snapshots(
    groups: dict[str, xr.Dataset], variable: str, label: str, log: bool, per_epoch: float, name: str
) -> Figure:
    """A measured number against the epoch of the weights; a colour for each group of runs."""
    figure = new_figure(6.6, 4.2)
    ax = figure.subplots()
    for (group, measured), colour in zip(groups.items(), colours(list(groups)), strict=True):
        values = measured[variable].transpose("run", "snapshot").to_numpy().astype(float)
        epochs = measured["step"].transpose("run", "snapshot").to_numpy() / per_epoch
        for x, y in zip(epochs, values, strict=True):
            ax.plot(x, y, color=colour, alpha=max(0.1, min(0.4, 2 / len(values))), linewidth=0.7)
        known = np.isfinite(values).mean(0) >= 0.5
        ax.plot(np.nanmedian(epochs[:, known], 0), np.nanmedian(values[:, known], 0), color=colour,
                linewidth=1.8, label=f"{group} (n = {len(values)})" if group else f"n = {len(values)}")  # fmt: skip
    ax.set(xlabel="epochs", ylabel=label, yscale="log" if log else "linear")
    labels = ax.get_legend_handles_labels()[1]
    figure.legend(loc="outside upper center", ncols=legend_columns(figure, labels))
    n = len(set(np.concatenate([measured["id"].to_numpy() for measured in groups.values()])))
    add_caption(figure, f"{name}: n = {n} runs, at their saved weights.", BAND)
    return figure


def filled_table(measured: xr.Dataset, name: str, letters: Sequence[str]) -> Figure:
    """The table of a written task: known entries, and in the blanks what most runs put there and how many of them."""
    last = at_the_end(measured).transpose("run", "row")
    x, y, known = (last[k].to_numpy()[0].astype(int) for k in ("x", "y", "known"))
    answers, n = last["answer"].to_numpy().astype(int), int(x.max()) + 1
    figure = new_figure(1.6 + 0.8 * n, 1.9 + 0.8 * n)
    ax = figure.subplots()
    for i, j, sure, given in zip(x, y, known, answers.T, strict=True):
        values, counts = np.unique(given, return_counts=True)
        share = counts.max() / len(given)
        colour = (1, 1, 1) if sure else (1 - 0.55 * share, 1 - 0.25 * share, 1)
        ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=colour, edgecolor="#909090"))
        most = values[counts.argmax()]
        letter = str(letters[most]) if most < len(letters) else "·"
        ax.text(j, i - (0 if sure else 0.12), letter, ha="center", va="center", fontsize=14,
                color="#202020" if sure else PALETTE[0])  # fmt: skip
        if not sure:
            told = f"{counts.max()} of {len(given)}"
            ax.text(j, i + 0.28, told, ha="center", va="center", fontsize=7, color="#303030")
    ax.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5), aspect="equal", xlabel="y", ylabel="x")
    ax.set_xticks(range(n), letters[:n])
    ax.set_yticks(range(n), letters[:n])
    ax.grid(visible=False)
    add_caption(figure, f"{name}: n = {answers.shape[0]} runs. White: entries that train, with what most runs answer. "
                "Blue: blanks, with the letter that most runs put there and how many of them.")  # fmt: skip
    return figure


def output_map(
    points: np.ndarray, colours: np.ndarray, steps: Sequence[int], title: str, caption: str
) -> Figure:
    """Rows of the output matrix on a plane (element, 2). A panel for each step, in which lines join n and n + step; no
    steps: one panel without lines."""
    panels = list(steps) or [0]
    figure = new_figure(0.6 + 5.2 * len(panels), 5.4)
    axes = np.atleast_1d(figure.subplots(1, len(panels)))
    for ax, step in zip(axes, panels, strict=True):
        if step:
            ends = np.roll(points, -step, axis=0)
            ax.plot(*np.stack([points, ends], 1).transpose(2, 1, 0), color="#b0b0b0", linewidth=0.6)
            ax.set_title(f"lines join n and n + {step}")
        else:
            ax.set_title(title)
        ax.scatter(points[:, 0], points[:, 1], c=colours, cmap="tab20", s=18, zorder=2)
        ax.set_aspect("equal", adjustable="datalim")
        ax.margins(0.08)
    add_caption(figure, caption)
    return figure


def sharpness_scatter(measured: xr.Dataset, hue: str, name: str) -> Figure:
    """Validation accuracy against the sharpness of the same weights, a mark for each run, coloured by a setting."""
    last = at_the_end(measured)
    sharp, right = (last[key].to_numpy() for key in ("sharpness", "val_accuracy"))
    known = (sharp > 0) & np.isfinite(right)  # NaN is not above 0 either
    sharp, right, own = sharp[known], right[known], last[hue].to_numpy().astype(str)[known]
    figure = new_figure(7.2, 4.2)
    ax = figure.subplots()
    for order, value in enumerate(sorted(set(own))):
        colour, marker = colour_and_marker(order)
        mine = own == value
        ax.plot(
            sharp[mine], right[mine], marker, color=colour, markersize=5, alpha=0.7, label=value
        )
    ax.set(xscale="log", xlabel="sharpness (%)", ylabel="val accuracy", ylim=(-0.03, 1.05))
    figure.legend(loc="outside right upper", fontsize=8, title=hue, title_fontsize=8)
    rho = rank_correlation(sharp, right)
    add_caption(
        figure,
        f"{name}: n = {len(sharp)} runs of {len(known)} (sharpness above 0), weights of the end.",
        "Sharpness: the largest rise of the training loss in a box around the weights (Keskar et al. 2017, in all "
        f"directions). Rank correlation {rho:.2f}.",
    )
    return figure


def subgroup_bars(measured: xr.Dataset, name: str) -> Figure:
    """For each class of subgroups, the share of the output matrix between its cosets, and the share by chance."""
    last = at_the_end(measured).transpose("run", "subgroup")
    names = [str(n) for n in last["subgroup"].to_numpy()]
    share, chance = (last[key].to_numpy() for key in ("share", "chance"))
    figure = new_figure(7.6, 0.27 * len(names) + 1.6)
    ax = figure.subplots()
    place = np.arange(len(names))
    ax.barh(place, np.nanmedian(share, 0), color=PALETTE[0], alpha=0.55, label="share")
    for own in share:
        ax.plot(own, place, ".", color=PALETTE[0], markersize=6)
    ax.plot(np.nanmedian(chance, 0), place, "|", color="black", markersize=11, label="by chance")
    most = np.nanmax(last["chance_largest"].to_numpy(), 0)
    ax.hlines(
        place,
        np.nanmedian(chance, 0),
        most,
        color="black",
        linewidth=1,
        label="up to the largest of 20",
    )
    ax.set_yticks(place, names)
    ax.invert_yaxis()
    ax.set(
        xlim=(0, 1.02), xlabel="share of the variance between cosets", ylabel="order: generators"
    )
    figure.legend(loc="outside upper center", ncols=2)
    add_caption(
        figure,
        f"{name}: n = {last.sizes['run']} runs, weights of the end.",
        "For every subgroup up to conjugation: the share of the variance of the output matrix's rows that lies between "
        "its cosets, the largest of its conjugates, left and right. Bars: medians; dots: runs. A subgroup has at least "
        "the share of any that it is part of.",
    )
    return figure
