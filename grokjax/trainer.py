"""The host loop of a group: fill slots, advance, record, retire, checkpoint.

The device is always one chunk ahead of what the host has read. That is safe because a run decides for itself when it
is done and then stays as it is; the host only reads, stores and refills.
"""

from __future__ import annotations

import collections
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from grokjax import runstate
from grokjax.capacity import choose_slots, likely_length
from grokjax.checkpoint import Checkpoints, Meta
from grokjax.columns import columns
from grokjax.config import Execution
from grokjax.engine import MAX_BLOCKS, Program, Records, SlotState
from grokjax.grid import Group, Run
from grokjax.models import tensor_names
from grokjax.runstate import RUNNING, STATUS, RunState, Setup
from grokjax.schedule import Slots
from grokjax.source import ConfigError
from grokjax.store import DONE, GroupStore, History, Progress
from grokjax.tally import Tally

log = logging.getLogger("grokjax")

CHUNK_SECONDS = 1.0
"""Time between two visits of the host that the chunk length aims at."""


class Interrupted(Exception):
    """A signal asked for an end; everything is saved."""


class GroupTrainer:
    """Trains one group in its directory, from wherever it was left."""

    def __init__(
        self,
        group: Group,
        directory: Path,
        execution: Execution,
        mesh: Mesh,
        observe: Callable[[Tally], None] = lambda _: None,
        fewer_slots: int | None = None,
    ):
        self.group, self.execution, self.mesh, self.observe = group, execution, mesh, observe
        self.runs = {run.id: run for run in group.runs}
        self.setup = runstate.make_setup(group)
        self.tally = Tally(group.hash, len(group.runs))
        self.store = GroupStore(directory)
        self.checkpoints = Checkpoints(directory / "checkpoints")
        self.carried: dict[str, RunState] = {}
        self.buffers: dict[str, np.ndarray] = {}
        self._ages: dict[str, int] = {}
        self._in_flight: collections.deque[tuple[Records, dict[int, str]]] = collections.deque()
        self._retiring: list[tuple[str, SlotState, Progress]] = []
        self._snapshots: list[tuple[str, int, SlotState]] = []
        self.lag, self._most_blocks = limits(self.setup, execution)
        self._make_program(fewer_slots)
        self._prepare()

    # -- start -------------------------------------------------------------------------------------------------------

    def _make_program(self, fewer: int | None) -> None:
        self.tile, slots = choose_slots(self.group, self.execution, self.mesh)
        self.program = Program(self.setup, self.mesh, min(fewer or slots, slots), self.tile)

    def _prepare(self) -> None:
        """What is done, what goes on from where, what starts."""
        todo = [run for run in self.group.runs if not self._is_done(run)]
        self._admit_to_store(todo)
        restored = self.checkpoints.restore(self.program.abstract_state) if todo else None
        self.chunk = 0
        if restored is not None:
            self._carry_from_checkpoint(*restored, {run.id for run in todo})
        self.slots = Slots(
            self.mesh.devices.size,
            self.program.slots_per_device,
            self.tile,
            [run.id for run in todo],
            lambda i: (i in self.carried, likely_length(self.runs[i])),  # type: ignore[arg-type]
        )
        statuses = [self.store.progress(run.id).status for run in self.group.runs]
        self.tally.done = {s: statuses.count(s) for s in DONE if s in statuses}
        self.tally.steps_left = sum(map(_total_steps, todo))

    def _is_done(self, run: Run) -> bool:
        progress = self.store.progress(run.id)
        if progress.status == "finished" and progress.evaluations_done < run.budget:
            if self.store.state_evaluations(run.id) == 0:
                raise ConfigError(
                    f"{self.store.directory}: execution.keep_state: run {run.id} was finished without keeping its "
                    "state, so a larger train.steps cannot continue it; name another directory with --out"
                )
            return False
        return progress.status in DONE

    def _admit_to_store(self, todo: list[Run]) -> None:
        """Make sure a store has room for every run that is to be trained."""
        lacking = [
            run
            for run in todo
            if (history := self.store.of(run.id)) is None or history.n_evaluations < run.budget
        ]
        if not lacking:
            return
        steps = self.setup.cadence.steps(max(run.budget for run in lacking))
        stop = self.setup.settings.train.stop
        self.store.add(
            [run.id for run in lacking],
            self.program.names,
            steps,
            columns(lacking),
            {"group": self.group.hash, "stop": None if stop is None else stop.model_dump()},
        )

    def _carry_from_checkpoint(self, state: RunState, meta: Meta, todo: set[str]) -> None:
        self.chunk = meta.chunk
        here = (self.tile, self.mesh.devices.size)
        if (meta.tile, meta.devices) != here:
            log.warning(
                "saved with tile %d on %d devices, goes on with tile %d on %d: exact from here, "
                "but no longer bit for bit what the first machine would have given",
                *(meta.tile, meta.devices, *here),
            )
        for slot, run in enumerate(meta.runs):
            if run in todo:
                self.carried[run] = jax.tree.map(lambda x, i=slot: x[i], state)

    def _state_to_go_on_from(self, run: str) -> RunState | None:
        """From the checkpoint, or kept when an earlier budget was spent; None: start at step 0."""
        if run in self.carried:
            return self.carried.pop(run)
        kept = self.store.read_state(run)
        if kept is None:
            return None
        one = self.program.abstract_state(1)
        leaves_, tree = jax.tree.flatten(one)
        shaped = [
            x.reshape(a.shape[1:]).astype(a.dtype) for x, a in zip(kept, leaves_, strict=True)
        ]
        return jax.tree.unflatten(tree, shaped).replace(status=np.int32(RUNNING))

    def _open_buffer(self, run: str, state: RunState | None) -> None:
        """Room for a run's measurements, with those that its state has behind it."""
        history = self._history(run)
        buffer = np.full((history.n_evaluations, len(self.program.names)), np.nan, np.float32)
        if state is not None:
            done = int(state.evaluations)
            buffer[:done] = history.read(run)[:done]
            self._ages[run] = int(state.age)
            self.tally.steps_left -= int(state.age)
        self.buffers[run] = buffer

    def _history(self, run: str) -> History:
        history = self.store.of(run)
        assert history is not None, "every run to train has a store"
        return history

    # -- the loop ----------------------------------------------------------------------------------------------------

    def train(self, interrupted: Callable[[], bool] = lambda: False) -> Tally:
        """Until every run is done. Raises Interrupted once a signal's state is saved."""
        self.state = self.program.empty()
        self.hyper = self._blank_hyper()
        self._blocks, self._clock, saved = 1, time.monotonic(), time.monotonic()
        while not (
            self.slots.done and not self._in_flight and not self._retiring + self._snapshots
        ):
            self._fill()
            if self.slots.running:
                self._dispatch()
            self._store_retired()
            self._read(self.lag if self.slots.running else 0)
            stop = interrupted()
            if stop or time.monotonic() - saved > self.execution.checkpoint_seconds:
                self._checkpoint(wait=stop)
                saved = time.monotonic()
            if stop and not self.slots.done:
                self.checkpoints.close()
                raise Interrupted
        self._finish()
        return self.tally

    def _finish(self) -> None:
        self.store.flush()
        self.checkpoints.wait()
        self.checkpoints.close()
        self._show()

    def _blank_hyper(self) -> Any:
        filler = runstate.make_hyper(self.group.first)
        return jax.tree.map(lambda x: np.stack([x] * self.program.slots), filler)

    def _fill(self) -> None:
        placed = self.slots.fill()
        if not placed:
            return
        back: dict[int, RunState] = {}
        for slot, run in placed.items():
            state = self._state_to_go_on_from(run)
            self._open_buffer(run, state)
            if state is not None:
                back[slot] = state
            jax.tree.map(
                lambda all_, one, s=slot: all_.__setitem__(s, one),
                self.hyper,
                runstate.make_hyper(self.runs[run]),
            )
        # A copy: the device may still be reading the arrays of an earlier chunk.
        self._hyper_placed = self.program.place(jax.tree.map(np.copy, self.hyper))
        fresh = np.zeros(self.program.slots, bool)
        fresh[[s for s in placed if s not in back]] = True
        if fresh.any():
            began, first = time.monotonic(), self.program.traces == 0
            self.state = self.program.admit(self.state, self._hyper_placed, fresh)
            self.tally.compile_seconds += (time.monotonic() - began) if first else 0.0
        if back:
            self.state = self.program.insert(self.state, back)

    def _dispatch(self) -> None:
        live = np.array(self.slots.live_tiles())
        began, first = time.monotonic(), self.program.traces == 0
        self.state, records = self.program.advance(
            self.state, self._hyper_placed, live, self._blocks
        )
        if first:  # tracing and compiling happen before the call returns
            self.tally.compile_seconds += time.monotonic() - began
            self._clock = time.monotonic()
        self.chunk += 1
        self._in_flight.append((records, dict(self.slots.running)))

    def _read(self, behind: int) -> None:
        """Read finished chunks until `behind` are in flight."""
        while len(self._in_flight) > behind:
            records, placement = self._in_flight.popleft()
            self._record(jax.tree.map(np.asarray, records), placement)
            self._pace()
            self._show()

    def _pace(self) -> None:
        """Choose the next chunk's length so that a chunk lasts about CHUNK_SECONDS."""
        now = time.monotonic()
        took, self._clock = now - self._clock, now
        self.tally.train_seconds += took
        wanted = self._blocks * CHUNK_SECONDS / max(took, 1e-3)
        free = int(np.clip(wanted, max(1, self._blocks // 2), self._blocks * 2))
        self._blocks = min(self.execution.chunk or free, self._most_blocks)

    def _record(self, records: Any, placement: dict[int, str]) -> None:
        self.tally.executed_steps += int(records.executed.sum()) * self.setup.cadence.unit
        ended, taken = {}, {}
        for slot, run in placement.items():
            if self.slots.running.get(slot) != run:
                continue  # ended in an earlier chunk; this one was in flight already
            made = np.flatnonzero(records.evaluation[slot] >= 0)
            self.buffers[run][records.evaluation[slot, made]] = records.values[slot, made]
            self._note_progress(run, int(records.age[slot]), records.evaluation[slot, made])
            if snapshots := made_snapshots(self.setup, records.evaluation[slot]):
                taken[slot] = (run, snapshots[-1])
            status = int(records.status[slot])
            if status != RUNNING:
                done = int(records.evaluations[slot])
                ended[slot] = Progress(STATUS[status], done, int(records.diverged_at[slot]))
        self._take_out(taken)
        self._retire(ended)

    def _take_out(self, taken: dict[int, tuple[str, int]]) -> None:
        """Fetch snapshots, without waiting, before the next ones replace them."""
        if not taken:
            return
        rows = self.program.extract(self.state, list(taken))
        for (run, evaluation), row in zip(taken.values(), rows, strict=True):
            step = int(self.setup.cadence.step_of(evaluation))
            self._snapshots.append((run, step, row))

    def _note_progress(self, run: str, age: int, made: np.ndarray) -> None:
        self.tally.advanced(age - self._ages.get(run, 0), len(made))
        self._ages[run] = age
        if len(made):
            last = self.buffers[run][made[-1]]
            train, val = (self.program.names.index(f"{s}_accuracy") for s in ("train", "val"))
            self.tally.measured(run, float(last[train]), float(last[val]))

    def _retire(self, ended: dict[int, Progress]) -> None:
        """Take the states of ended runs out, without waiting, and free their slots."""
        if not ended:
            return
        rows = self.program.extract(self.state, list(ended))
        for (slot, progress), row in zip(ended.items(), rows, strict=True):
            self._retiring.append((self.slots.release(slot), row, progress))

    def _store_retired(self) -> None:
        """Snapshots; then history, weights, and the status that commits the run."""
        for run, step, row in self._snapshots:
            self.store.write_snapshot(run, step, tensor_names(row.fetch().snapshot))
        self._snapshots = []
        for run, row, progress in self._retiring:
            history = self._history(run)
            history.write(run, self.buffers.pop(run))
            self._write_weights(run, row.fetch(), progress)
            history.note(run, progress)
            self.tally.ended(progress.status, _total_steps(self.runs[run]) - self._ages[run])
        if self._retiring:
            self.store.flush()
        self._retiring = []

    def _write_weights(self, run: str, state: RunState, progress: Progress) -> None:
        facts = {"run": run, "step": str(int(state.age)), "status": progress.status}
        keep = self.execution.keep_state
        if keep == "all" or (keep == "budget" and progress.status == "finished"):
            self.store.write_state(run, jax.tree.leaves(state), progress.evaluations_done)
        self.store.write_weights(run, tensor_names(state.params), facts)

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def _checkpoint(self, wait: bool) -> None:
        """Drain, write histories, then save the state that goes with them."""
        self._read(0)
        self._store_retired()
        for slot_run in self.slots.running.values():
            self._write_running(slot_run)
        self.store.flush()
        # A copy: the state is donated to the next chunk while orbax still writes.
        state = jax.tree.map(lambda x: np.array(x, copy=True), self.state)
        occupants = [self.slots.running.get(s) for s in range(self.program.slots)]
        meta = Meta(self.chunk, occupants, self.tile, self.mesh.devices.size)
        self.checkpoints.save(state, meta)
        if wait:
            self.checkpoints.wait()
        self._clock = time.monotonic()

    def _write_running(self, run: str) -> None:
        history = self._history(run)
        history.write(run, self.buffers[run])
        age = self._ages.get(run, 0)
        done = int(self.setup.cadence.count(age)) if age else 0
        history.note(run, Progress("running", min(done, self._evaluations(run)), -1))

    def _evaluations(self, run: str) -> int:
        """Evaluations recorded of a run that is still running."""
        measured = ~np.isnan(self.buffers[run]).all(axis=1)
        return int(np.flatnonzero(measured)[-1]) + 1 if measured.any() else 0

    # -- display -----------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        self.tally.running, self.tally.waiting = len(self.slots.running), self.slots.n_waiting
        self.observe(self.tally)


def limits(setup: Setup, execution: Execution) -> tuple[int, int]:
    """(lag, most blocks of a chunk) with which no snapshot is replaced before the host has taken it out."""
    if setup.snapshot_every is None:
        return execution.lag, MAX_BLOCKS
    cadence = setup.cadence
    closest = min(cadence.every, cadence.early_every if cadence.early_until else cadence.every)
    gap = setup.snapshot_every * closest // cadence.unit
    lag = execution.lag if gap > 1 else 0
    # With a lag the state that a snapshot is taken from is a chunk further on.
    return lag, max(1, min(gap // (1 + lag), MAX_BLOCKS))


def made_snapshots(setup: Setup, evaluations: np.ndarray) -> list[int]:
    """Which of a chunk's evaluations (-1: none) took a snapshot; at most one, by `limits`."""
    every = setup.snapshot_every
    return [] if every is None else [int(e) for e in evaluations if e >= 0 and e % every == 0]


def _total_steps(run: Run) -> int:
    return int(run.cadence.step_of(run.budget - 1))
