"""Figures that sources share, and drawing whatever figures of a source's plot list its results allow."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from analysis.figures import comparisons
from analysis.figures.comparisons import Bar
from analysis.figures.probe_curves import Curve, about, probe_curves
from analysis.figures.style import RC, save
from analysis.sources.core.claims import MissingError, Results
from analysis.sources.core.configuration import Configuration, at_hand
from analysis.sources.core.estimates import Estimate
from analysis.sources.core.quantities import Read

log = logging.getLogger("grokjax")

Picture = Callable[[Results], Figure]
Group = Sequence[Configuration]


def draw_all(pictures: Mapping[str, Picture], results: Results, folder: Path) -> list[Path]:
    """Write <folder>/<name>.png and .pdf for every picture whose results are there; the others are named in the log."""
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
    """A panel for each probe, all runs of one experiment alike."""
    return lambda r: probe_curves({"": one.of(r)}, list(panels), log_time)


def bars(group: Group, reads: Mapping[str, Read], label: str, whole: bool = False) -> Picture:
    """Median times of each configuration as bars side by side, one for each of `reads` by its legend."""

    def draw(results: Results) -> Figure:
        found = _named(group, results, len(group) if whole else 1)
        budget = max(runs.attrs["budget"] for runs in found.values())
        rows = {n: {what: bar(read(runs)) for what, read in reads.items()} for n, runs in found.items()}  # fmt: skip
        return comparisons.bars(rows, budget, label, about(found))

    return draw


def bar(e: Estimate) -> Bar:
    return Bar(e.interval, int(np.isfinite(e.values).sum()), e.n)


def _named(group: Group, results: Results, least: int) -> dict:
    return at_hand(group, results, least)[0]
