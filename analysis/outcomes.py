"""What became of a run: when its accuracy first reached a level, or why it did not.

With an evaluation every hundred steps, a time is known only up to a hundred steps. So a time is a
bracket (lower, upper]. More training does not change an outcome other than `censored`: a hit
stays a hit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVELS = (0.5, 0.9, 0.95, 0.99, 0.995)
HIT, CENSORED, NOT_OBSERVED, DIVERGED = STATES = ("hit", "censored", "not observed", "diverged")

Floats = NDArray[np.float64]
# Not NDArray[np.str_]: for run-time checks "<U8" is another type than str_.
Strings = np.ndarray
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Sustain:
    """A lasting hit: the next `evaluations` values are at or above `floor` (None: the level)."""

    evaluations: int = 5
    floor: float | None = None


@dataclass(frozen=True)
class Series:
    """One metric of R runs over E evaluations.

    `value` and `step` are (run, eval). `done` (run,) is the number of evaluations that were made;
    later entries have no meaning. `status` (run,) is the status of each run. A NaN in an
    evaluation that was made counts as a value below every level.
    """

    value: NDArray[np.floating]
    step: NDArray[np.floating]
    done: NDArray[np.integer]
    status: Strings

    @property
    def real(self) -> Bools:
        """(run, eval): which evaluations were made."""
        return np.arange(self.value.shape[1]) < np.asarray(self.done)[:, None]

    @property
    def last_step(self) -> Floats:
        """(run,) step of the last evaluation, -inf for a run that has none."""
        return np.where(self.real, self.step, -np.inf).max(axis=1, initial=-np.inf)


@dataclass(frozen=True)
class FirstHit:
    """When R runs first reached `level`, each somewhere in (lower, upper], in optimiser steps.

    hit           upper is the first evaluation at the level, lower the one before it (-inf if there
                  is none)
    censored      the budget was spent, or training goes on: lower is the last evaluation, upper inf
    not observed  the stop rule ended the run before: limits as for censored. The end depends on
                  the run, so a statistic must not treat it as censoring
    diverged      the run can no longer reach the level: both limits are inf
    """

    level: float
    lower: Floats
    upper: Floats
    state: Strings

    @property
    def hit(self) -> Bools:
        """(run,) whether the level was reached."""
        return self.state == HIT

    @property
    def time(self) -> Floats:
        """(run,) step of the first evaluation at the level, NaN without a hit."""
        return np.where(self.hit, self.upper, np.nan)

    def of(self, runs: NDArray[np.integer]) -> FirstHit:
        """The outcome of some of the runs, by index."""
        return FirstHit(self.level, self.lower[runs], self.upper[runs], self.state[runs])


def first_hit(series: Series, level: float, sustain: Sustain | None = None) -> FirstHit:
    """Brackets and states of all runs at one level; with `sustain`, of the first lasting hit."""
    above = series.real & (np.nan_to_num(series.value, nan=-np.inf) >= level)
    if sustain is not None and above.size:
        above &= _followed_by_holds(
            series, sustain.floor if sustain.floor is not None else level, sustain.evaluations
        )
    state = np.where(above.any(axis=1), HIT, _state_without_hit(series.status))
    lower, upper = _bracket(above, series)
    gone = state == DIVERGED
    return FirstHit(level, np.where(gone, np.inf, lower), np.where(gone, np.inf, upper), state)


def delay(train: FirstHit, val: FirstHit) -> Floats:
    """(run,) steps from the training hit to the validation hit; NaN unless both were reached."""
    return val.time - train.time


def delay_ratio(train: FirstHit, val: FirstHit) -> Floats:
    """(run,) validation time over training time; NaN unless both were reached.

    A training hit at step 0 gives inf, or 1 when the validation hit is at step 0 too.
    """
    both = train.hit & val.hit
    start = np.where(both & (train.time > 0), train.time, 1.0)
    ratio = np.where(train.time > 0, val.time / start, np.where(val.time > 0, np.inf, 1.0))
    return np.where(both, ratio, np.nan)


def _state_without_hit(status: Strings) -> Strings:
    return np.select(
        [status == "diverged", status == "stopped"], [DIVERGED, NOT_OBSERVED], CENSORED
    )


def _bracket(above: Bools, series: Series) -> tuple[Floats, Floats]:
    """The limits around each row's first True; (last step, inf) for a row without one."""
    if above.shape[1] == 0:
        return np.full(len(above), -np.inf), np.full(len(above), np.inf)
    rows, first, reached = np.arange(len(above)), above.argmax(axis=1), above.any(axis=1)
    previous = np.where(first > 0, series.step[rows, np.maximum(first - 1, 0)], -np.inf)
    lower = np.where(reached, previous, series.last_step)
    return lower, np.where(reached, series.step[rows, first], np.inf)


def _followed_by_holds(series: Series, floor: float, evaluations: int) -> Bools:
    """(run, eval): whether the next `evaluations` values are all at or above the floor.

    If fewer values follow, the missing ones count as held if the stop rule ended the run (it ended
    because the accuracy held), otherwise as not held. So a short rise at the end of the budget is
    censored, and a larger budget decides.
    """
    held = series.real & (np.nan_to_num(series.value, nan=-np.inf) >= floor)
    held |= ~series.real & (series.status == "stopped")[:, None]
    beyond = np.broadcast_to((series.status == "stopped")[:, None], (len(held), evaluations))
    padded = np.concatenate([held, beyond], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, evaluations + 1, axis=1)
    return np.asarray(windows[..., 1:].all(axis=-1))
