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
