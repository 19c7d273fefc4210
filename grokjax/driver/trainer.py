"""The host loop of a group: fill slots, advance, record, retire, checkpoint.

The device is always one chunk ahead of what the host has read. That is safe because a run decides for itself when it
is done and then stays as it is; the host only reads, stores and refills.
"""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from grokjax.driver import resume
from grokjax.driver.batch import Batch
from grokjax.driver.notes import Notes
from grokjax.driver.recorder import Recorder
from grokjax.driver.tally import Tally, begin_tally
from grokjax.engine.capacity import likely_length
from grokjax.engine.devices import cache_directory, describe
from grokjax.engine.pace import Pace
from grokjax.engine.program import Program, Records
from grokjax.engine.slots import Slots
from grokjax.engine.tile_search import TileSearch, remembered_search
from grokjax.experiment.config import Execution
from grokjax.experiment.grid import Group, Run
from grokjax.results.checkpoint import Checkpoints, Meta
from grokjax.results.store import GroupStore
from grokjax.results.writer import StoreWriter
from grokjax.training.runstate import make_hyper


class Chunk(NamedTuple):
    """A chunk that the device is training or has trained."""

    records: Records
    placement: dict[int, str]
    """Run of each slot in use."""
    tiles: int
    """Tiles in use on the busiest device."""
    first: bool
    """Whether the program was compiled for it."""


class Interrupted(Exception):
    """A signal ended the training; everything is saved."""


class GroupTrainer:
    """Trains one group in the directory of its store, and continues what was trained before, there or `elsewhere`."""

    def __init__(
        self,
        group: Group,
        store: GroupStore,
        execution: Execution,
        program: Program,
        observe: Callable[[Tally], None] = lambda _: None,
        elsewhere: Sequence[Path] = (),
    ):
        self.execution, self.observe = execution, observe
        todo, writer = resume.to_train(group, store), StoreWriter(store)
        resume.admit(group, writer, program.names)
        self.checkpoints = Checkpoints(checkpoints_of(store))
        self.starts = resume.restore(todo, store, self.checkpoints, program, elsewhere)
        self.runs = {run.id: run for run in todo}
        self.tally = begin_tally(group, store, todo)
        self.pace = Pace(program.setup, execution, time.monotonic)
        self.recorder = Recorder(writer, program, execution.keep_state, self.tally, self.pace.timed)
        slots = _make_slots(program, self.runs, self.starts)
        self.batch = Batch(program, slots, make_hyper(group.first), self.pace.timed)
        self.search = _make_search(program, group.hash, fixed=execution.slots is not None)
        self._in_flight: collections.deque[Chunk] = collections.deque()
        self.unsaved = False
        """Whether trained chunks are not completely on disk."""

    def train(self, interrupted: Callable[[], bool] = lambda: False) -> Tally:
        """Train until every run has ended. After a signal, saves the state and raises Interrupted."""
        self.batch.allocate()
        slots, saved, notes = self.batch.slots, time.monotonic(), Notes(self.recorder)
        self.pace.restart()
        while not slots.done or self._in_flight or self.recorder.holds_states:
            self._fill()
            if slots.running:
                self._advance()
            self.recorder.write_states()
            self._read(self.pace.lag if slots.running and not self.search.searching else 0)
            self._compact()
            notes.write_if_due()
            stop = interrupted()
            if stop or time.monotonic() - saved > self.execution.checkpoint_seconds:
                self._checkpoint(wait=stop)
                saved = time.monotonic()
            if stop and not slots.done:
                self._close()
                raise Interrupted
        self._finish()
        return self.tally

    def _fill(self) -> None:
        placed = self.batch.slots.fill(self.search.tiles)
        if not placed:
            return
        states = {}
        for slot, run in placed.items():
            state = self.starts.state(self.runs[run])
            self.recorder.open(self.runs[run], state)
            if state is not None:
                states[slot] = state
        with self._timing_compilation():
            hypers = {slot: make_hyper(self.runs[run]) for slot, run in placed.items()}
            self.batch.start(hypers, states)

    def _advance(self) -> None:
        placement, tiles = dict(self.batch.slots.running), self.batch.slots.busiest()
        with self._timing_compilation() as first:
            records = self.batch.advance(self.pace.blocks)
        if first:
            self.pace.restart()
        self.unsaved = True
        self.starts.chunk += 1
        self._in_flight.append(Chunk(records, placement, tiles, first))

    @contextlib.contextmanager
    def _timing_compilation(self) -> Iterator[bool]:
        """The calls before the first chunk is under way trace and compile before they return. Yields whether it is."""
        began, first = time.monotonic(), self.batch.program.traces == 0
        yield first
        self.tally.compile_seconds += (time.monotonic() - began) if first else 0.0

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
                self.search.observe(self.tally.run_steps - before, took, chunk.tiles)
            self._show()

    def _record(self, records: Records, placement: dict[int, str]) -> None:
        """Record what a chunk measured, and copy the states that have to be saved."""
        slots = self.batch.slots
        self.tally.executed_steps += self.batch.executed_steps(records)
        # A run that ended in an earlier chunk was in flight already: its slot is no longer its own.
        asked = {
            slot: self.recorder.record(run, slot, records)
            for slot, run in placement.items()
            if slots.running.get(slot) == run
        }
        # Before the next snapshots replace them, and without waiting.
        snapshots = {slot: a.snapshot for slot, a in asked.items() if a.snapshot is not None}
        for (slot, step), row in zip(snapshots.items(), self.batch.take(snapshots), strict=True):
            self.recorder.take_snapshot(placement[slot], step, row)
        ended = {slot: a.ended for slot, a in asked.items() if a.ended is not None}
        for (slot, progress), row in zip(ended.items(), self.batch.take(ended), strict=True):
            self.recorder.retire(slots.release(slot), row, progress)

    def _compact(self) -> None:
        """When no run waits: move runs together, so that all devices have equally much to do."""
        if self.batch.slots.compaction():
            self._read(0)  # what is in flight speaks of the old slots
            self.batch.compact()

    def _checkpoint(self, wait: bool) -> None:
        """Read all chunks, write the histories, then save the state that belongs to them."""
        self._read(0)
        self.recorder.write_states()
        program, running = self.batch.program, self.batch.slots.running
        self.recorder.note_running(running.values())
        occupants = [running.get(slot) for slot in range(program.slots)]
        meta = Meta(self.starts.chunk, occupants, program.tile, program.mesh.devices.size)
        self.checkpoints.save(self.batch.host_copy(), meta)
        if wait:
            self.checkpoints.wait()
        self.pace.restart()

    def _finish(self) -> None:
        self.recorder.flush()
        self.checkpoints.wait()
        self._close()
        self.checkpoints.remove()  # all runs have ended and are on disk
        self.recorder.writer.finish()
        self._show()

    def _close(self) -> None:
        self.checkpoints.close()
        self.unsaved = False

    def _show(self) -> None:
        slots = self.batch.slots
        self.tally.running, self.tally.waiting = len(slots.running), slots.n_waiting
        self.observe(self.tally)


def checkpoints_of(store: GroupStore) -> Path:
    """Directory of a group's checkpoints."""
    return store.directory / "checkpoints"


def _make_slots(program: Program, runs: dict[str, Run], starts: resume.Starts) -> Slots[str]:
    """Runs of the checkpoint first, then likely-long ones."""
    return Slots(
        program.mesh.devices.size,
        program.slots_per_device,
        program.tile,
        runs,
        lambda run: (run in starts.carried, likely_length(runs[run])),
    )


def _make_search(program: Program, group: str, fixed: bool) -> TileSearch:
    """Begins with what is remembered of this group on such devices."""
    return remembered_search(
        cache_directory() / "slots.json",
        f"{describe(program.mesh)}, {group}, tile {program.tile}",
        program.slots_per_device // program.tile,
        fixed,
    )
