"""Which worker needs so long that free workers should take a part of its runs. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from grokjax.cluster.placements import Placement

WORTH_SECONDS = 120.0
"""What is left must take longer than this: moving costs a start and a compilation on each machine."""


def seconds_left(tally: dict) -> float:
    """Of a worker, if every run uses its budget; inf before its speed is known."""
    steps, seconds = tally.get("run_steps", 0), tally.get("train_seconds", 0.0)
    return tally.get("steps_left", 0) * seconds / steps if steps else math.inf


def straggler(placements: Sequence[Placement], free: int) -> Placement | None:
    """The slowest worker that has more than one tile on each device; None if nobody is free or it is not worth it."""
    if free < 1:
        return None
    able = [p for p in placements if _left(p) > p.share.tile * p.share.devices]
    worth = [p for p in able if seconds_left(p.tally) > WORTH_SECONDS]
    return max(worth, key=lambda p: seconds_left(p.tally), default=None)


def _left(placement: Placement) -> int:
    """Runs that a worker has in training or waiting."""
    return placement.tally.get("running", 0) + placement.tally.get("waiting", 0)
