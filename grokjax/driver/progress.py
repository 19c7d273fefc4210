"""The progress of the training: a live table on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable

from rich.console import Console
from rich.live import Live
from rich.table import Table

from grokjax.driver.group_names import group_names
from grokjax.driver.remaining import seconds_left, work_of
from grokjax.driver.tally import LEVEL, Tally
from grokjax.experiment.grid import Group
from grokjax.training.costs import in_words

log = logging.getLogger("grokjax")

LINE_SECONDS = 10.0
"""Seconds between two log lines if the output is not a terminal."""
MOST_ROWS = 10
"""Rows of the table, for the latest groups. In a longer table the group in training would not be visible."""
TITLE = (
    "steps/s: run-steps per second; evals, memorised and grokked: since this start; "
    "'at most': if every run uses its budget"
)


class Display:
    """Shows progress. Call it with a Tally whenever its numbers have changed."""

    def __init__(self, groups: list[Group]):
        self.tallies: dict[str, Tally] = {}
        self.order = {group.hash: i + 1 for i, group in enumerate(groups)}
        self.names = group_names(groups)
        self.works = {group.hash: work_of(group) for group in groups}
        self.n_runs = {group.hash: len(group.runs) for group in groups}
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
        if not self.live.is_started:
            self.live.start()
        self.live.update(self.table(), refresh=True)

    def close(self) -> None:
        """Restore the terminal."""
        if self.live.is_started:
            self.live.stop()

    def table(self) -> Table:
        """A row for each of the latest groups, and one for all."""
        tallies = list(self.tallies.values())
        hidden = len(tallies) - MOST_ROWS
        caption = f"{hidden} earlier groups are not shown" if hidden > 0 else None
        several = len(self.order) > 1
        table = Table(*headings(tallies), title=TITLE, caption=caption, show_footer=several)
        for tally in tallies[-MOST_ROWS:]:
            table.add_row(self._name(tally), *self._cells(tally))
        if several:
            for column, cell in zip(table.columns, self._cells_of_all(), strict=True):
                column.footer = cell
        return table

    def _name(self, t: Tally) -> str:
        name = self.names.get(t.group, t.group[:6])
        return f"{self.order.get(t.group, '?')}/{len(self.order)} {name}"

    def _cells(self, t: Tally) -> list[str]:
        left = t.steps_left / t.rate if t.rate else float("inf")
        return [
            str(t.n_runs),
            f"{t.rate:.0f}",
            str(t.evaluations),
            str(t.memorised),
            str(t.grokked),
            str(t.done.get("diverged", 0)),
            str(t.waiting),
            str(_done(t)),
            "-" if _finished(t) else in_words(left),
        ]

    def _cells_of_all(self) -> list[str]:
        """Sums over all groups, including those that have not begun."""
        seen = list(self.tallies.values())
        runs = sum(self.n_runs.values())
        not_begun = sum(n for group, n in self.n_runs.items() if group not in self.tallies)
        steps, seconds = sum(t.run_steps for t in seen), sum(t.train_seconds for t in seen)
        counts = (
            sum(t.evaluations for t in seen),
            sum(t.memorised for t in seen),
            sum(t.grokked for t in seen),
            sum(t.done.get("diverged", 0) for t in seen),
            sum(t.waiting for t in seen) + not_begun,
            sum(map(_done, seen)),
        )
        rate = f"{steps / seconds:.0f}" if seconds else "0"
        return [f"all {len(self.order)} groups", str(runs), rate, *map(str, counts), self._left()]

    def _left(self) -> str:
        left = seconds_left(list(self.order), self.works, self.tallies)
        return in_words(left) if left else "-"

    def _line(self, t: Tally) -> str:
        cells = zip(headings([t])[1:], self._cells(t), strict=True)
        line = f"group {self._name(t)}: " + ", ".join(_said(name, cell) for name, cell in cells)
        if len(self.order) == 1:
            return line
        done, runs = sum(map(_done, self.tallies.values())), sum(self.n_runs.values())
        return (
            f"{line}; all {len(self.order)} groups: done {done} of {runs}, at most {self._left()}"
        )


def headings(tallies: Iterable[Tally]) -> list[str]:
    """Headings of the columns, with the accuracy that a run must reach to be counted."""
    levels = sorted({t.level for t in tallies}) or [LEVEL]
    at = " to ".join(f"{level:g}" for level in dict.fromkeys((levels[0], levels[-1])))
    return [
        "group",
        "runs",
        "steps/s",
        "evals",
        f"memorised at {at}",
        f"grokked at {at}",
        "diverged",
        "waiting",
        "done",
        "at most",
    ]


def _done(tally: Tally) -> int:
    return sum(tally.done.values())


def _finished(tally: Tally) -> bool:
    return _done(tally) == tally.n_runs


def _said(name: str, cell: str) -> str:
    """'done 3', but 'grokked at 0.95: 2', where two numbers would stand together."""
    return f"{name}: {cell}" if name[-1].isdigit() else f"{name} {cell}"
