"""A group's compiled program on a mesh of devices: `lifted` on each device, with slots given by their number.

Devices do not exchange data. R: slots of all devices.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jax.stages import Wrapped
from jaxtyping import PyTree

from grokjax.engine import devices, lifted
from grokjax.engine.devices import RUN, over_runs, replicated
from grokjax.engine.lifted import MAX_BLOCKS, Records, make_lift
from grokjax.models.forms import Forms, by_platform, using
from grokjax.training import one_run, runstate
from grokjax.training.runstate import Hyper, RunState, Setup

MANY = 16
"""Slots of a device whose states are taken out by one call where many are asked for. Each array that is brought to the
host costs some time, however small it is."""


class Program:
    """A group's program on a mesh: admit runs to slots, advance all of them, take states out and put them back."""

    def __init__(
        self,
        setup: Setup,
        mesh: Mesh,
        slots: int,
        tile: int,
        forms: Forms | None = None,
        options: dict[str, Any] | None = None,
    ):
        """`forms`, and `options` of the compiler: those of the mesh's platform, if not given."""
        assert slots % (tile * mesh.devices.size) == 0
        self.setup, self.mesh, self.slots, self.tile = setup, mesh, slots, tile
        self.slots_per_device = slots // mesh.devices.size
        self.traces = 0
        self.data = jax.device_put(runstate.make_data(setup), replicated(mesh))
        self.lift = make_lift(setup, self.data, self.slots_per_device, tile)
        run, all_ = P(RUN), P()
        own_forms = forms or by_platform(devices.platform(mesh))
        if options is None:
            options = devices.compiler_options(devices.platform(mesh))

        def compiled(f: Callable, *inputs: P, donated: int | None = None) -> Wrapped:
            @functools.wraps(f)  # its name is what a profile and a log of compilations show
            def traced(*arrays: Any) -> Any:
                with using(own_forms):
                    return f(*arrays)

            on_all = jax.shard_map(
                traced, mesh=mesh, in_specs=inputs, out_specs=run, check_vma=False
            )
            return jax.jit(on_all, donate_argnums=donated, compiler_options=options)

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

    def abstract_inputs(self) -> tuple[Any, ...]:
        """Shapes of what `advance` is called with: data, hyper, state, live tiles, blocks."""
        split, n = over_runs(self.mesh), self.slots

        def shaped(x: Any, *, slots: bool = True) -> jax.ShapeDtypeStruct:
            shape = x.shape if slots else (n, *np.shape(x))
            return jax.ShapeDtypeStruct(shape, x.dtype, sharding=split)

        state = jax.tree.map(shaped, self.abstract_state())
        hyper = jax.tree.map(
            functools.partial(shaped, slots=False), runstate.example_hyper(self.setup)
        )
        live = jax.ShapeDtypeStruct((self.mesh.devices.size,), np.int32, sharding=split)
        return self.data, hyper, state, live, np.int32(1)

    def compile(self) -> None:
        """Compile what training calls, from shapes only. Later calls use the compiled programs."""
        data, hyper, state, *rest = self.abstract_inputs()
        fresh = jax.ShapeDtypeStruct((self.slots,), bool, sharding=over_runs(self.mesh))
        self._admit.lower(data, hyper, state, fresh).compile()
        self._advance.lower(data, hyper, state, *rest).compile()

    @property
    def training(self) -> Wrapped:
        """The jitted function that `advance` calls, to be looked at (executables.py)."""
        return self._advance

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
        longest = max(map(len, queues_of(slots, self.slots_per_device).values()), default=0)
        width = min(MANY, self.slots_per_device) if longest >= MANY // 2 else 1
        taken: dict[int, SlotState] = {}
        for local, who in self._rounds(slots, width):
            rows = Rows(self._extract(state, self.place(local)))
            taken |= {slot: SlotState(rows, row) for row, slot in who.items()}
        return [taken[slot] for slot in slots]

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

    def _rounds(
        self, slots: list[int], width: int = 1
    ) -> Iterator[tuple[np.ndarray, dict[int, int]]]:
        """Slots in rounds of at most `width` per device: (local indices, -1 for none; row -> slot)."""
        queues = queues_of(slots, self.slots_per_device)
        for first in range(0, max(map(len, queues.values()), default=0), width):
            local = np.full(self.mesh.devices.size * width, -1, np.int32)
            who = {}
            for device, queue in queues.items():
                for i, slot in enumerate(queue[first : first + width]):
                    local[device * width + i] = slot % self.slots_per_device
                    who[device * width + i] = slot
            yield local, who


def queues_of(slots: list[int], per_device: int) -> dict[int, list[int]]:
    """Slots by their device."""
    queues: dict[int, list[int]] = {}
    for slot in slots:
        queues.setdefault(slot // per_device, []).append(slot)
    return queues


class Rows:
    """States of some runs, one in each row, which the devices may still be computing."""

    def __init__(self, tree: RunState):
        self._tree = tree

    @functools.cached_property
    def on_host(self) -> RunState:
        """As NumPy; waits for them."""
        # Whole arrays are fetched and then indexed, because indexing on the device is a program for each shape.
        return jax.tree.map(np.asarray, self._tree)


class SlotState:
    """One run's state: a row of states that were taken out together."""

    def __init__(self, rows: Rows, row: int):
        self._rows, self._row = rows, row

    def fetch(self) -> RunState:
        """The state as NumPy; waits for it."""
        return jax.tree.map(lambda x: np.asarray(x[self._row]), self._rows.on_host)
