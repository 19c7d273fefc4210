"""How far a run is, on disk."""

from __future__ import annotations

from typing import NamedTuple

DONE = ("finished", "stopped", "diverged")
"""Statuses of runs that have ended."""


class Progress(NamedTuple):
    """How far a run is."""

    status: str
    """waiting, running, or one of DONE."""
    evaluations_done: int
    diverged_at: int
    """Evaluation at which the run diverged, -1 if it did not."""


WAITING = Progress("waiting", 0, -1)
