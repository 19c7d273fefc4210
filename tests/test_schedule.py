"""Slots, by simulation with lengths as grokking times have them."""

from __future__ import annotations

import collections
import heapq
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from grokjax.engine.slots import Slots


class Simulated(NamedTuple):
    busy: int
    """Slot-chunks that a run was in."""
    computed: int
    """Slot-chunks of the live tiles."""
    order: list[int]
    """Runs in the order in which they started."""


def simulate(
    chunks: np.ndarray, slots: Slots, check: Callable[[Slots], None] = lambda _: None
) -> Simulated:
    """Until every run has had its chunks. Chunks in which nothing ends are taken in one step."""
    ends: list[tuple[int, int]] = []
    now, busy, computed, order = 0, 0, 0, []
    while True:
        before = set(slots.running)
        for slot, run in slots.fill().items():
            assert slot not in before, "a slot in use was given away"
            heapq.heappush(ends, (now + int(chunks[run]), slot))
            order.append(run)
        check(slots)
        if slots.done:
            return Simulated(busy, computed, order)
        step = ends[0][0] - now
        busy += step * len(slots.running)
        computed += step * sum(slots.live_tiles()) * slots.tile
        now += step
        while ends and ends[0][0] == now:
            slots.release(heapq.heappop(ends)[1])


def grokking_times(n: int, seed: int, spread: float = 0.7, limit: float = 5.0) -> np.ndarray:
    """Log-normal with median 1, and what a budget leaves of them."""
    times = np.random.default_rng(seed).lognormal(0.0, spread, n)
    return np.minimum(times, limit)


@pytest.mark.parametrize("shape", [(1, 8, 2), (2, 8, 2), (2, 12, 4), (4, 4, 1), (1, 64, 64)])
@pytest.mark.parametrize("seed", range(3))
def test_every_run_runs_once_and_never_beside_itself(
    shape: tuple[int, int, int], seed: int
) -> None:
    devices, per_device, tile = shape
    lengths = np.ceil(20 * grokking_times(200, seed)).astype(int)
    slots = Slots(devices, per_device, tile, range(200), lambda r: 0)

    def check(s: Slots) -> None:
        assert len(set(s.running.values())) == len(s.running) <= devices * per_device
        assert all(0 <= slot < devices * per_device for slot in s.running)
        assert s.n_waiting == 0 or len(s.running) == devices * per_device

    found = simulate(lengths, slots, check)
    assert sorted(found.order) == list(range(200)) and found.busy == lengths.sum()
    assert slots.done and slots.n_waiting == 0 and slots.live_tiles() == [0] * devices


@pytest.mark.parametrize(("known", "limit"), [(0.0, 0.12), (0.5, 0.05), (1.0, 0.05)])
def test_idle_share_is_small(known: float, limit: float) -> None:
    """Grids of 20 runs a slot, chunks of 1 % of the median; the lengths are guessed not at all, half, or well."""
    devices, per_device, tile = 2, 8, 2
    n = 20 * devices * per_device
    for seed in range(5):
        times = grokking_times(n, seed)
        guess = known * times + (1 - known) * np.random.default_rng(99).permutation(times)
        slots = Slots(devices, per_device, tile, range(n), lambda r, g=guess: g[r])
        chunks = np.ceil(100 * times).astype(int)
        found = simulate(chunks, slots)
        idle = 1 - 100 * times.sum() / found.computed  # half-used last chunks count as idle
        assert 0 <= idle < limit, (seed, idle)


@pytest.mark.soak
def test_a_million_runs_within_seconds() -> None:
    n = 1_000_000
    lengths = np.ceil(100 * grokking_times(n, 0)).astype(int).tolist()
    began = time.process_time()
    slots = Slots(8, 512, 64, range(n), lengths.__getitem__)
    calendar: dict[int, list[int]] = collections.defaultdict(list)
    placed = now = 0
    while not slots.done:
        new = slots.fill()
        placed += len(new)
        for slot, run in new.items():
            calendar[now + lengths[run]].append(slot)
        now += 1
        for slot in calendar.pop(now, ()):
            slots.release(slot)
    assert placed == n
    assert time.process_time() - began < 15


def test_likely_long_runs_start_first_and_ties_keep_the_order_of_the_grid() -> None:
    slots = Slots(1, 2, 1, "abcdef", lambda r: {"c": 5.0, "e": 7.0}.get(r, 1.0))
    started = []
    while not slots.done:
        started += slots.fill().values()
        slots.release(min(slots.running))
    assert started == ["e", "c", "a", "b", "d", "f"]


def test_small_fractions_and_small_decays_start_first() -> None:
    from grokjax.driver.trainer import likely_length
    from tests.test_grid import runs_of

    runs = runs_of(
        axes={
            "split.train_fraction": [0.4, 0.8],
            "optimizer.weight_decay": [0.1, 1.0],
            "seed": [0, 1],
        }
    )
    slots = Slots(1, 8, 1, runs, lambda r: likely_length(r))
    order = [
        (r.settings.split.train_fraction, r.settings.optimizer.weight_decay, r.settings.seed)
        for _, r in sorted(slots.fill().items())
    ]
    assert order == [(f, w, s) for f in (0.4, 0.8) for w in (0.1, 1.0) for s in (0, 1)]


def test_low_tiles_of_all_devices_are_filled_first() -> None:
    slots = Slots(2, 6, 2, range(5), lambda r: -r)
    assert slots.fill() == {0: 0, 6: 1, 1: 2, 7: 3, 2: 4}
    assert slots.live_tiles() == [2, 1]
    slots.release(0)
    assert slots.live_tiles() == [2, 1]
    slots.release(2)
    assert slots.live_tiles() == [1, 1]


def test_live_tiles_reach_the_last_run_in_use() -> None:
    generator = np.random.default_rng(0)
    slots = Slots(3, 8, 4, range(60), lambda r: 0)
    while not slots.done:
        slots.fill()
        slots.release(int(generator.choice(list(slots.running))))
        for device, live in enumerate(slots.live_tiles()):
            used = [s - 8 * device for s in slots.running if s // 8 == device]
            assert live == (max(used) // 4 + 1 if used else 0)


def test_a_slot_that_is_not_in_use_cannot_be_released() -> None:
    slots = Slots(1, 2, 1, [1], lambda r: 0)
    slots.fill()
    slots.release(0)
    with pytest.raises(KeyError):
        slots.release(0)
    slots.fill()
    assert slots.done


def test_filling_can_be_held_to_the_first_tiles_of_each_device() -> None:
    slots = Slots(2, 6, 2, range(12), lambda r: -r)
    assert set(slots.fill(tiles=1)) == {0, 1, 6, 7}
    assert slots.fill(tiles=1) == {}
    assert set(slots.fill(tiles=2)) == {2, 3, 8, 9}
    assert set(slots.fill()) == {4, 5, 10, 11}


def test_compaction_waits_until_nothing_waits() -> None:
    slots = Slots(2, 3, 1, range(7), lambda r: -r)
    slots.fill()
    slots.release(3)
    slots.release(4)
    assert slots.compaction() == {}
    assert slots.n_waiting == 1


def test_compaction_shares_what_is_left_among_the_devices() -> None:
    slots = Slots(2, 4, 1, range(8), lambda r: -r)
    slots.fill()
    for slot in (4, 5, 6, 7, 1):
        slots.release(slot)
    left = dict(slots.running)
    moves = slots.compaction()
    assert moves == {3: 4, 2: 1} or moves == {3: 4}
    for old, new in moves.items():
        slots.move(old, new)
    assert sorted(slots.running.values()) == sorted(left.values())
    assert slots.busiest() == 2 and slots.compaction() == {}


@pytest.mark.parametrize("shape", [(1, 8, 2), (2, 8, 2), (3, 12, 4), (4, 4, 1), (1, 64, 16)])
@pytest.mark.parametrize("seed", range(3))
def test_compaction_leaves_the_fewest_tiles_that_hold_the_runs(
    shape: tuple[int, int, int], seed: int
) -> None:
    devices, per_device, tile = shape
    generator = np.random.default_rng(seed)
    slots = Slots(devices, per_device, tile, range(devices * per_device), lambda r: 0)
    slots.fill()
    while slots.running:
        slots.release(int(generator.choice(list(slots.running))))
        before = dict(slots.running)
        for old, new in slots.compaction().items():
            assert old in slots.running and new not in slots.running
            slots.move(old, new)
        assert sorted(slots.running.values()) == sorted(before.values())
        tiles = -(-len(slots.running) // tile)
        assert slots.busiest() == -(-tiles // devices)
    assert sorted(slots._free) == list(range(devices * per_device))
