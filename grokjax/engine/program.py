"""A group's compiled program on a mesh of devices: `lifted` on each device, with slots given by their number.

Devices do not exchange data. R: slots of all devices.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from grokjax.engine import lifted
from grokjax.engine.devices import RUN, over_runs, replicated
from grokjax.engine.lifted import MAX_BLOCKS, Records, make_lift
from grokjax.training import one_run, runstate
from grokjax.training.runstate import Hyper, RunState, Setup


class Program:
    """A group's program on a mesh: admit runs to slots, advance all of them, take states out and put them back."""

    def __init__(self, setup: Setup, mesh: Mesh, slots: int, tile: int):
        assert slots % (tile * mesh.devices.size) == 0
        self.setup, self.mesh, self.slots, self.tile = setup, mesh, slots, tile
        self.slots_per_device = slots // mesh.devices.size
        self.traces = 0
        self.data = jax.device_put(runstate.make_data(setup), replicated(mesh))
        self.lift = make_lift(setup, self.data, self.slots_per_device, tile)
        run, all_ = P(RUN), P()

        def compiled(f: Callable, *inputs: P, donated: int | None = None) -> Callable:
            on_all = jax.shard_map(f, mesh=mesh, in_specs=inputs, out_specs=run, check_vma=False)
            return jax.jit(on_all, donate_argnums=donated)

        self._advance = compiled(self._advance_device, all_, run, run, run, all_, donated=2)
        self._admit = compiled(self.lift.admit, all_, run, run, run, donated=2)
        self._extract = compiled(lifted.extract, run, run)
        self._insert = compiled(lifted.insert, run, run, run, donated=0)

    @property
    def names(self) -> list[str]:
        """Names of the probe values, in alphabetical order."""
        return self.lift.names

    def _advance_device(self, *inputs: Any) -> tuple[RunState, Records]:
        self.traces += 1
        return self.lift.advance(*inputs)

    # -- states ------------------------------------------------------------------------------------------------------

    def abstract_state(self, slots: int | None = None) -> RunState:
        """Shapes and dtypes of the stacked state of `slots` slots (None: all)."""
        one = jax.eval_shape(
            functools.partial(one_run.init_run, self.setup),
            self.data,
            runstate.example_hyper(self.setup),
        )
        n = slots or self.slots
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct((n, *x.shape), x.dtype), one)

    def empty(self) -> RunState:
        """The state with all slots free."""
        make = lambda x: jnp.zeros(x.shape, x.dtype)  # noqa: E731
        blank = jax.jit(
            lambda: jax.tree.map(make, self.abstract_state()), out_shardings=over_runs(self.mesh)
        )
        return blank()

    def place(self, tree: PyTree) -> PyTree:
        """Put arrays with a leading slot axis on the devices."""
        return jax.device_put(tree, over_runs(self.mesh))

    def compile(self) -> None:
        """Compile what training calls, from shapes only. Later calls use the compiled programs."""
        split, n = over_runs(self.mesh), self.slots

        def shaped(x: Any, *, slots: bool = True) -> jax.ShapeDtypeStruct:
            shape = x.shape if slots else (n, *np.shape(x))
            return jax.ShapeDtypeStruct(shape, x.dtype, sharding=split)

        state = jax.tree.map(shaped, self.abstract_state())
        hyper = jax.tree.map(
            functools.partial(shaped, slots=False), runstate.example_hyper(self.setup)
        )
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
        """Advance the first live[d] tiles of each device d by `blocks` blocks, at most MAX_BLOCKS. Donates state."""
        n = np.int32(min(blocks, MAX_BLOCKS))
        return self._advance(self.data, hyper, state, self.place(live.astype(np.int32)), n)

    def extract(self, state: RunState, slots: list[int]) -> list[SlotState]:
        """The states of some slots, without waiting for them. Entry i of the result belongs to slots[i]."""
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
        """Slots in rounds of at most one per device: (local index or -1 of each device, device -> slot)."""
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


class SlotState:
    """One run's state as a row of a stacked state, which the device may still be computing."""

    def __init__(self, tree: RunState, row: int):
        self.tree, self.row = tree, row

    def fetch(self) -> RunState:
        """The state as NumPy; waits for it."""
        # Whole arrays are fetched and then indexed, because indexing on the device is a program for each shape.
        return jax.tree.map(lambda x: np.asarray(np.asarray(x)[self.row]), self.tree)
