"""The page of a training that goes on: another process writes it, and hears from here how far the training is."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from grokjax.driver.remaining import seconds_left, work_of
from grokjax.driver.tally import Tally
from grokjax.experiment.grid import Group

FIRST_SECONDS, TELL_SECONDS = 8.0, 5.0
"""From the first numbers to the start of the process, so that a short training has none; between two messages."""
END_SECONDS = 10.0
"""How long the end of a training waits for a page that is being written."""
_CODE = "import os; os.nice(19); from analysis.report.follow import main; main()"


class PageWriter:
    """Call it with a Tally whenever its numbers have changed. It never waits."""

    def __init__(self, path: Path, groups: Iterable[Group]):
        self.path = path
        self.works = {group.hash: work_of(group) for group in groups}
        self.n_runs = sum(len(group.runs) for group in groups)
        self.tallies: dict[str, Tally] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self._began: float | None = None
        self._told = -math.inf

    def __call__(self, tally: Tally) -> None:
        self.tallies[tally.group] = tally
        now = time.monotonic()
        if tally.evaluations and self._began is None:
            self._began = now
        if self._began is None or now - self._began < FIRST_SECONDS:
            return
        if self.process is None:
            self.process = self._start()
        if now - self._told > TELL_SECONDS:
            self._told = now
            self._tell(self._progress())

    def _start(self) -> subprocess.Popen[bytes]:
        root = str(Path(__file__).parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        process = subprocess.Popen(
            [sys.executable, "-c", _CODE, str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is meant for the training
        )
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        return process

    def _progress(self) -> dict[str, float | None]:
        left = seconds_left(list(self.works), self.works, self.tallies)
        done = sum(sum(tally.done.values()) for tally in self.tallies.values())
        return {
            "done": done,
            "runs": self.n_runs,
            "seconds_left": left if math.isfinite(left) else None,
        }

    def _tell(self, message: object) -> None:
        """A full pipe, or a process that has ended, loses the message: the training does not wait."""
        assert self.process is not None and self.process.stdin is not None
        with contextlib.suppress(OSError):
            os.write(self.process.stdin.fileno(), (json.dumps(message) + "\n").encode())

    def close(self, ended: bool) -> None:
        """`ended`: the caller writes the last page, so wait until no other is written. Else the process writes it."""
        if self.process is None:
            return
        if ended:
            self._tell("end")
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        if not ended:
            return
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            for half in self.path.rglob(f".*.{self.process.pid}.partial"):
                half.unlink(missing_ok=True)


@contextlib.contextmanager
def page_writer(path: Path, groups: Iterable[Group]) -> Iterator[PageWriter]:
    """A writer that is closed at the end, however the training ends."""
    writer, ended = PageWriter(path, groups), False
    try:
        yield writer
        ended = True
    finally:
        writer.close(ended)
