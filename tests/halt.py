"""Run the command line as run.py does, and stand still at a named place: python halt.py PLACE COUNT CONFIG ..."""

from __future__ import annotations

import ctypes
import functools
import importlib
import sys
from typing import Any

from grokjax import signals

PLACES = {
    "before a chunk": "grokjax.engine.program:Program.advance",
    "before a group": "grokjax.driver.trainer:GroupTrainer.train",
    "before a program ahead": "grokjax.engine.program:Program.compile",
    "before a checkpoint": "grokjax.driver.trainer:GroupTrainer._checkpoint",
    "in a plan": "grokjax.cli.estimate:measure_machine",
    "in a measurement": "grokjax.driver.measure:_each",
    "before figures": "analysis:draw_everything",
}
"""Function before whose n-th call the process stands still."""


def stand_still() -> None:
    """As in a compilation: in C, without the GIL, and no signal wakes it. A mutex that is locked twice."""
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(128)
    libc.pthread_mutex_init(mutex, None)
    signals.say("standing still")
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)


def arm(place: str, count: int) -> None:
    """Stand still `count` calls from now."""
    module, _, path = PLACES[place].partition(":")
    *owners, name = path.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    real, calls = getattr(owner, name), [0]

    def halting(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == count:
            stand_still()
        return real(*args, **kwargs)

    setattr(owner, name, halting)


def compile_ahead() -> None:
    """On CPU too."""
    from grokjax.driver import session
    from grokjax.engine import compile_ahead

    session.compiling_ahead = functools.partial(compile_ahead.compiling_ahead, enabled=True)


if __name__ == "__main__":
    signals.watch()
    from grokjax.cli.commands import main

    if sys.argv[1] == "before a program ahead":
        compile_ahead()
    arm(sys.argv[1], int(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
