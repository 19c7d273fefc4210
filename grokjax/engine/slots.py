"""Which run gets which slot. Plain Python without JAX; the tests simulate it with up to a million runs."""

from __future__ import annotations

import collections
import heapq
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, TypeVar

RunId = TypeVar("RunId", bound=Hashable)


class Slots(Generic[RunId]):
    """Occupied slots, free slots and the queue of waiting runs. Runs that are likely long come first."""

    def __init__(
        self,
        n_devices: int,
        slots_per_device: int,
        tile: int,
        waiting: Iterable[RunId],
        likely_length: Callable[[RunId], Any],
    ):
        """`likely_length` returns a value that can be compared; the run with the largest value starts first."""
        self.n_devices, self.slots_per_device, self.tile = n_devices, slots_per_device, tile
        # Sorted once; the next run is the last entry. Reversed twice, so that equal runs keep the order of the grid.
        self._waiting = sorted(waiting, key=likely_length, reverse=True)
        self._waiting.reverse()
        self.running: dict[int, RunId] = {}
        self._by_rank = sorted(range(n_devices * slots_per_device), key=self._rank)
        self._rank_of = {slot: rank for rank, slot in enumerate(self._by_rank)}
        self._free = list(range(len(self._by_rank)))  # ranks; ascending, so a heap

    def _rank(self, slot: int) -> tuple[int, int, int]:
        """Order in which slots are filled: low tiles first, on all devices in turn.

        So few tiles are in use, and the devices have equal work.
        """
        device, local = divmod(slot, self.slots_per_device)
        return local // self.tile, local % self.tile, device

    @property
    def n_waiting(self) -> int:
        return len(self._waiting)

    @property
    def done(self) -> bool:
        return not self._waiting and not self.running

    def fill(self, tiles: int | None = None) -> dict[int, RunId]:
        """Put waiting runs into free slots of each device's first `tiles` tiles (None: all). Returns slot -> run."""
        placed = {}
        last = len(self._by_rank) if tiles is None else tiles * self.tile * self.n_devices
        while self._free and self._free[0] < last and self._waiting:
            slot = self._by_rank[heapq.heappop(self._free)]
            placed[slot] = self._waiting.pop()
        self.running.update(placed)
        return placed

    def release(self, slot: int) -> RunId:
        """Free the slot of a run that is done. Returns the run."""
        run = self.running.pop(slot)
        heapq.heappush(self._free, self._rank_of[slot])
        return run

    def compaction(self) -> dict[int, int]:
        """Moves (slot -> free slot) after which the busiest device has fewer tiles in use; {} if there are none.

        Also {} while runs wait, because then a free slot gets a new run.
        """
        packed = self._by_rank[: len(self.running)]
        if self._waiting or self.busiest(packed) >= self.busiest():
            return {}
        leaving = sorted(set(self.running).difference(packed), key=self._rank, reverse=True)
        return dict(zip(leaving, [s for s in packed if s not in self.running], strict=True))

    def move(self, old: int, new: int) -> None:
        """Note that a run's state has been moved to a free slot."""
        self._free.remove(self._rank_of[new])
        heapq.heapify(self._free)
        self.running[new] = self.release(old)

    def busiest(self, slots: Iterable[int] | None = None) -> int:
        """Number of tiles in use on the device with most of them, if `slots` are in use (None: those in use now)."""
        tiles = {self._rank(slot)[::2] for slot in (self.running if slots is None else slots)}
        return max(collections.Counter(device for _, device in tiles).values(), default=0)

    def live_tiles(self) -> list[int]:
        """Number of tiles of each device up to the last one in use."""
        live = [0] * self.n_devices
        for slot in self.running:
            device, local = divmod(slot, self.slots_per_device)
            live[device] = max(live[device], local // self.tile + 1)
        return live
