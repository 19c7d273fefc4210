"""Slingshots in a run's history: the output layer's norm grows, the training loss spikes, the norm rests, and again.

Thilak et al. 2022 (arXiv 2206.04817) describe them and give no formal detector. The rule here: an event is a record
after the first perfect training accuracy at which the training loss has risen by a decade, or by 0.5, above its minimum
over the last ten records, while training rows are misclassified; a slingshot is an event before which the norm grew,
and at least three times as fast as after it.
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
"""Below this a loss is rounding, and a ratio of two such losses means nothing."""


@dataclass(frozen=True)
class SlingshotRule:
    """`window` in records (evaluations); the other lengths as their comments say."""

    window: int = 10
    decades: float = 1.0
    """Rise of the training loss, in powers of ten, ..."""
    rise: float = 0.5
    """... or in nats, above its minimum over the window."""
    slope_ratio: float = 3.0
    """Slope of the norm over the window before, over that of the window after."""
    jump: float = 0.5
    """Second threshold: rise of the loss from one record to the next, ..."""
    drop: float = 0.1
    """... or fall of the accuracy."""
    growth: float = 0.05
    """Of the norm over a window: at least this is a rise, at most a third of it a rest."""


@dataclass(frozen=True)
class History:
    """One run over its evaluations, (eval,) each. `loss_max`: largest training loss since the evaluation before."""

    step: Floats
    loss: Floats
    accuracy: Floats
    norm: Floats
    loss_max: Floats


@dataclass(frozen=True)
class Slingshots:
    """What was found in one run. The arrays are (event,); an event is `qualified` if it is a slingshot.

    memorised_at   step of the first perfect training accuracy, NaN without one
    spikes         rises of the loss, whether or not a misclassified row was seen at an evaluation
    step, height   of the event's beginning; decades from the minimum before to the peak
    norm_gain      norm at the end of the window after over that at the start of the window before
    jumps          records that pass the second threshold
    cycles         rises of the norm that were followed by a rest
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
    """Of every run of a loaded results directory, in its order."""
    names = ("train_loss", "train_accuracy", "output_frobenius", "training_loss_max")
    columns = [series(dataset, name) for name in names]
    found = []
    for run in range(dataset.sizes["run"]):
        done = int(columns[0].done[run])
        loss, accuracy, norm, most = (c.value[run, :done].astype(float) for c in columns)
        step = columns[0].step[run, :done].astype(float)
        found.append(find_slingshots(History(step, loss, accuracy, norm, most), rule))
    return found


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
    """Training loss of a record: the largest since the record before, where that was measured."""
    return np.fmax(history.loss, history.loss_max)


def _spikes(loss: Floats, start: int, rule: SlingshotRule) -> Iterator[Spike]:
    """A spike is over once the loss has lost half of its decades; the next one needs a new rise from there."""
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
    """False where either is NaN."""
    return loss - base > rule.rise or loss >= 10**rule.decades * max(base, FLOOR)


def _excursion(loss: Floats, first: int, base: float) -> tuple[int, int]:
    """Records of the peak and of the end; the end is the last record where the loss does not come down."""
    peak = first
    for record in range(first, len(loss)):
        if loss[record] > loss[peak]:
            peak = record
        # The geometric mean of base and peak.
        elif loss[record] ** 2 <= max(base, FLOOR) * loss[peak]:
            return peak, record
    return peak, len(loss) - 1


def _slopes(history: History, spike: Spike, window: int) -> tuple[float, float]:
    """Of the norm by steps, over the window before the spike and over that after its peak; NaN without two values."""
    before = slice(max(spike.first - window, 0), spike.first)
    after = slice(spike.peak + 1, spike.peak + 1 + window)
    return _slope(history.step[before], history.norm[before]), _slope(
        history.step[after], history.norm[after]
    )


def _slope(step: Floats, norm: Floats) -> float:
    """Least squares over the finite values."""
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
    """Records that a second, coarser threshold takes for spikes: that of the clean-up in source 004's code."""
    rises = np.diff(history.loss[start:]) > rule.jump
    return int((rises | (-np.diff(history.accuracy[start:]) > rule.drop)).sum())


def norm_cycles(norm: Floats, rule: SlingshotRule) -> int:
    """How often a rise of the norm is followed by a rest, both judged by its growth over one window of records.

    Two or more are a cyclic norm; a single one is a rise that ended.
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
