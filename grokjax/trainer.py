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
from typing import Any, NamedTuple

import jax
import numpy as np

from grokjax import runstate
from grokjax.capacity import likely_length
from grokjax.checkpoint import Checkpoints, Meta
from grokjax.config import Execution
from grokjax.devices import cache_directory, describe
from grokjax.engine import Program, Records, SlotState
from grokjax.grid import Group, Run
from grokjax.models import tensor_names
from grokjax.pace import Pace
from grokjax.runstate import FINISHED, RUNNING, STATUS, RunState, Setup
from grokjax.schedule import Slots
from grokjax.search import Memory, TileSearch
from grokjax.starts import Starts
from grokjax.store import DONE, GroupStore, History, Progress
from grokjax.tally import Tally, level_of

log = logging.getLogger("grokjax")

FLUSH_SECONDS = 2.0
"""Time between two writings of how far the runs are."""


class Chunk(NamedTuple):
    """A chunk that the device is working on, or has done."""

    records: Records
    placement: dict[int, str]
    """Run of each slot in use."""
    tiles: int
    """In use on the busiest device."""
    first: bool
    """Whether the program was compiled for it."""


class Interrupted(Exception):
    """A signal asked for an end; everything is saved."""


class GroupTrainer:
    """Trains one group in its directory, from wherever it was left."""

    def __init__(
        self,
        group: Group,
        directory: Path,
        execution: Execution,
        program: Program,
        observe: Callable[[Tally], None] = lambda _: None,
    ):
        self.group, self.execution, self.program, self.observe = group, execution, program, observe
        self.setup, self.mesh, self.tile = program.setup, program.mesh, program.tile
        self.runs = {run.id: run for run in group.runs}
        level = level_of(group.first.settings.train.stop)
        self.tally = Tally(group.hash, len(group.runs), level)
        self.store = GroupStore(directory)
        self.checkpoints = Checkpoints(directory / "checkpoints")
        self.buffers: dict[str, np.ndarray] = {}
        self._ages: dict[str, int] = {}
        self._in_flight: collections.deque[Chunk] = collections.deque()
        self._retiring: list[tuple[str, SlotState, Progress]] = []
        self._snapshots: list[tuple[str, int, SlotState]] = []
        self._ended: dict[str, Progress] = {}
        self.unsaved = False
        """Whether chunks were trained that are on disk in part only, or not at all."""
        self.pace = Pace(self.setup, execution, time.monotonic)
        self._prepare()

    # -- start -------------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """What is done, what goes on from where, what starts."""
        self.starts = Starts(self.group, self.store, self.checkpoints, self.program)
        self.chunk, carried = self.starts.chunk, self.starts.carried
        self.slots = Slots(
            self.mesh.devices.size,
            self.program.slots_per_device,
            self.tile,
            [run.id for run in self.starts.todo],
            lambda i: (i in carried, likely_length(self.runs[i])),  # type: ignore[arg-type]
        )
        most = self.program.slots_per_device // self.tile
        self.choices = Memory(cache_directory() / "slots.json")
        self.choice = f"{describe(self.mesh)}, {self.group.hash}, tile {self.tile}"
        known = most if self.execution.slots else self.choices.recall(self.choice)
        self.search = TileSearch(most, known)
        statuses = [self.store.progress(run.id).status for run in self.group.runs]
        self.tally.done = {s: statuses.count(s) for s in DONE if s in statuses}
        self.tally.steps_left = sum(map(_total_steps, self.starts.todo))

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
        saved = self._flushed = time.monotonic()
        self.pace.restart()
        while not (
            self.slots.done and not self._in_flight and not self._retiring + self._snapshots
        ):
            self._fill()
            if self.slots.running:
                self._dispatch()
            self._store_retired()
            self._read(self.pace.lag if self.slots.running and not self.search.searching else 0)
            self._compact()
            stop = interrupted()
            if stop or time.monotonic() - saved > self.execution.checkpoint_seconds:
                self._checkpoint(wait=stop)
                saved = time.monotonic()
            if stop and not self.slots.done:
                self._close()
                raise Interrupted
        self._finish()
        return self.tally

    def _finish(self) -> None:
        self._flush()
        self.checkpoints.wait()
        self._close()
        self._show()

    def _close(self) -> None:
        self.checkpoints.close()
        self.unsaved = False

    def _blank_hyper(self) -> Any:
        filler = runstate.make_hyper(self.group.first)
        return jax.tree.map(lambda x: np.stack([x] * self.program.slots), filler)

    def _fill(self) -> None:
        placed = self.slots.fill(self.search.tiles)
        if not placed:
            return
        back: dict[int, RunState] = {}
        for slot, run in placed.items():
            state = self.starts.state(run)
            self._open_buffer(run, state)
            if state is not None:
                back[slot] = state
            jax.tree.map(
                lambda all_, one, s=slot: all_.__setitem__(s, one),
                self.hyper,
                runstate.make_hyper(self.runs[run]),
            )
        self._place_hyper()
        fresh = np.zeros(self.program.slots, bool)
        fresh[[s for s in placed if s not in back]] = True
        if fresh.any():
            began, first = time.monotonic(), self.program.traces == 0
            self.state = self.pace.timed(self.program.admit, self.state, self._hyper_placed, fresh)
            self.tally.compile_seconds += (time.monotonic() - began) if first else 0.0
        if back:
            self.state = self.pace.timed(self.program.insert, self.state, back)

    def _place_hyper(self) -> None:
        # A copy: the device may still be reading the arrays of an earlier chunk.
        self._hyper_placed = self.pace.timed(self.program.place, jax.tree.map(np.copy, self.hyper))

    def _compact(self) -> None:
        """Once nothing waits: move runs together, so that no device has less to do than another."""
        if not self.slots.compaction():
            return
        self._read(0)  # what is in flight speaks of the old slots
        moves = self.slots.compaction()
        rows: dict[int, RunState] = {}
        for (old, new), row in zip(
            moves.items(),
            self.pace.timed(self.program.extract, self.state, list(moves)),
            strict=True,
        ):
            rows[new] = row.fetch()
            rows[old] = rows[new].replace(status=np.int32(FINISHED))  # type: ignore[attr-defined]
            self.slots.move(old, new)
            jax.tree.map(lambda x, a=old, b=new: x.__setitem__(b, x[a]), self.hyper)
        if rows:
            self.state = self.pace.timed(self.program.insert, self.state, rows)
            self._place_hyper()

    def _dispatch(self) -> None:
        live = np.array(self.slots.live_tiles())
        in_use = self.slots.busiest()
        began, first = time.monotonic(), self.program.traces == 0
        self.state, records = self.pace.timed(
            self.program.advance, self.state, self._hyper_placed, live, self.pace.blocks
        )
        if first:  # tracing and compiling happen before the call returns
            self.tally.compile_seconds += time.monotonic() - began
            self.pace.restart()
        self.unsaved = True
        self.chunk += 1
        self._in_flight.append(Chunk(records, dict(self.slots.running), in_use, first))

    def _read(self, behind: int) -> None:
        """Read finished chunks until `behind` are in flight."""
        while len(self._in_flight) > behind:
            chunk = self._in_flight.popleft()
            before = self.tally.run_steps
            records = self.pace.timed(jax.tree.map, np.asarray, chunk.records)
            self._record(records, chunk.placement)
            took, waited = self.pace.next()
            self.tally.train_seconds += took
            self.tally.device_seconds += waited
            if not chunk.first:
                self._learn(self.tally.run_steps - before, took, chunk.tiles)
            self._show()

    def _learn(self, run_steps: int, seconds: float, tiles: int) -> None:
        """How many tiles a device should hold; once known, it is remembered."""
        if self.search.searching:
            self.search.observe(run_steps, seconds, tiles)
            if not self.search.searching and self.search.rates:
                self.choices.note(self.choice, self.search)

    def _record(self, records: Any, placement: dict[int, str]) -> None:
        n = self.mesh.devices.size
        # What the busiest device did is what all of them had the time for.
        busiest = int(records.executed.reshape(n, -1).sum(1).max())
        self.tally.executed_steps += n * busiest * self.setup.cadence.unit
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
        rows = self.pace.timed(self.program.extract, self.state, list(taken))
        for (run, evaluation), row in zip(taken.values(), rows, strict=True):
            step = int(self.setup.cadence.step_of(evaluation))
            self._snapshots.append((run, step, row))

    def _note_progress(self, run: str, age: int, made: np.ndarray) -> None:
        self.tally.advanced(age - self._ages.get(run, 0), len(made))
        self._ages[run] = age
        if len(made):
            columns = [self.program.names.index(f"{s}_accuracy") for s in ("train", "val")]
            # The highest of the chunk: a run that met the level need not be at it when the chunk ends.
            train, val = np.fmax.reduce(self.buffers[run][made][:, columns])
            self.tally.measured(run, float(train), float(val))

    def _retire(self, ended: dict[int, Progress]) -> None:
        """Take the states of ended runs out, without waiting, and free their slots."""
        if not ended:
            return
        rows = self.pace.timed(self.program.extract, self.state, list(ended))
        for (slot, progress), row in zip(ended.items(), rows, strict=True):
            self._retiring.append((self.slots.release(slot), row, progress))

    def _store_retired(self) -> None:
        """Snapshots and weights; histories and the status that commits a run follow with the next flush."""
        for run, step, row in self._snapshots:
            state = self.pace.timed(row.fetch)
            self.store.write_snapshot(run, step, tensor_names(state.snapshot))
        self._snapshots = []
        for run, row, progress in self._retiring:
            self._write_weights(run, self.pace.timed(row.fetch), progress)
            self._ended[run] = progress
            self.tally.ended(progress.status, _total_steps(self.runs[run]) - self._ages[run])
        self._retiring = []
        # Not at every visit: a status that is not yet written costs work after a kill, never a result.
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        """Histories of the runs that have ended, and after them their statuses."""
        self._write_histories(list(self._ended))
        for run, progress in self._ended.items():
            self._history(run).note(run, progress)
            del self.buffers[run]
        self._ended = {}
        self.store.flush()
        self._flushed = time.monotonic()

    def _write_histories(self, runs: list[str]) -> None:
        by_store: dict[History, dict[str, np.ndarray]] = {}
        for run in runs:
            by_store.setdefault(self._history(run), {})[run] = self.buffers[run]
        for history, values in by_store.items():
            history.write_all(values)

    def _write_weights(self, run: str, state: RunState, progress: Progress) -> None:
        facts = {"run": run, "step": str(int(state.age)), "status": progress.status}
        if state.intervention is not None:
            # An action at the last evaluation comes after it: in these weights, and not in the history.
            facts["intervened_at"] = str(int(state.intervention.fired_at))
        keep = self.execution.keep_state
        if keep == "all" or (keep == "budget" and progress.status == "finished"):
            self.store.write_state(run, jax.tree.leaves(state), progress.evaluations_done)
        self.store.write_weights(run, tensor_names(state.params), facts)

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def _checkpoint(self, wait: bool) -> None:
        """Drain, write histories, then save the state that goes with them."""
        self._read(0)
        self._store_retired()
        running = list(self.slots.running.values())
        self._write_histories(running)
        for run in running:
            self._note_running(run)
        self._flush()
        # A copy: the state is donated to the next chunk while orbax still writes.
        state = self.pace.timed(jax.tree.map, lambda x: np.array(x, copy=True), self.state)
        occupants = [self.slots.running.get(s) for s in range(self.program.slots)]
        meta = Meta(self.chunk, occupants, self.tile, self.mesh.devices.size)
        self.checkpoints.save(state, meta)
        if wait:
            self.checkpoints.wait()
        self.pace.restart()

    def _note_running(self, run: str) -> None:
        age = self._ages.get(run, 0)
        done = int(self.setup.cadence.count(age)) if age else 0
        self._history(run).note(run, Progress("running", min(done, self._evaluations(run)), -1))

    def _evaluations(self, run: str) -> int:
        """Evaluations recorded of a run that is still running."""
        measured = ~np.isnan(self.buffers[run]).all(axis=1)
        return int(np.flatnonzero(measured)[-1]) + 1 if measured.any() else 0

    # -- display -----------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        self.tally.running, self.tally.waiting = len(self.slots.running), self.slots.n_waiting
        self.observe(self.tally)


def made_snapshots(setup: Setup, evaluations: np.ndarray) -> list[int]:
    """Which of a chunk's evaluations (-1: none) took a snapshot; at most one, by `pace.limits`."""
    every = setup.snapshot_every
    return [] if every is None else [int(e) for e in evaluations if e >= 0 and e % every == 0]


def _total_steps(run: Run) -> int:
    return int(run.cadence.step_of(run.budget - 1))
