"""The progress of a group: the numbers that the display shows."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from grokjax.experiment.grid import Group, Run
from grokjax.results.status import DONE
from grokjax.results.store import GroupStore

LEVEL = 0.99
"""Accuracy at which a run counts as memorised or grokked, if there is no stop rule."""


def level_of(stop: Any) -> float:
    """Accuracy at which a run counts: that of the stop rule, because many runs end there."""
    return LEVEL if stop is None else float(stop.val_accuracy)


@dataclasses.dataclass
class Tally:
    """Counts of one group, kept up to date by its trainer."""

    group: str
    n_runs: int
    level: float = LEVEL
    """Accuracy at which a run counts as memorised (training) or grokked (validation)."""
    running: int = 0
    waiting: int = 0
    done: dict[str, int] = dataclasses.field(default_factory=dict)
    """Runs by how they ended: finished, stopped, diverged."""
    memorised: int = 0
    grokked: int = 0
    evaluations: int = 0
    """By this process; the steps below too."""
    run_steps: int = 0
    executed_steps: int = 0
    """Slot-steps of all devices, if each had made as many as the busiest one; idle slots included."""
    compile_seconds: float = 0.0
    train_seconds: float = 0.0
    device_seconds: float = 0.0
    """Part of the training time spent in compiled code or waiting for it."""
    steps_left: int = 0
    """Steps left, if every run uses its whole budget."""
    _memorised: set[str] = dataclasses.field(default_factory=set)
    _grokked: set[str] = dataclasses.field(default_factory=set)

    @property
    def rate(self) -> float:
        """Run-steps per second, compilation left out."""
        return self.run_steps / self.train_seconds if self.train_seconds > 0 else 0.0

    @property
    def host(self) -> float:
        """Share of the training time that the host spent on its own work."""
        return 1 - self.device_seconds / self.train_seconds if self.train_seconds > 0 else 0.0

    @property
    def idle(self) -> float:
        """Share of the slot-steps in which nothing was trained."""
        return 1 - self.run_steps / self.executed_steps if self.executed_steps else 0.0

    def advanced(self, steps: int, evaluations: int) -> None:
        """A run made this many steps and evaluations."""
        self.run_steps += steps
        self.steps_left -= steps
        self.evaluations += evaluations

    def measured(self, run: str, train_accuracy: float, val_accuracy: float) -> None:
        """The highest accuracies among a run's last evaluations."""
        for value, reached in ((train_accuracy, self._memorised), (val_accuracy, self._grokked)):
            # As the stop rule compares: 19 of 20 rows are 0.95 in float32, which is less than 0.95 in float64.
            if np.float32(value) >= np.float32(self.level):
                reached.add(run)
        self.memorised, self.grokked = len(self._memorised), len(self._grokked)

    def ended(self, status: str, steps_unused: int) -> None:
        """A run ended, with this many steps of its budget not used."""
        self.done[status] = self.done.get(status, 0) + 1
        self.steps_left -= steps_unused


def begin_tally(group: Group, store: GroupStore, todo: list[Run]) -> Tally:
    """The counts of a group before these runs are trained."""
    statuses = [store.progress(run.id).status for run in group.runs]
    return Tally(
        group.hash,
        len(group.runs),
        level_of(group.first.settings.train.stop),
        done={status: statuses.count(status) for status in DONE if status in statuses},
        steps_left=sum(run.steps for run in todo),
    )
