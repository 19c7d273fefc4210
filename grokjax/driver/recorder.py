"""What the host records of the runs in the batch, and the order in which it is written to disk.

A kill may fall between any two writes. So everything of a run that ended is one row of one file, and the histories of
the runs in training are written before the checkpoint that holds their states.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from typing import NamedTuple

import jax
import numpy as np

from grokjax.driver.batch import Timed
from grokjax.driver.tally import Tally
from grokjax.engine.program import Program, Records, SlotState
from grokjax.experiment.grid import Run
from grokjax.models import tensor_names
from grokjax.results.status import Progress
from grokjax.results.writer import Ended, StoreWriter, Tensors
from grokjax.training.runstate import RUNNING, STATUS, RunState

FLUSH_SECONDS = 2.0
"""Seconds between two files of runs that ended, and of snapshots."""


@dataclasses.dataclass
class RunRecord:
    """One run that is in the batch, or has just left it."""

    run: Run
    values: np.ndarray
    """Measurements (evaluations of the budget, columns); NaN where not made."""
    age: int = 0
    evaluations: int = 0
    """Evaluations made."""


class Asked(NamedTuple):
    """What has to be saved of a run after a chunk."""

    snapshot: int | None
    """Step whose weights are in the state's snapshot."""
    ended: Progress | None


class Recorder:
    """The records of the runs in the batch, and all writing of histories, snapshots, weights and statuses."""

    def __init__(
        self, writer: StoreWriter, program: Program, keep_state: str, tally: Tally, timed: Timed
    ):
        self.writer, self._keep_state, self.tally, self._timed = writer, keep_state, tally, timed
        self._setup, self._names = program.setup, program.names
        self._records: dict[str, RunRecord] = {}
        self._snapshots: list[tuple[str, int, SlotState]] = []
        self._retired: list[tuple[str, SlotState, Progress]] = []
        self._taken: list[tuple[str, int, Tensors]] = []
        self._ended: list[Ended] = []
        self._flushed = time.monotonic()

    @property
    def holds_states(self) -> bool:
        """Whether states were copied from the batch but are not on the host yet."""
        return bool(self._snapshots or self._retired)

    # -- what happens to a run ---------------------------------------------------------------------------------------

    def open(self, run: Run, state: RunState | None) -> None:
        """A run enters the batch, from step 0 or from a state with the measurements before it."""
        values = np.full((run.budget, len(self._names)), np.nan, np.float32)
        record = RunRecord(run, values)
        if state is not None:
            record.age, record.evaluations = int(state.age), int(state.evaluations)
            before = self.writer.store.read(run.id, self._names, record.evaluations)
            values[: record.evaluations] = before
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
        """Bring copied states to the host, and from time to time write them."""
        self._taken += [
            (run, step, tensor_names(self._timed(row.fetch).snapshot))
            for run, step, row in self._snapshots
        ]
        self._snapshots = []
        for run, row, ended in self._retired:
            record = self._records.pop(run)
            self._ended.append(self._end(record, self._timed(row.fetch), ended))
            self.tally.ended(ended.status, record.run.steps - record.age)
        self._retired = []
        # Not at every visit: a run that is not yet written costs work after a kill, never a result.
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write snapshots, and after them the runs that have ended, which need theirs."""
        self.writer.add_snapshots(self._taken)
        self._taken = []
        self.writer.add_ended(self._ended, self._names)
        self._ended = []
        self._flushed = time.monotonic()

    def note_running(self, runs: Iterable[str]) -> None:
        """Write what belongs to a checkpoint: the runs that just ended, and the histories of those in the batch."""
        self.flush()
        running = [self._records[run] for run in runs]
        self.writer.write_running(
            [(r.run.id, r.evaluations, r.values) for r in running], self._names
        )

    def note_progress(self) -> None:
        """Write what is known of all runs in the batch, for readers. The next checkpoint needs less than that."""
        # Also runs whose last states are not on the host yet: the last checkpoint may have them in training.
        self.flush()
        everyone = self._records.values()
        self.writer.write_running(
            [(r.run.id, r.evaluations, r.values) for r in everyone], self._names
        )

    def _end(self, record: RunRecord, state: RunState, ended: Progress) -> Ended:
        keep = self._keep_state
        kept = keep == "all" or (keep == "budget" and ended.status == "finished")
        # An action at the last evaluation comes after it: in these weights, and not in the history.
        fired = None if state.intervention is None else int(state.intervention.fired_at)
        return Ended(
            record.run.id,
            ended,
            int(state.age),
            record.values[: ended.evaluations_done],
            tensor_names(state.params),
            jax.tree.leaves(state) if kept else None,
            fired,
        )
