"""How training is going, drawn in one place: a live table on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time

from rich.console import Console
from rich.live import Live
from rich.table import Table

from grokjax.grid import Group
from grokjax.plan import in_words
from grokjax.tally import Tally

log = logging.getLogger("grokjax")

LINE_SECONDS = 10.0
"""Time between two log lines of one group where the output is no terminal."""

HEADINGS = (
    "group",
    "runs",
    "steps/s",
    "evals",
    "memorised",
    "grokked",
    "diverged",
    "waiting",
    "done",
    "at most",
)


class Display:
    """Call it with a Tally whenever there is news."""

    def __init__(self, groups: list[Group]):
        self.tallies: dict[str, Tally] = {}
        self.order = {group.hash: i + 1 for i, group in enumerate(groups)}
        console = Console(stderr=True)
        self.live = Live(console=console, transient=False, auto_refresh=False)
        self.interactive = console.is_terminal and sys.stderr.isatty()
        self._last, self._told = 0.0, ""

    def __call__(self, tally: Tally) -> None:
        self.tallies[tally.group] = tally
        if self.interactive:
            self._draw()
        elif time.monotonic() - self._last > LINE_SECONDS or _finished(tally):
            self._tell(self._line(tally))

    def _tell(self, line: str) -> None:
        if line != self._told:
            self._last, self._told = time.monotonic(), line
            log.info(line)

    def _draw(self) -> None:
        table = Table(
            *HEADINGS, title="run-steps per second; 'at most': if every run uses its budget"
        )
        for tally in self.tallies.values():
            table.add_row(*self._cells(tally))
        if not self.live.is_started:
            self.live.start()
        self.live.update(table, refresh=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self.live.is_started:
            self.live.stop()

    def _cells(self, t: Tally) -> list[str]:
        left = t.steps_left / t.rate if t.rate else float("inf")
        done = sum(t.done.values())
        return [
            f"{self.order.get(t.group, '?')}/{len(self.order)} {t.group[:6]}",
            *(str(t.n_runs), f"{t.rate:.0f}", str(t.evaluations), str(t.memorised), str(t.grokked)),
            *(str(t.done.get("diverged", 0)), str(t.waiting), str(done)),
            "-" if _finished(t) else in_words(left),
        ]

    def _line(self, t: Tally) -> str:
        cells = self._cells(t)
        return "group " + ", ".join(
            [cells[0]]
            + [f"{name} {cell}" for name, cell in zip(HEADINGS[1:], cells[1:], strict=True)]
        )


def _finished(tally: Tally) -> bool:
    return sum(tally.done.values()) == tally.n_runs
