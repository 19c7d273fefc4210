"""The only place that lifts over runs: a group's compiled program.

A device holds slots; a tile of slots is one vmap; a loop with a traced bound goes over the tiles in use, and inside it
another over the blocks of a chunk. So one compiled program serves every number of live slots and every chunk length,
and a run's bits depend on neither. Devices never talk to each other.

R slots of all devices, S slots of one device, W slots of a tile, B blocks of a chunk, K measurements.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from grokjax import runstate, training
from grokjax.devices import RUN, over_runs, replicated
from grokjax.runstate import RUNNING, Data, Hyper, RunState, Setup

MAX_BLOCKS = 64
"""Longest chunk, in blocks: the size of the buffer for measurements."""


@struct.dataclass
class Records:
    """What a chunk measured, and how its runs stand after it."""

    values: Any
    """R B K; NaN where not measured."""
    evaluation: Any
    """R B: number of the evaluation made in this block, -1 if none."""
    status: Any
    evaluations: Any
    age: Any
    diverged_at: Any
    executed: Any
    """R: blocks of training that the slot's tile executed, frozen and empty slots included."""


class Program:
    """A group's program on a mesh: admit runs to slots, advance all of them, take states out and put them back."""

    def __init__(self, setup: Setup, mesh: Mesh, slots: int, tile: int):
        assert slots % (tile * mesh.devices.size) == 0
        self.setup, self.mesh, self.slots, self.tile = setup, mesh, slots, tile
        self.slots_per_device = slots // mesh.devices.size
        self.traces = 0
        self.data = jax.device_put(runstate.make_data(setup), replicated(mesh))
        self.names = measured_names(setup, self.data)
        self.groups = {every: measured_names(setup, self.data, every) for every in setup.cadences}
        lift = functools.partial(jax.shard_map, mesh=mesh, check_vma=False)
        run, all_ = P(RUN), P()
        self._advance = jax.jit(
            lift(self._advance_device, in_specs=(all_, run, run, run, all_), out_specs=run),
            donate_argnums=2,
        )
        self._admit = jax.jit(
            lift(self._admit_device, in_specs=(all_, run, run, run), out_specs=run),
            donate_argnums=2,
        )
        self._extract = jax.jit(lift(_extract_device, in_specs=(run, run), out_specs=run))
        self._insert = jax.jit(
            lift(_insert_device, in_specs=(run, run, run), out_specs=run), donate_argnums=0
        )

    # -- states ------------------------------------------------------------------------------------------------------

    def abstract_state(self, slots: int | None = None) -> RunState:
        """Shapes and dtypes of the stacked state."""
        one = jax.eval_shape(
            functools.partial(training.init_run, self.setup), self.data, self.example_hyper()
        )
        n = slots or self.slots
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct((n, *x.shape), x.dtype), one)

    def example_hyper(self) -> Hyper:
        """A Hyper of the right structure; its values mean nothing."""
        return _example_hyper(self.setup)

    def empty(self) -> RunState:
        """All slots free."""
        make = lambda x: jnp.zeros(x.shape, x.dtype)  # noqa: E731
        blank = jax.jit(
            lambda: jax.tree.map(make, self.abstract_state()), out_shardings=over_runs(self.mesh)
        )
        return blank()

    def place(self, tree: Any) -> Any:
        """Put arrays with a leading slot axis on the devices."""
        return jax.device_put(tree, over_runs(self.mesh))

    def compile(self) -> None:
        """Compile what training calls, from shapes alone; a later call finds it done."""
        split, n = over_runs(self.mesh), self.slots

        def shaped(x: Any, *, slots: bool = True) -> jax.ShapeDtypeStruct:
            shape = x.shape if slots else (n, *np.shape(x))
            return jax.ShapeDtypeStruct(shape, x.dtype, sharding=split)

        state = jax.tree.map(shaped, self.abstract_state())
        hyper = jax.tree.map(functools.partial(shaped, slots=False), self.example_hyper())
        fresh = jax.ShapeDtypeStruct((n,), bool, sharding=split)
        live = jax.ShapeDtypeStruct((self.mesh.devices.size,), np.int32, sharding=split)
        self._admit.lower(self.data, hyper, state, fresh).compile()
        self._advance.lower(self.data, hyper, state, live, np.int32(1)).compile()

    # -- what the trainer calls --------------------------------------------------------------------------------------

    def admit(self, state: RunState, hyper: Hyper, fresh_R: np.ndarray) -> RunState:
        """Start the runs of `hyper` in the slots marked fresh. Donates state."""
        return self._admit(self.data, hyper, state, self.place(fresh_R))

    def advance(
        self, state: RunState, hyper: Hyper, live: np.ndarray, blocks: int
    ) -> tuple[RunState, Records]:
        """Advance the first live[d] tiles of each device d by up to MAX_BLOCKS blocks. Donates state."""
        n = np.int32(min(blocks, MAX_BLOCKS))
        return self._advance(self.data, hyper, state, self.place(live.astype(np.int32)), n)

    def extract(self, state: RunState, slots: list[int]) -> list[SlotState]:
        """The states of some slots, fetched without waiting; index i of the result belongs to slots[i]."""
        by_round = self._rounds(slots)
        fetched = [self._extract(state, self.place(local)) for local, _ in by_round]
        where = {slot: (r, d) for r, (_, who) in enumerate(by_round) for d, slot in who.items()}
        return [SlotState(fetched[where[s][0]], where[s][1]) for s in slots]

    def insert(self, state: RunState, rows: dict[int, RunState]) -> RunState:
        """Put states (NumPy, no slot axis) into slots. Donates state."""
        for local, who in self._rounds(list(rows)):
            filler = next(iter(rows.values()))
            n = self.mesh.devices.size
            tree = jax.tree.map(
                lambda *x: np.stack(x), *[rows[who[d]] if d in who else filler for d in range(n)]
            )
            state = self._insert(state, self.place(tree), self.place(local))
        return state

    def _rounds(self, slots: list[int]) -> list[tuple[np.ndarray, dict[int, int]]]:
        """Slots in rounds of at most one a device: (local index or -1 of each device, device -> slot)."""
        queues: dict[int, list[int]] = {}
        for slot in slots:
            queues.setdefault(slot // self.slots_per_device, []).append(slot)
        rounds = []
        for i in range(max(map(len, queues.values()), default=0)):
            who = {d: q[i] for d, q in queues.items() if i < len(q)}
            local = np.full(self.mesh.devices.size, -1, np.int32)
            for d, slot in who.items():
                local[d] = slot % self.slots_per_device
            rounds.append((local, who))
        return rounds

    # -- one device --------------------------------------------------------------------------------------------------

    def _admit_device(self, data: Data, hyper: Hyper, state: RunState, fresh_S) -> RunState:
        init = jax.vmap(functools.partial(training.init_run, self.setup, data))

        def admit_tile(_, tile: RunState, hyper: Hyper, fresh_W) -> tuple[RunState, None]:
            started = jax.lax.cond(fresh_W.any(), init, lambda _: tile, hyper)
            return jax.tree.map(lambda n, o: _where(fresh_W, n, o), started, tile), None

        n_tiles = self.slots_per_device // self.tile
        return self._over_tiles(admit_tile, n_tiles, state, None, hyper, fresh_S)[0]

    def _advance_device(self, data: Data, hyper: Hyper, state: RunState, live_1, n_blocks):
        self.traces += 1
        S, K = self.slots_per_device, len(self.names)
        blank = Records(
            values=jnp.full((S, MAX_BLOCKS, K), jnp.nan),
            evaluation=jnp.full((S, MAX_BLOCKS), -1, jnp.int32),
            status=state.status,
            evaluations=state.evaluations,
            age=state.age,
            diverged_at=state.diverged_at,
            executed=jnp.zeros(S, jnp.int32),
        )

        def advance_tile(records: Records, tile: RunState, hyper: Hyper) -> tuple:
            return self._advance_tile(data, hyper, tile, records, n_blocks)

        return self._over_tiles(advance_tile, live_1[0], state, blank, hyper)

    def _over_tiles(self, f: Callable, n_tiles, state: RunState, records: Any, *inputs: Any) -> Any:
        """Apply f(records, tile, *inputs of the tile) to the first n_tiles tiles, in place."""
        W = self.tile

        def cut(tree: Any, i) -> Any:
            return jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, i * W, W), tree)

        def paste(tree: Any, part: Any, i) -> Any:
            put = jax.lax.dynamic_update_slice_in_dim
            return jax.tree.map(lambda x, y: put(x, y, i * W, 0), tree, part)

        def body(i, carry):
            state, records = carry
            tile, part = f(cut(records, i), cut(state, i), *cut(inputs, i))
            return paste(state, tile, i), paste(records, part, i)

        return jax.lax.fori_loop(0, n_tiles, body, (state, records))

    # -- one tile ----------------------------------------------------------------------------------------------------

    def _advance_tile(self, data: Data, hyper: Hyper, tile: RunState, records: Records, n_blocks):
        train = jax.vmap(functools.partial(training.train_block, self.setup, data))

        def block(b, carry):
            tile, records = carry
            due_W = jax.vmap(functools.partial(training.is_due, self.setup))(tile)
            number_W = jnp.where(due_W, tile.evaluations, -1)
            # A real branch, not a select: it stands outside the vmap, so a tile without a due run pays nothing.
            tile, values_WK = jax.lax.cond(
                due_W.any(),
                functools.partial(self._evaluate_tile, data, hyper),
                _not_measured(self.names),
                tile,
            )
            values_WK = jnp.where(due_W[:, None], values_WK, jnp.nan)
            running = (tile.status == RUNNING).any()
            tile = jax.lax.cond(running, lambda t: train(hyper, t), lambda t: t, tile)
            return tile, records.replace(  # type: ignore[attr-defined]
                values=records.values.at[:, b].set(values_WK),
                evaluation=records.evaluation.at[:, b].set(number_W),
                executed=records.executed + running.astype(jnp.int32),
            )

        tile, records = jax.lax.fori_loop(0, n_blocks, block, (tile, records))
        now = {n: getattr(tile, n) for n in ("status", "evaluations", "age", "diverged_at")}
        return tile, records.replace(**now)  # type: ignore[attr-defined]

    def _evaluate_tile(self, data: Data, hyper: Hyper, tile: RunState) -> tuple[RunState, Any]:
        columns: dict[str, jax.Array] = {}
        for every, names in self.groups.items():
            columns |= self._measure_tile(data, hyper, tile, every, names)
        conclude = jax.vmap(functools.partial(training.conclude, self.setup))
        return conclude(hyper, tile, columns), jnp.stack([columns[n] for n in self.names], -1)

    def _measure_tile(self, data, hyper, tile: RunState, every: int, names: list[str]) -> dict:
        """Measurements of one cadence, W each; skipped where no run of the tile has arrived at it."""
        measure = jax.vmap(lambda h, t: training.measure_run(self.setup, data, h, t, every))
        if every == 1:
            return measure(hyper, tile)
        due_W = _has_arrived(tile, every)
        nothing = {n: jnp.full(self.tile, jnp.nan) for n in names}
        found = jax.lax.cond(due_W.any(), lambda t: measure(hyper, t), lambda _: nothing, tile)
        return {n: jnp.where(due_W, x, jnp.nan) for n, x in found.items()}


def _has_arrived(tile: RunState, every: int) -> jax.Array:
    """Which runs of a tile have arrived at an evaluation that is a multiple of `every`."""
    return tile.evaluations % every == 0


def _not_measured(names: list[str]) -> Callable:
    return lambda tile: (tile, jnp.full((len(tile.age), len(names)), jnp.nan))


def _where(mask_W, new, old):
    return jnp.where(mask_W.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _extract_device(state_S: RunState, index_1) -> RunState:
    return jax.tree.map(lambda x: x[jnp.maximum(index_1, 0)], state_S)


def _insert_device(state_S: RunState, row_1: RunState, index_1) -> RunState:
    """index -1: nothing for this device."""
    at = jnp.maximum(index_1[0], 0)
    keep = index_1[0] < 0
    return jax.tree.map(lambda x, y: x.at[at].set(jnp.where(keep, x[at], y[0])), state_S, row_1)


class SlotState:
    """One run's state inside a stacked one that may still be computing."""

    def __init__(self, tree: RunState, row: int):
        self.tree, self.row = tree, row

    def fetch(self) -> RunState:
        """The state as NumPy; waits for it."""
        # Whole leaves are fetched and then cut: a slice on the device is a program for each shape.
        return jax.tree.map(lambda x: np.asarray(np.asarray(x)[self.row]), self.tree)


def _example_hyper(setup: Setup) -> Hyper:
    run_like = {name: np.uint32(0) for name in setup.settings.seeds()}
    zero = np.int32(0)
    return Hyper(
        seeds=run_like,
        model=runstate.hyper_numbers(setup.settings.model),
        optimizer=runstate.hyper_numbers(setup.settings.optimizer),
        counts=np.zeros(setup.n_strata, np.int32),
        n_train=zero,
        n_noisy=zero,
        budget=zero,
        stop={"level": np.float32(0), "hold": zero, "then": zero},
        intervention=None
        if setup.settings.intervention is None
        else runstate.hyper_numbers(setup.settings.intervention),
    )


def measured_names(setup: Setup, data: Data, every: int | None = None) -> list[str]:
    """Names of the measurements, of one cadence or of all, in the order of the probes."""
    cadences = setup.cadences if every is None else [every]

    def one(hyper: Hyper) -> dict[str, jax.Array]:
        state = training.init_run(setup, data, hyper)
        found = {}
        for cadence in cadences:
            found |= training.measure_run(setup, data, hyper, state, cadence)
        return found

    # eval_shape sorts dictionary keys; the order of names is part of nothing but the files.
    return list(jax.eval_shape(one, _example_hyper(setup)))
