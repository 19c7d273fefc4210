"""What a command does after a signal: it ends at once, or saves unsaved results and then ends.

A separate thread handles signals. Python runs signal handlers only in the main thread, between two instructions, so
they do not run while that thread compiles (seconds to minutes, in C++). This module imports nothing large, because
`watch` is called before everything else is imported.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

INTERRUPTED = 75
"""Exit code EX_TEMPFAIL: interrupted, resumable."""

SIGNALS = [getattr(signal, n) for n in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, n)]

REPEAT_SECONDS = 1.0
"""A second signal within this time is ignored: `make` and `timeout` repeat the signal that the terminal sent."""

PARENT = "GROKJAX_WORKER_ENDS_WITH"
"""Environment variable with the process without which a worker saves and ends: nobody would know of it any more."""

_STDERR = 2
_SHOW_CURSOR = "\x1b[?25h\n"
"""Shows the cursor, which the live table hides, and begins a new line."""


class Watch:
    """The signals received so far, and whether there are unsaved results."""

    def __init__(self) -> None:
        self.on = False
        self.received: int | None = None
        self.unsaved: Callable[[], bool] = lambda: False
        self.notes: list[Path] = []
        self._first = 0.0
        self._ending = threading.Lock()

    def hear(self, number: int) -> None:
        """Handle a signal. Called in the watching thread, so it must not wait for the main thread."""
        name, now, first = signal.Signals(number).name, time.monotonic(), self.received is None
        if first:
            self.received, self._first = number, now
        # Asked after the signal is noted: the main thread looks in the other order, so one of the two sees the other.
        if not self.unsaved():
            self.end(
                f"{name}: ended at once, because there was nothing to save. Continue with: {command()}"
            )
        elif first:
            say(
                f"{name}: ending after this chunk, once everything is saved; a second signal ends without saving"
            )
        elif now - self._first > REPEAT_SECONDS:
            self.end(
                f"{name}: ended at once without saving; the last checkpoint is kept. Continue with: {command()}"
            )

    def end(self, message: str) -> NoReturn:
        """End the process at once, without waiting for threads, compilations or destructors."""
        self._ending.acquire()  # never released: the first of two threads ends the process
        for note in [*self.notes]:
            with contextlib.suppress(OSError):
                note.unlink(missing_ok=True)
        say(message)
        os._exit(INTERRUPTED)


_watch = Watch()
"""Of this process; a process has one set of signal handlers."""


def watch() -> None:
    """Handle signals at once from now on. Call it in the main thread, before the slow imports."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    threading.Thread(target=_listen, args=(read,), daemon=True, name="signals").start()
    # The C handler writes the signal's number into the pipe itself, without waiting for the main thread.
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    _watch.on = True
    handle_again()


def handle_again() -> None:
    """After a library took the signals for itself: hear them again, if `watch` was called."""
    if _watch.on:
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)


def _listen(read: int) -> None:
    while True:
        for number in os.read(read, 64):
            if number in SIGNALS:
                _watch.hear(number)


def being_run() -> bool:
    """Whether `python -m` runs the package that is being imported: only its `__main__` comes after that."""
    return sys.argv[:1] == ["-m"]


def watching() -> bool:
    """Whether signals are handled here, so that nothing else should handle them."""
    return _watch.on


def received() -> bool:
    """Whether a signal has asked for an end."""
    return _watch.received is not None


@contextlib.contextmanager
def saving(unsaved: Callable[[], bool]) -> Iterator[None]:
    """While the block runs, a signal ends the process at once only where `unsaved()` is false."""
    before, _watch.unsaved = _watch.unsaved, unsaved
    try:
        yield
    finally:
        _watch.unsaved = before


@contextlib.contextmanager
def removed_at_end(note: Path) -> Iterator[None]:
    """Delete a file that says that this process is running, also when a signal ends the process."""
    _watch.notes.append(note)
    try:
        yield
    finally:
        _watch.notes.remove(note)


def end(message: str) -> int:
    """Print the message and end the process if `watch` was called; otherwise return the exit code."""
    if _watch.on:
        _watch.end(message)
    sys.stderr.write(f"{message}\n")
    return INTERRUPTED


def command() -> str:
    """The command that continues the work."""
    return shlex.join(["python", *sys.orig_argv[1:]])


def say(message: str) -> None:
    """Write a line to stderr without Python's buffers: the main thread may hold their locks, and a full pipe would
    block."""
    with contextlib.suppress(OSError):
        line = f"{_SHOW_CURSOR if os.isatty(_STDERR) else ''}{message}\n"
        if select.select([], [_STDERR], [], 1.0)[1]:
            os.write(_STDERR, line.encode())
