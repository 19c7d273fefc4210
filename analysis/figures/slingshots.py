"""Loss, accuracy and output norm of single runs, with their slingshots."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.style import PALETTE, TRAIN, VAL, add_caption, new_figure
from analysis.slingshots import slingshots_of
from analysis.study import series

RULE = (
    "Event: after the first perfect training accuracy the training loss is a decade, or 0.5, above "
    "its minimum over the last ten evaluations, and training rows are misclassified. Slingshot: an "
    "event before which the output's norm grew, at least three times as fast "
    "as after it. Dotted: largest training loss between two evaluations."
)


def slingshot_figure(groups: Mapping[str, xr.Dataset], about: str) -> Figure:
    """A column for each group: loss (top), accuracy and output norm (bottom) of its run with the most slingshots."""
    figure = new_figure(max(4.2 * len(groups), 6.4), 6.8)
    grid = figure.subplots(3, len(groups), squeeze=False, sharex=True, sharey="row")
    for column, (name, runs) in zip(grid.T, groups.items(), strict=True):
        _draw_column(column, name, runs)
    for ax, label in zip(grid[:, 0], ("loss", "accuracy", "output norm (Frobenius)"), strict=True):
        ax.set_ylabel(label)
    for ax in grid[-1]:
        ax.set_xlabel(next(iter(groups.values())).attrs.get("unit", "optimiser steps"))
    figure.legend(handles=_handles(), loc="outside upper center", ncols=4)
    add_caption(
        figure, about, "Shown: of each group the run with the most slingshots, then events.", RULE
    )
    return figure


def _draw_column(column: np.ndarray, name: str, runs: xr.Dataset) -> None:
    by_run = slingshots_of(runs)
    run = max(range(len(by_run)), key=lambda i: (by_run[i].count, by_run[i].events))
    step = runs["step"].to_numpy()[run]
    for probe, ax, colour, style in (
        ("training_loss_max", column[0], TRAIN, ":"),
        ("train_loss", column[0], TRAIN, "-"),
        ("val_loss", column[0], VAL, "-"),
        ("train_accuracy", column[1], TRAIN, "-"),
        ("val_accuracy", column[1], VAL, "-"),
        ("output_frobenius", column[2], PALETTE[2], "-"),
    ):
        value = series(runs, probe).value[run]
        known = np.isfinite(value) & ((value > 0) | (ax is not column[0]))
        ax.plot(step[known], value[known], style, color=colour, linewidth=0.9)
    for at, slingshot in zip(by_run[run].step, by_run[run].qualified, strict=True):
        for ax in column:
            ax.axvline(at, color="#B00000" if slingshot else "#A0A0A0", linewidth=0.8, alpha=0.7)
    column[0].set_yscale("log")
    with_some = sum(s.count > 0 for s in by_run)
    column[0].set_title(
        f"{name}\nslingshots in {with_some} of n = {len(by_run)} runs; here {by_run[run].count}"
    )


def _handles() -> list[Line2D]:
    return [
        Line2D([], [], color=TRAIN, label="training"),
        Line2D([], [], color=VAL, label="validation"),
        Line2D([], [], color="#B00000", linewidth=0.8, label="slingshot"),
        Line2D([], [], color="#A0A0A0", linewidth=0.8, label="other event"),
    ]
