"""The progress of all workers: a live table on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from grokjax.cluster.placements import Placement
from grokjax.driver.progress import LINE_SECONDS
from grokjax.quoting import counted
from grokjax.training.costs import in_words

log = logging.getLogger("grokjax")

_MOST_ROWS = 20
_HEADINGS = ("share", "machine", "runs", "done", "running", "waiting", "steps/s", "at most")


class ClusterTable:
    """Shows what workers said last."""

    def __init__(self, path: Path, n_runs: int):
        self._path, self._n_runs = path, n_runs
        console = Console(stderr=True)
        self._live = Live(console=console, transient=False, auto_refresh=False)
        self._interactive = console.is_terminal and sys.stderr.isatty()
        self._last, self._told = 0.0, ""

    def show(self, placed: Mapping[str, Placement], ended: int, steps_left: float) -> None:
        """`ended`: runs that have ended before, or in shares that are done. `steps_left`: of all runs."""
        if self._interactive:
            if not self._live.is_started:
                self._live.start()
            self._live.update(self.table(placed, ended, steps_left), refresh=True)
        elif time.monotonic() - self._last > LINE_SECONDS:
            line = f"{self._path}: " + self._sum(placed, ended, steps_left)
            if line != self._told:
                self._last, self._told = time.monotonic(), line
                log.info(line)

    def close(self) -> None:
        """Restore the terminal."""
        if self._live.is_started:
            self._live.stop()

    def table(self, placed: Mapping[str, Placement], ended: int, steps_left: float) -> Table:
        """A row for each worker, and a line for all."""
        working = [p for p in placed.values() if p.heard is not None]
        hidden = len(working) - _MOST_ROWS
        title = self._sum(placed, ended, steps_left)
        table = Table(*_HEADINGS, title=title, caption=f"{hidden} more" if hidden > 0 else None)
        for placement in working[:_MOST_ROWS]:
            table.add_row(*_cells(placement))
        return table

    def _sum(self, placed: Mapping[str, Placement], ended: int, steps_left: float) -> str:
        working = [p for p in placed.values() if p.heard is not None]
        rate = sum(map(_rate, working))
        left = in_words(steps_left / rate) if rate else "unknown"
        waiting = counted(len(placed) - len(working), "share")
        return (
            f"{counted(len(working), 'worker')}, {waiting} waiting, {ended} of {self._n_runs} runs done, "
            f"{rate:.0f} steps/s, at most {left}"
        )


def _cells(p: Placement) -> list[str]:
    tally = p.tally
    left = tally.get("steps_left", math.inf) / _rate(p) if _rate(p) else math.inf
    return [
        p.share.name,
        str(p.said.get("host", "?")),
        str(len(p.share.runs)),
        str(sum(tally.get("done", {}).values())),
        str(tally.get("running", 0)),
        str(tally.get("waiting", 0)),
        f"{_rate(p):.0f}",
        in_words(left),
    ]


def _rate(p: Placement) -> float:
    seconds = p.tally.get("train_seconds", 0.0)
    return p.tally.get("run_steps", 0) / seconds if seconds else 0.0
