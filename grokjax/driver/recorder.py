"""What the host records of the runs in the batch, and the order in which it is written to disk.

A kill may fall between any two writes. So histories and weights are written before the status that commits a run, and
the history of a running run before the checkpoint that holds its state.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from grokjax.driver.batch import Timed
from grokjax.driver.tally import Tally
from grokjax.engine.program import Program, Records, SlotState
from grokjax.experiment.grid import Run
from grokjax.models import tensor_names
from grokjax.results.store import GroupStore, History, Progress
from grokjax.training.runstate import RUNNING, STATUS, RunState

FLUSH_SECONDS = 2.0
"""Seconds between two writings of the progress of the runs."""


@dataclasses.dataclass
class RunRecord:
    """One run that is in the batch, or has just left it."""

    run: Run
    history: History
    values: np.ndarray
    """Measurements (evaluations of the budget, columns); NaN where not made."""
    age: int = 0
    evaluations: int = 0
    """Evaluations made."""
    ended: Progress | None = None
    """How the run ended; None while it runs."""


class Asked(NamedTuple):
    """What has to be saved of a run after a chunk."""

    snapshot: int | None
    """Step whose weights are in the state's snapshot."""
    ended: Progress | None


class Recorder:
    """The records of the runs in the batch, and all writing of histories, snapshots, weights and statuses."""

    def __init__(
        self, store: GroupStore, program: Program, keep_state: str, tally: Tally, timed: Timed
    ):
        self.store, self._keep_state, self.tally, self._timed = store, keep_state, tally, timed
        self._setup, self._names = program.setup, program.names
        self._records: dict[str, RunRecord] = {}
        self._snapshots: list[tuple[str, int, SlotState]] = []
        self._retired: list[tuple[str, SlotState, Progress]] = []
        self._flushed = time.monotonic()

    @property
    def holds_states(self) -> bool:
        """Whether states were copied from the batch but are not written yet."""
        return bool(self._snapshots or self._retired)

    # -- what happens to a run ---------------------------------------------------------------------------------------

    def open(self, run: Run, state: RunState | None) -> None:
        """A run enters the batch, from step 0 or from a state with the measurements before it."""
        history = self.store.of(run.id)
        assert history is not None, "every run to train has a store"
        values = np.full((history.n_evaluations, len(self._names)), np.nan, np.float32)
        record = RunRecord(run, history, values)
        if state is not None:
            record.age, record.evaluations = int(state.age), int(state.evaluations)
            values[: record.evaluations] = history.read(run.id)[: record.evaluations]
            self.tally.steps_left -= record.age
        self._records[run.id] = record

    def record(self, run: str, slot: int, records: Records) -> Asked:
        """What a chunk measured of the run in a slot."""
        record, numbers = self._records[run], records.evaluation[slot]
        made = np.flatnonzero(numbers >= 0)
        record.values[numbers[made]] = records.values[slot, made]
        age, record.evaluations = int(records.age[slot]), int(records.evaluations[slot])
        self.tally.advanced(age - record.age, len(made))
        record.age = age
        if len(made):
            # The highest of the chunk: a run that met the level need not be at it when the chunk ends.
            columns = [self._names.index(f"{rows}_accuracy") for rows in ("train", "val")]
            train, val = np.fmax.reduce(record.values[numbers[made]][:, columns])
            self.tally.measured(run, float(train), float(val))
        code, ended = int(records.status[slot]), None
        if code != RUNNING:
            ended = Progress(STATUS[code], record.evaluations, int(records.diverged_at[slot]))
        return Asked(self._snapshot_step(np.asarray(numbers[made])), ended)

    def _snapshot_step(self, evaluations: np.ndarray) -> int | None:
        """Step of the last of these evaluations that took a snapshot; at most one does, by `pace.limits`."""
        every = self._setup.snapshot_every
        taken = [] if every is None else evaluations[evaluations % every == 0]
        return int(self._setup.cadence.step_of(int(taken[-1]))) if len(taken) else None

    def take_snapshot(self, run: str, step: int, row: SlotState) -> None:
        """A state whose snapshot is to be written; it may still be computing."""
        self._snapshots.append((run, step, row))

    def retire(self, run: str, row: SlotState, ended: Progress) -> None:
        """The last state of a run, to be written; it may still be computing."""
        self._retired.append((run, row, ended))

    # -- the disk ----------------------------------------------------------------------------------------------------

    def write_states(self) -> None:
        """Snapshots and weights; histories and the status that commits a run follow with the next flush."""
        for run, step, row in self._snapshots:
            state = self._timed(row.fetch)
            self.store.write_snapshot(run, step, tensor_names(state.snapshot))
        self._snapshots = []
        for run, row, ended in self._retired:
            self._write_end(run, self._timed(row.fetch), ended)
            record = self._records[run]
            record.ended = ended
            self.tally.ended(ended.status, record.run.steps - record.age)
        self._retired = []
        # Not at every visit: a status that is not yet written costs work after a kill, never a result.
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Histories of the runs that have ended, and after them their statuses."""
        ended = [r for r in self._records.values() if r.ended is not None]
        _write_histories(ended)
        for record in ended:
            assert record.ended is not None
            record.history.note(record.run.id, record.ended)
            del self._records[record.run.id]
        self.store.flush()
        self._flushed = time.monotonic()

    def note_running(self, runs: Iterable[str]) -> None:
        """Write what belongs to a checkpoint: histories and progress of the runs in the batch and of those that just
        ended."""
        running = [self._records[run] for run in runs]
        _write_histories(running)
        for record in running:
            record.history.note(record.run.id, Progress("running", record.evaluations, -1))
        self.flush()

    def _write_end(self, run: str, state: RunState, ended: Progress) -> None:
        facts = {"run": run, "step": str(int(state.age)), "status": ended.status}
        if state.intervention is not None:
            # An action at the last evaluation comes after it: in these weights, and not in the history.
            facts["intervened_at"] = str(int(state.intervention.fired_at))
        keep = self._keep_state
        if keep == "all" or (keep == "budget" and ended.status == "finished"):
            self.store.write_state(run, jax.tree.leaves(state), ended.evaluations_done)
        self.store.write_weights(run, tensor_names(state.params), facts)


def _write_histories(records: list[RunRecord]) -> None:
    by_store: dict[History, dict[str, Any]] = {}
    for record in records:
        by_store.setdefault(record.history, {})[record.run.id] = record.values
    for history, values in by_store.items():
        history.write_all(values)
