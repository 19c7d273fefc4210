"""The saved weights of a results directory, and which of them a measurement needs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from grokjax.experiment.grid import Group, Run
from grokjax.experiment.places import Key, Places
from grokjax.results.pack_writing import mark_lost
from grokjax.results.status import DONE
from grokjax.results.store import GroupStore

log = logging.getLogger("grokjax")


class Shelf(NamedTuple):
    """The saved weights of one run."""

    run: Run
    store: GroupStore | None
    steps: dict[int, int | None]
    """By step: the snapshot's step, or None for the weights of the run's end."""
    final: int | None
    """Last step of the run; None if it has not ended."""

    def tensors(self, step: int) -> dict[str, np.ndarray]:
        """Weights of a step by name."""
        assert self.store is not None, "only runs with weights are read"
        return self.store.weights.read(self.run.id, self.steps[step])

    @property
    def last(self) -> int:
        return max(self.steps, default=-1)


Wanted = list[tuple[Shelf, list[int]]]
"""Runs, and the steps whose weights are measured."""


def shelves_of(group: Group, path: Path) -> list[Shelf]:
    """The saved weights of all runs of a group, including runs without any.

    Compares all of them with their checksums. Damaged ones are left out with a warning, and trained again at the next
    start. Needs the lock. Raises Damaged for files of older versions.
    """
    directory = path / "groups" / group.hash
    if not directory.is_dir():
        return [Shelf(run, None, {}, None) for run in group.runs]
    store = GroupStore(directory)
    store.check_all()
    for loss in store.losses:
        log.warning(loss.told("start the experiment again to train them again"))
    mark_lost(store)
    shelves = []
    for run in group.runs:
        # A run that a larger budget continues still has the weights of the smaller one's end.
        going = store.admission(run.id) is not None and store.progress(run.id).status not in DONE
        final = None if going else store.weights.final_step(run.id)
        steps: dict[int, int | None] = {step: step for step in store.weights.snapshots(run.id)}
        shelves.append(Shelf(run, store, steps | ({} if final is None else {final: None}), final))
    return shelves


def wanted_of(measurement: Any, shelves: list[Shelf]) -> Wanted:
    """Runs with at least one of the wanted sets of weights, and the steps of these."""
    needs_end = "final" in measurement.requires
    found = [
        (s, _steps(measurement.at, s)) for s in shelves if s.final is not None or not needs_end
    ]
    return [(shelf, steps) for shelf, steps in found if steps]


def _steps(at: Any, shelf: Shelf) -> list[int]:
    if at == "final":
        return [] if shelf.final is None else [shelf.final]
    return sorted(s for s in shelf.steps if at == "all" or s in at)


_ADVICE = "or train another directory with train.snapshot_every"


def check_steps(measurement: Any, shelves: list[Shelf], places: Places, key: Key) -> None:
    """Refuse a step that a run passed without saving weights. A run may have ended before it. Raises ConfigError."""
    at = measurement.at
    if at == "all" and not any(set(s.steps.values()) - {None} for s in shelves):
        message = f"all needs snapshots, but none were saved; use final, {_ADVICE}"
        raise places.error(key, message)
    needs_end = at == "final" or "final" in measurement.requires
    if needs_end and all(s.final is None for s in shelves):
        message = "needs the weights at the end of a run, but no run has ended yet; finish the training first"
        raise places.error(key, message)
    for step in at if isinstance(at, tuple) else ():
        _check_step(step, shelves, places, key)


def _check_step(step: int, shelves: list[Shelf], places: Places, key: Key) -> None:
    longest = max(shelves, key=lambda s: s.last)
    lacking = [s for s in shelves if step not in s.steps and step < s.last]
    if lacking:
        told = f"step {step} of run {lacking[0].run.id} was not saved, only {_told(lacking[0])}"
    elif step > longest.last:
        told = f"no run has weights of step {step}; run {longest.run.id} has {_told(longest)}"
    else:
        return
    raise places.error(key, f"{told}; use one of these steps, {_ADVICE}")


def _told(shelf: Shelf) -> str:
    steps = [f"{s} (final)" if s == shelf.final else str(s) for s in sorted(shelf.steps)]
    return ", ".join(steps if len(steps) <= 8 else [*steps[:4], "...", *steps[-3:]])
