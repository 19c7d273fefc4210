"""Which run enters which slot. Plain Python, no JAX: simulated in the tests up to a million runs."""

from __future__ import annotations

import collections
import heapq
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, TypeVar

RunId = TypeVar("RunId", bound=Hashable)


class Slots(Generic[RunId]):
    """Occupied slots, free slots and the queue of waiting runs, likely-long ones first."""

    def __init__(
        self,
        n_devices: int,
        slots_per_device: int,
        tile: int,
        waiting: Iterable[RunId],
        likely_length: Callable[[RunId], Any],
    ):
        """`likely_length` gives anything that can be compared; the run with the largest starts first."""
        self.n_devices, self.slots_per_device, self.tile = n_devices, slots_per_device, tile
        # Sorted once, the next run at the end. Reversed twice, so that ties keep the order of the grid.
        self._waiting = sorted(waiting, key=likely_length, reverse=True)
        self._waiting.reverse()
        self.running: dict[int, RunId] = {}
        self._by_rank = sorted(range(n_devices * slots_per_device), key=self._rank)
        self._rank_of = {slot: rank for rank, slot in enumerate(self._by_rank)}
        self._free = list(range(len(self._by_rank)))  # ranks; ascending, hence a heap

    def _rank(self, slot: int) -> tuple[int, int, int]:
        """Low tiles first, on all devices alike: live tiles stay few and the devices balanced."""
        device, local = divmod(slot, self.slots_per_device)
        return local // self.tile, local % self.tile, device

    @property
    def n_waiting(self) -> int:
        return len(self._waiting)

    @property
    def done(self) -> bool:
        return not self._waiting and not self.running

    def fill(self, tiles: int | None = None) -> dict[int, RunId]:
        """Put waiting runs into free slots of each device's first `tiles` tiles (None: all); what was put where."""
        placed = {}
        last = len(self._by_rank) if tiles is None else tiles * self.tile * self.n_devices
        while self._free and self._free[0] < last and self._waiting:
            slot = self._by_rank[heapq.heappop(self._free)]
            placed[slot] = self._waiting.pop()
        self.running.update(placed)
        return placed

    def release(self, slot: int) -> RunId:
        """The run in this slot is done."""
        run = self.running.pop(slot)
        heapq.heappush(self._free, self._rank_of[slot])
        return run

    def compaction(self) -> dict[int, int]:
        """Moves (slot -> free slot) after which the busiest device has fewer tiles in use; {} where none helps.

        Only once nothing waits: until then a free slot gets a new run.
        """
        packed = self._by_rank[: len(self.running)]
        if self._waiting or self.busiest(packed) >= self.busiest():
            return {}
        leaving = sorted(set(self.running).difference(packed), key=self._rank, reverse=True)
        return dict(zip(leaving, [s for s in packed if s not in self.running], strict=True))

    def move(self, old: int, new: int) -> None:
        """A run's state has been moved to a free slot."""
        self._free.remove(self._rank_of[new])
        heapq.heapify(self._free)
        self.running[new] = self.release(old)

    def busiest(self, slots: Iterable[int] | None = None) -> int:
        """Tiles in use on the device that has most of them, by the slots in use or by those given."""
        tiles = {self._rank(slot)[::2] for slot in (self.running if slots is None else slots)}
        return max(collections.Counter(device for _, device in tiles).values(), default=0)

    def live_tiles(self) -> list[int]:
        """Tiles of each device up to the last one in use."""
        live = [0] * self.n_devices
        for slot in self.running:
            device, local = divmod(slot, self.slots_per_device)
            live[device] = max(live[device], local // self.tile + 1)
        return live
