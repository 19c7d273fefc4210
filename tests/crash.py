"""Run the command line and be killed, as by kill -9, at a named point: python crash.py POINT COUNT CONFIG ..."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from grokjax.cli.commands import main
from grokjax.driver import notes, recorder
from grokjax.driver.trainer import GroupTrainer
from grokjax.engine.program import Program
from grokjax.results import pack_writing
from grokjax.results.checkpoint import Checkpoints
from grokjax.results.writer import StoreWriter

POINTS = {
    "in a save": (Checkpoints, "save", 0.003),
    "after a save": (Checkpoints, "save", 0.5),
    "after a pack, before its line in the log": (pack_writing, "write_sealed", 0.0),
    "after the runs that ended": (StoreWriter, "add_ended", 0.0),
    "after snapshots": (StoreWriter, "add_snapshots", 0.0),
    "between histories and checkpoint": (StoreWriter, "write_running", 0.0),
    "while packs are merged": (pack_writing, "write", 0.0),
    "after packs were merged": (pack_writing, "replace", 0.0),
    "after histories were noted": (recorder.Recorder, "note_progress", 0.0),
    "after a refill": (GroupTrainer, "_fill", 0.0),
    "after an admission": (StoreWriter, "admit", 0.0),
    "after a restore": (Checkpoints, "restore", 0.0),
    "after an advance": (Program, "advance", 0.0),
}
"""Function after whose n-th call the process dies, and how many seconds after it."""


def arm(point: str, count: int) -> None:
    """Die `count` calls from now."""
    owner, name, delay = POINTS[point]
    real = getattr(owner, name)
    calls = [0]

    def deadly(*args: Any, **kwargs: Any) -> Any:
        result = real(*args, **kwargs)
        calls[0] += 1
        if calls[0] == count:
            time.sleep(delay)
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, deadly)


if __name__ == "__main__":
    # A file at every visit: how often a point is reached must not depend on how fast the machine is.
    recorder.FLUSH_SECONDS = 0.0
    noted = sys.argv[1] == "after histories were noted"
    notes.FIRST_SECONDS, notes.SECONDS, notes.SHARE = (0.0, 0.0, 1e9) if noted else (1e9, 1e9, 1.0)
    arm(sys.argv[1], int(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
