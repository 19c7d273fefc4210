"""Histories of the runs in training, written from time to time for those who look on."""

from __future__ import annotations

import time

from grokjax.driver.recorder import Recorder

FIRST_SECONDS, SECONDS = 5.0, 30.0
"""Until they are first written, and between two times at least."""
SHARE = 0.005
"""The largest part of the time that writing them may take."""


class Notes:
    """Call `write_if_due` in the loop of the training."""

    def __init__(self, recorder: Recorder):
        self.recorder = recorder
        self._at = time.monotonic() + FIRST_SECONDS

    def write_if_due(self) -> None:
        """Write the histories if it is time."""
        began = time.monotonic()
        if began >= self._at:
            self.recorder.note_progress()
            took = time.monotonic() - began
            self._at = began + max(SECONDS, took / SHARE)
