"""The runs of a group that are on the devices: who sits in which slot, their states and their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from grokjax.engine.program import Program, Records, SlotState
from grokjax.engine.slots import Slots
from grokjax.training.runstate import EMPTY, Hyper, RunState

Timed = Callable[..., Any]
"""Makes a call whose time is the device's (pace.Pace.timed)."""


class HyperSlots:
    """The numbers of the runs in all slots: the host's copy, and the one that the devices read."""

    def __init__(self, program: Program, example: Hyper):
        self._program = program
        self._host = jax.tree.map(lambda x: np.stack([x] * program.slots), example)
        self.placed: Any = None

    def put(self, slot: int, hyper: Hyper) -> None:
        """These are the numbers of the run in this slot; `place` tells the devices."""
        for column, number in zip(*map(jax.tree.leaves, (self._host, hyper)), strict=True):
            column[slot] = number

    def move(self, old: int, new: int) -> None:
        """A run has moved to another slot."""
        for column in jax.tree.leaves(self._host):
            column[new] = column[old]

    def place(self) -> None:
        """Send the host's copy to the devices."""
        # A copy of the copy: a device may still be reading the arrays of an earlier chunk.
        self.placed = self._program.place(jax.tree.map(np.copy, self._host))


class Batch:
    """All slots of a program, with the runs in them."""

    def __init__(self, program: Program, slots: Slots[str], example: Hyper, timed: Timed):
        self.program, self.slots, self._timed = program, slots, timed
        self.hyper = HyperSlots(program, example)
        self.state: Any = None

    def allocate(self) -> None:
        """All slots empty, on the devices."""
        self.state = self.program.empty()

    def start(self, hypers: dict[int, Hyper], states: dict[int, RunState]) -> None:
        """Start runs in slots: from the state given for the slot, or else from step 0."""
        for slot, hyper in hypers.items():
            self.hyper.put(slot, hyper)
        self._timed(self.hyper.place)
        fresh = np.zeros(self.program.slots, bool)
        fresh[[slot for slot in hypers if slot not in states]] = True
        if fresh.any():
            self.state = self._timed(self.program.admit, self.state, self.hyper.placed, fresh)
        if states:
            self.state = self._timed(self.program.insert, self.state, states)

    def advance(self, blocks: int) -> Records:
        """Train the tiles in use for so many blocks. What comes back may still be computing."""
        live = np.array(self.slots.live_tiles())
        self.state, records = self._timed(
            self.program.advance, self.state, self.hyper.placed, live, blocks
        )
        return records

    def executed_steps(self, records: Records) -> int:
        """Steps that a chunk had the time for: what the busiest device did, on all of them."""
        busiest = int(records.executed.reshape(self.slots.n_devices, -1).sum(1).max())
        return self.slots.n_devices * busiest * self.program.setup.cadence.unit

    def take(self, slots: Iterable[int]) -> list[SlotState]:
        """The states in these slots, copied without waiting."""
        chosen = list(slots)
        return self._timed(self.program.extract, self.state, chosen) if chosen else []

    def compact(self) -> None:
        """Move runs together, so that no device has more tiles in use than it needs."""
        moves = self.slots.compaction()
        if not moves:
            return
        rows: dict[int, RunState] = {}
        for (old, new), row in zip(moves.items(), self.take(moves), strict=True):
            rows[new] = row.fetch()
            rows[old] = rows[new].replace(status=np.int32(EMPTY))  # type: ignore[attr-defined]
            self.slots.move(old, new)
            self.hyper.move(old, new)
        self.state = self._timed(self.program.insert, self.state, rows)
        self._timed(self.hyper.place)

    def host_copy(self) -> RunState:
        """The state of all slots as NumPy; waits for it."""
        # A copy: the state is given away to the next chunk while it is still being written to disk.
        return self._timed(jax.tree.map, lambda x: np.array(x, copy=True), self.state)
