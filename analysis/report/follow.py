"""A process of its own that writes the page while a training goes on. The training only tells it how far it is.

It has the lowest priority, and rests so long after each page that it takes at most 1 % of the machine's time. It ends
when the training does, however that ends: its standard input is a pipe that only the training holds open.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from pathlib import Path
from typing import Any

from analysis.load import ResultsError, load
from analysis.report.writing import write_report
from analysis.study import Definitions, make_study

LEAST_PAUSE, SHARE = 30.0, 0.01
"""Seconds between two pages at least, and the largest share of the machine's time."""
RETRY = 5.0
"""Seconds until the next try where no run has results yet."""
END = "end"
"""What a training says that goes on to write the last page itself."""


def follow(path: Path, source: int) -> None:
    """Write pages until the source (a file descriptor) ends; then a last one, unless the training writes it itself."""
    progress: dict[str, Any] = {}
    pause = 0.0
    while True:
        told, open_still = _heard(source, pause)
        if END in told:
            return
        progress = told[-1] if told else progress
        began = time.process_time()
        written = _write(path, progress if open_still else None)
        if not open_still:
            return
        taken = (time.process_time() - began) / (SHARE * (os.cpu_count() or 1))
        pause = max(LEAST_PAUSE, taken) if written else RETRY


def _heard(source: int, seconds: float) -> tuple[list[Any], bool]:
    """What was told within so many seconds, and whether the training is still there."""
    text, until, open_still = b"", time.monotonic() + seconds, True
    while open_still and END.encode() not in text:
        ready = select.select([source], [], [], max(until - time.monotonic(), 0))[0]
        if not ready:
            break
        more = os.read(source, 65536)
        text, open_still = text + more, bool(more)
    return [_line(line) for line in text.split(b"\n") if line], open_still


def _line(line: bytes) -> Any:
    """One message; the training writes whole lines, but a full pipe may have cut one."""
    try:
        return json.loads(line)
    except ValueError:
        return {}


def _write(path: Path, progress: dict[str, Any] | None) -> bool:
    """Whether a page was written; not where no run has results yet, or while the disk refuses."""
    try:
        write_report(make_study(load(path), Definitions()), path, progress)
    except (ResultsError, OSError):
        return False
    return True


def main() -> None:
    """`python -c 'from analysis.report.follow import main; main()' DIR`, with the pipe as standard input."""
    follow(Path(sys.argv[1]), sys.stdin.fileno())
