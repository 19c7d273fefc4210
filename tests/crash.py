"""Run the command line and be killed, as by kill -9, at a named point: python crash.py POINT COUNT CONFIG ..."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from grokjax.cli.commands import main
from grokjax.driver.trainer import GroupTrainer
from grokjax.engine.program import Program
from grokjax.results import store
from grokjax.results.checkpoint import Checkpoints

POINTS = {
    "in a save": (Checkpoints, "save", 0.003),
    "after a save": (Checkpoints, "save", 0.5),
    "between history and status": (store.History, "write_all", 0.0),
    "between weights and status": (store.GroupStore, "write_weights", 0.0),
    "after the status": (store.GroupStore, "flush", 0.0),
    "after a refill": (GroupTrainer, "_fill", 0.0),
    "while a store is made": (store.History, "create", 0.0),
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

    setattr(
        owner, name, staticmethod(deadly) if owner is store.History and name == "create" else deadly
    )


if __name__ == "__main__":
    arm(sys.argv[1], int(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
