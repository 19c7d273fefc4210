"""Whether a signal asks a training to save and end."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any

from grokjax import signals

log = logging.getLogger("grokjax")


class StopSignal:
    """Set by SIGTERM, SIGINT or SIGUSR1. A second SIGINT quits at once.

    For programs that call `run`; a command hears its signals by `signals.watch`, also while it compiles.
    """

    def __init__(self) -> None:
        self.received: int | None = None

    def __call__(self) -> bool:
        return self.received is not None or signals.received()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number

    @contextlib.contextmanager
    def listening(self) -> Iterator[StopSignal]:
        """Handle the signals while the block runs. Only the main thread can; elsewhere nothing changes."""
        if signals.watching():
            yield self
            return
        old: dict[int, Any] = {}
        try:
            for number in signals.SIGNALS:
                old[number] = signal.signal(number, self._handle)
        except ValueError:
            log.debug("not the main thread: signals are not handled")
        try:
            yield self
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)
