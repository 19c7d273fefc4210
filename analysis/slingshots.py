"""Slingshots in a run's history: the output layer's norm grows, the training loss spikes, the norm rests, and this
repeats.

Thilak et al. 2022 (arXiv 2206.04817) describe them without a formal rule. The rule here: an event is a record after the
first perfect training accuracy at which the training loss has risen by a decade, or by 0.5, above its minimum over the
last ten records, while training rows are misclassified. A slingshot is an event before which the norm grew, at least
three times as fast as after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.study import series

Floats = NDArray[np.float64]

FLOOR = 1e-12
"""A loss below this is only rounding, and a ratio of two such losses has no meaning."""


@dataclass(frozen=True)
class SlingshotRule:
    """The numbers of the rule. `window`: number of records (evaluations)."""

    window: int = 10
    decades: float = 1.0
    """Threshold: rise of the training loss above its minimum over the window, in powers of ten."""
    rise: float = 0.5
    """The same in nats. One of the two is enough."""
    slope_ratio: float = 3.0
    """Least ratio of the norm's slope over the window before to its slope over the window after."""
    jump: float = 0.5
    """Second threshold: rise of the loss from one record to the next."""
    drop: float = 0.1
    """Second threshold: fall of the accuracy. One of the two is enough."""
    growth: float = 0.05
    """Relative growth of the norm over a window: at least this is a rise, at most a third of it a rest."""


@dataclass(frozen=True)
class History:
    """One run, with arrays (eval,). `loss_max`: largest training loss since the evaluation before."""

    step: Floats
    loss: Floats
    accuracy: Floats
    norm: Floats
    loss_max: Floats


@dataclass(frozen=True)
class Slingshots:
    """The slingshots of one run. The arrays are (event,); an event is `qualified` if it is a slingshot.

    memorised_at   step of the first perfect training accuracy, NaN without one
    spikes         number of rises of the loss, with or without misclassified rows at an evaluation
    step           step at which the event begins
    height         decades from the minimum before the event to its peak
    norm_gain      norm at the end of the window after, divided by that at the start of the window before
    jumps          number of records that pass the second threshold
    cycles         number of rises of the norm that are followed by a rest
    """

    memorised_at: float
    spikes: int
    step: Floats
    height: Floats
    norm_gain: Floats
    qualified: NDArray[np.bool_]
    jumps: int
    cycles: int

    @property
    def events(self) -> int:
        return len(self.step)

    @property
    def count(self) -> int:
        return int(self.qualified.sum())


@dataclass(frozen=True)
class Spike:
    """Records of a rise of the loss: first above the threshold, peak, end; and the minimum that it rose from."""

    first: int
    peak: int
    end: int
    base: float


def slingshots_of(dataset: xr.Dataset, rule: SlingshotRule = SlingshotRule()) -> list[Slingshots]:
    """The slingshots of every run of a loaded results directory, in the order of its runs."""
    names = ("train_loss", "train_accuracy", "output_frobenius", "training_loss_max")
    columns = [series(dataset, name) for name in names]
    by_run = []
    for run in range(dataset.sizes["run"]):
        done = int(columns[0].done[run])
        loss, accuracy, norm, most = (c.value[run, :done].astype(float) for c in columns)
        step = columns[0].step[run, :done].astype(float)
        by_run.append(find_slingshots(History(step, loss, accuracy, norm, most), rule))
    return by_run


def find_slingshots(history: History, rule: SlingshotRule) -> Slingshots:
    """Spikes, events, slingshots, jumps and cycles after the run has memorised."""
    perfect = np.flatnonzero(history.accuracy >= 1)
    if not len(perfect):
        none = np.empty(0)
        return Slingshots(np.nan, 0, none, none, none, none.astype(bool), 0, 0)
    start = int(perfect[0])
    spikes = list(_spikes(highest_loss(history), start, rule))
    events = [s for s in spikes if (history.accuracy[s.first : s.end + 1] < 1).any()]
    slopes = [_slopes(history, s, rule.window) for s in events]
    peaks = highest_loss(history)
    return Slingshots(
        memorised_at=float(history.step[start]),
        spikes=len(spikes),
        step=np.array([history.step[s.first] for s in events], float),
        height=np.array([np.log10(peaks[s.peak] / max(s.base, FLOOR)) for s in events], float),
        norm_gain=np.array([_norm_gain(history, s, rule.window) for s in events], float),
        qualified=np.array([b > 0 and b >= rule.slope_ratio * a for b, a in slopes], bool),
        jumps=_jumps(history, start, rule),
        cycles=norm_cycles(history.norm[start:], rule),
    )


def highest_loss(history: History) -> Floats:
    """(eval,) training loss: the largest since the record before, if it was measured."""
    return np.fmax(history.loss, history.loss_max)


def _spikes(loss: Floats, start: int, rule: SlingshotRule) -> Iterator[Spike]:
    """All spikes. A spike ends when the loss has fallen by half of its decades. The next one must rise from there."""
    since, record = start, start + 1
    while record < len(loss):
        before = loss[max(since, record - rule.window) : record]
        base = float(np.nanmin(before)) if np.isfinite(before).any() else np.nan
        if not _has_risen(base, loss[record], rule):
            record += 1
            continue
        peak, end = _excursion(loss, record, base)
        yield Spike(record, peak, end, base)
        since, record = end, end + 1


def _has_risen(base: float, loss: float, rule: SlingshotRule) -> bool:
    """Whether the loss is that far above its minimum; false if either is NaN."""
    return loss - base > rule.rise or loss >= 10**rule.decades * max(base, FLOOR)


def _excursion(loss: Floats, first: int, base: float) -> tuple[int, int]:
    """Records of the peak and of the end. If the loss does not fall again, the end is the last record."""
    peak = first
    for record in range(first, len(loss)):
        if loss[record] > loss[peak]:
            peak = record
        # Half of the decades are lost at the geometric mean of base and peak.
        elif loss[record] ** 2 <= max(base, FLOOR) * loss[peak]:
            return peak, record
    return peak, len(loss) - 1


def _slopes(history: History, spike: Spike, window: int) -> tuple[float, float]:
    """Slope of the norm per step in the window before the spike and in that after its peak; NaN without two values."""
    before = slice(max(spike.first - window, 0), spike.first)
    after = slice(spike.peak + 1, spike.peak + 1 + window)
    return _slope(history.step[before], history.norm[before]), _slope(
        history.step[after], history.norm[after]
    )


def _slope(step: Floats, norm: Floats) -> float:
    """Slope by least squares over the finite values."""
    known = np.isfinite(norm)
    if known.sum() < 2:
        return np.nan
    x = step[known] - step[known].mean()
    return float((x * norm[known]).sum() / (x**2).sum())


def _norm_gain(history: History, spike: Spike, window: int) -> float:
    around = history.norm[max(spike.first - window, 0) : spike.peak + 1 + window]
    known = around[np.isfinite(around)]
    return float(known[-1] / known[0]) if len(known) else np.nan


def _jumps(history: History, start: int, rule: SlingshotRule) -> int:
    """Number of records that are spikes by a second, coarser threshold: that of the clean-up in source 004's code."""
    rises = np.diff(history.loss[start:]) > rule.jump
    return int((rises | (-np.diff(history.accuracy[start:]) > rule.drop)).sum())


def norm_cycles(norm: Floats, rule: SlingshotRule) -> int:
    """How often a rise of the norm is followed by a rest, both judged by its growth over one window of records.

    With two or more the norm is cyclic. One is a single rise that ended.
    """
    known = norm[np.isfinite(norm) & (norm > 0)]
    growth = known[rule.window :] / known[: -rule.window] - 1
    cycles, rising = 0, False
    for value in growth:
        if not rising and value >= rule.growth:
            rising = True
        elif rising and value <= rule.growth / 3:
            rising, cycles = False, cycles + 1
    return cycles
