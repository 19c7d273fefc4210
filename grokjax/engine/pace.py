"""How long the chunks of a group are, and how much of the time is the host's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from grokjax.engine.lifted import MAX_BLOCKS
from grokjax.experiment.config import Execution
from grokjax.training.runstate import Setup

Result = TypeVar("Result")

CHUNK_SECONDS = (0.1, 1.0)
"""Shortest and longest time between two visits of the host that the chunk length aims at."""
VISIT_SHARE = 0.05
"""Between the two: the share of a chunk that the host's own work may take. Short chunks leave no slot idle for long."""


class Pace:
    """A clock that tells the device's time from the host's and chooses the length of the next chunk.

    Seconds are those of `now`, a monotonic clock.
    """

    def __init__(self, setup: Setup, execution: Execution, now: Callable[[], float]):
        self.lag, self._most = limits(setup, execution)
        self._fixed, self._now = execution.chunk, now
        self.blocks, self._visit = 1, 0.0
        self.restart()

    def restart(self) -> None:
        """What has happened until now belongs to no chunk."""
        self._began, self._waited = self._now(), 0.0

    def timed(self, call: Callable[..., Result], *arguments: object) -> Result:
        """Make a call whose time is the device's, not the host's: compiled code, or waiting for it."""
        began = self._now()
        try:
            return call(*arguments)
        finally:
            self._waited += self._now() - began

    def next(self) -> tuple[float, float]:
        """A chunk has been read: (seconds since the one before, those of them that were the device's).

        `blocks` is the next chunk's length: short, but not so short that the host's work would show.
        """
        took = self._now() - self._began
        waited = min(self._waited, took)
        self.restart()
        # Bounded, so that one long visit (files being created) does not stretch the next chunks.
        self._visit += 0.2 * (min(took - waited, 2 * self._visit + 0.002) - self._visit)
        aim = np.clip(self._visit / VISIT_SHARE, *CHUNK_SECONDS)
        wanted = self.blocks * aim / max(took, 1e-3)
        free = int(np.clip(wanted, max(1, self.blocks // 2), self.blocks * 2))
        self.blocks = min(self._fixed or free, self._most)
        return took, waited


def limits(setup: Setup, execution: Execution) -> tuple[int, int]:
    """(lag, most blocks of a chunk) with which no snapshot is replaced before the host has taken it out."""
    if setup.snapshot_every is None:
        return execution.lag, MAX_BLOCKS
    cadence = setup.cadence
    closest = min(cadence.every, cadence.early_every if cadence.early_until else cadence.every)
    gap = setup.snapshot_every * closest // cadence.unit
    lag = execution.lag if gap > 1 else 0
    # With a lag the state that a snapshot is taken from is a chunk further on.
    return lag, max(1, min(gap // (1 + lag), MAX_BLOCKS))
