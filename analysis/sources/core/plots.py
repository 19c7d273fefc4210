"""Figures that sources share, and `draw_all`, which draws those figures of a source that have results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from analysis import readings
from analysis.chosen import figure as chosen_figure
from analysis.figures import comparisons
from analysis.figures.comparisons import Bar
from analysis.figures.probe_curves import Curve, about, probe_curves
from analysis.figures.style import RC, save
from analysis.load import ResultsError
from analysis.sources.core.claims import MissingError, Results
from analysis.sources.core.configuration import Configuration, at_hand
from analysis.sources.core.estimates import Estimate
from analysis.sources.core.quantities import Read

log = logging.getLogger("grokjax")

Picture = Callable[[Results], Figure]
Group = Sequence[Configuration]


def draw_all(pictures: Mapping[str, Picture], results: Results, folder: Path) -> list[Path]:
    """Write <folder>/<name>.png and .pdf for every picture that has results. The log names the others."""
    written = []
    with mpl.rc_context(RC):
        for name, draw in pictures.items():
            try:
                figure = draw(results)
            except MissingError as missing:
                log.info("%s is not drawn: %s", name, missing)
                continue
            folder.mkdir(parents=True, exist_ok=True)
            written += save(figure, folder / name)
    return written


def curves(
    group: Group, panels: Sequence[Curve], log_time: bool = False, whole: bool = False
) -> Picture:
    """A panel for each probe, a colour for each configuration that was run (`whole`: all of them, or no figure)."""
    least = len(group) if whole else 1
    return lambda r: probe_curves(_named(group, r, least), list(panels), log_time)


def one_experiment(one: Configuration, panels: Sequence[Curve], log_time: bool = True) -> Picture:
    """A panel for each probe, with all runs of one experiment in one colour."""
    return lambda r: probe_curves({"": one.of(r)}, list(panels), log_time)


def bars(group: Group, reads: Mapping[str, Read], label: str, whole: bool = False) -> Picture:
    """Median times of each configuration as bars side by side. `reads`: text of the legend -> how the time is read."""

    def draw(results: Results) -> Figure:
        named = _named(group, results, len(group) if whole else 1)
        budget = max(runs.attrs["budget"] for runs in named.values())
        rows = {n: {what: bar(read(runs)) for what, read in reads.items()} for n, runs in named.items()}  # fmt: skip
        return comparisons.bars(rows, budget, label, about(named))

    return draw


def best_against(group: Group, setting: str, label: str) -> Picture:
    """Best validation accuracy against a numeric setting, a line for each configuration that was run."""

    def draw(results: Results) -> Figure:
        named = _named(group, results, 1)
        lines = {
            name: (runs[setting].to_numpy().astype(float), readings.peak(runs, "val_accuracy")[0])
            for name, runs in named.items()
        }
        return comparisons.best_lines(lines, label, about(named))

    return draw


def chosen(group: Group, kind: str, x: str, hue: str) -> Picture:
    """The figure of `python -m analysis figure`, with its axes, of the experiment that all of the group belong to."""
    (experiment,) = {one.experiment for one in group}

    def draw(results: Results) -> Figure:
        _named(group, results, 1)
        try:
            return chosen_figure(results.root / experiment, kind, x=x, hue=hue)
        except ResultsError as error:  # an axis did not vary
            raise MissingError(str(error)) from error

    return draw


def bar(e: Estimate) -> Bar:
    return Bar(e.interval, int(np.isfinite(e.values).sum()), e.n)


def _named(group: Group, results: Results, least: int) -> dict:
    return at_hand(group, results, least)[0]
