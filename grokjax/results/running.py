"""The histories of the runs in training, in one file that is written anew with every checkpoint. No JAX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from grokjax.atomic import move_directory_away
from grokjax.results.loss import Loss
from grokjax.results.sealed import Damaged, Sealed, write_sealed


class Running:
    """What the file holds; a file that is not there holds nothing."""

    def __init__(self, path: Path):
        self.path = path
        self.losses: list[Loss] = []
        self.names: list[str] = []
        """Columns of the histories."""
        self.values = np.zeros((0, 0, 0), np.float32)
        """(run, eval, probe)"""
        self.row: dict[str, int] = {}
        """Row of each run."""
        self._done: list[int] = []
        if path.exists():
            try:
                self._read()
            except Damaged as error:
                told = f"{error}; runs that were in training are trained again from the start"
                self.losses.append(Loss(path, told))

    def _read(self) -> None:
        file = Sealed(self.path)
        self.values, self.names = file.whole("history")["value"], file.facts["probe"]
        self._done = file.facts["evaluations_done"]
        self.row = {run: i for i, run in enumerate(file.facts["run"])}

    def take(self, runs: Sequence[str], other: Running) -> None:
        """Have, in memory, the measurements that another file has of these runs. Both have the same columns."""
        rows = {run: self.row.get(run) for run in runs}
        new = [run for run, row in rows.items() if row is None]
        row = self.row | {run: len(self.row) + i for i, run in enumerate(new)}
        longest = max(self.values.shape[1], other.values.shape[1])
        values = np.full((len(row), longest, len(other.names)), np.nan, np.float32)
        if self.values.size:
            values[: len(self.values), : self.values.shape[1]] = self.values
        for run in runs:
            values[row[run], : other.values.shape[1]] = other.values[other.row[run]]
        done = {run: self.evaluations(run) for run in self.row}
        done |= {run: other.evaluations(run) for run in runs}
        self.values, self.names, self.row = values, other.names, row
        self._done = [done[run] for run in row]

    def evaluations(self, run: str) -> int:
        """Evaluations of which the file has the measurements; 0 for a run that it does not have."""
        return self._done[self.row[run]] if run in self.row else 0


def write_running(
    path: Path, running: Sequence[tuple[str, int, np.ndarray]], names: Sequence[str]
) -> None:
    """Write the measurements of all runs in training: (run, evaluations done, values (eval, probe)). Raises OSError."""
    longest = max((done for _, done, _ in running), default=0)
    values = np.zeros((len(running), longest, len(names)), np.float32)
    for row, (_, done, measured) in enumerate(running):
        values[row, :done] = measured[:done]
    facts = {
        "run": [run for run, _, _ in running],
        "evaluations_done": [done for _, done, _ in running],
        "probe": list(names),
    }
    move_directory_away(path)
    write_sealed(path, facts, {"history": {"value": values}}, by_row=False)
