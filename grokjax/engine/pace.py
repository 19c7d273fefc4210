"""The length of a group's chunks, and how much of the time is the host's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from grokjax.engine.lifted import MAX_BLOCKS
from grokjax.experiment.config import Execution
from grokjax.training.runstate import Setup

Result = TypeVar("Result")

CHUNK_SECONDS = (0.1, 1.0)
"""Shortest and longest time between two visits of the host, in seconds. The length of a chunk is chosen for them."""
VISIT_SHARE = 0.05
"""Between the two: the share of a chunk's time that the host's own work may take. Chunks should be short, because the
slot of an ended run is idle until the end of the chunk."""


class Pace:
    """Measures the time of the device and that of the host, and chooses the length of the next chunk.

    `now` is a monotonic clock, in seconds.
    """

    def __init__(self, setup: Setup, execution: Execution, now: Callable[[], float]):
        self.lag, self._most = limits(setup, execution)
        self._fixed, self._now = execution.chunk, now
        self.blocks, self._visit = 1, 0.0
        self.restart()

    def restart(self) -> None:
        """Begin to measure a chunk. The time before this call counts for no chunk."""
        self._began, self._waited = self._now(), 0.0

    def timed(self, call: Callable[..., Result], *arguments: object) -> Result:
        """Make a call whose time is the device's, not the host's: compiled code, or waiting for it."""
        began = self._now()
        try:
            return call(*arguments)
        finally:
            self._waited += self._now() - began

    def next(self) -> tuple[float, float]:
        """Call it when a chunk has been read. Returns (seconds since the chunk before, the device's part of them).

        It sets `blocks`, the length of the next chunk: short, but so long that the host's work is a small share of it.
        """
        took = self._now() - self._began
        waited = min(self._waited, took)
        self.restart()
        # Limited, so that one long visit (when files are created) does not make the next chunks long.
        self._visit += 0.2 * (min(took - waited, 2 * self._visit + 0.002) - self._visit)
        aim = np.clip(self._visit / VISIT_SHARE, *CHUNK_SECONDS)
        wanted = self.blocks * aim / max(took, 1e-3)
        free = int(np.clip(wanted, max(1, self.blocks // 2), self.blocks * 2))
        self.blocks = min(self._fixed or free, self._most)
        return took, waited


def limits(setup: Setup, execution: Execution) -> tuple[int, int]:
    """(lag, largest number of blocks of a chunk) with which the host reads every snapshot before it is replaced."""
    if setup.snapshot_every is None:
        return execution.lag, MAX_BLOCKS
    cadence = setup.cadence
    closest = min(cadence.every, cadence.early_every if cadence.early_until else cadence.every)
    gap = setup.snapshot_every * closest // cadence.unit
    lag = execution.lag if gap > 1 else 0
    # With a lag, the state from which the host reads a snapshot is one chunk later.
    return lag, max(1, min(gap // (1 + lag), MAX_BLOCKS))
