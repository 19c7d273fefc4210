"""The only module that lifts over runs: it makes the training of all slots of a device from that of one run.

A device has slots; the slots of a tile are one vmap. A loop with a traced bound goes over the tiles in use, and a loop
inside it over the blocks of a chunk. So one compiled program is enough for every number of slots in use and every
length of a chunk, and the bits of a run's numbers depend on neither.

S slots of one device, W slots of a tile, B blocks of a chunk, K probe values.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import no_type_check

import jax
import jax.numpy as jnp
from flax import struct
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, PyTree

from grokjax.training import one_run, runstate
from grokjax.training.runstate import RUNNING, Data, Hyper, RunState, Setup

MAX_BLOCKS = 64
"""Longest chunk, in blocks: the size of the buffer for probe values."""


@struct.dataclass
@no_type_check
class Records:
    """The probe values of a chunk, and the state of its runs after it."""

    values: Float[Array, "S B K"]
    """NaN where not measured."""
    evaluation: Int[Array, "S B"]
    """Number of the evaluation made in this block, -1 if none."""
    status: Int[Array, " S"]
    evaluations: Int[Array, " S"]
    age: Int[Array, " S"]
    diverged_at: Int[Array, " S"]
    executed: Int[Array, " S"]
    """Number of blocks of training of the slot's tile. It is the same for ended runs and empty slots of the tile."""


@dataclasses.dataclass(frozen=True, eq=False)
class Lift:
    """The work of one device on its slots."""

    setup: Setup
    slots: int
    """Number of slots of one device."""
    tile: int
    names_at: dict[int, list[str]]
    """Names of the probe values, by the setting `every` of their probes."""
    names: list[str]
    """Names of all probe values, in alphabetical order."""

    def admit(
        self, data: Data, hyper: Hyper, state: RunState, fresh_S: Bool[Array, " S"]
    ) -> RunState:
        """Start the runs of `hyper` in the fresh slots."""
        init = jax.vmap(functools.partial(one_run.init_run, self.setup, data))

        def admit_tile(
            _: None, tile: RunState, hyper: Hyper, fresh_W: Bool[Array, " W"]
        ) -> tuple[RunState, None]:
            started = jax.lax.cond(fresh_W.any(), init, lambda _: tile, hyper)
            return jax.tree.map(lambda n, o: _where(fresh_W, n, o), started, tile), None

        n_tiles = self.slots // self.tile
        return self._over_tiles(admit_tile, n_tiles, state, None, hyper, fresh_S)[0]

    def advance(
        self,
        data: Data,
        hyper: Hyper,
        state: RunState,
        live_1: Int[Array, " 1"],
        n_blocks: Int[Array, ""],
    ) -> tuple[RunState, Records]:
        """Advance the first live_1[0] tiles by n_blocks blocks, at most MAX_BLOCKS: (state, Records)."""
        S, K = self.slots, len(self.names)
        blank = Records(
            values=jnp.full((S, MAX_BLOCKS, K), jnp.nan),
            evaluation=jnp.full((S, MAX_BLOCKS), -1, jnp.int32),
            status=state.status,
            evaluations=state.evaluations,
            age=state.age,
            diverged_at=state.diverged_at,
            executed=jnp.zeros(S, jnp.int32),
        )

        def advance_tile(
            records: Records, tile: RunState, hyper: Hyper
        ) -> tuple[RunState, Records]:
            return self._advance_tile(data, hyper, tile, records, n_blocks)

        return self._over_tiles(advance_tile, live_1[0], state, blank, hyper)

    def _over_tiles(
        self,
        f: Callable,
        n_tiles: ArrayLike,
        state: RunState,
        records: Records | None,
        *inputs: PyTree,
    ) -> tuple:
        """Apply f(records, tile, *inputs of the tile) to the first n_tiles tiles, in place."""
        W = self.tile

        def cut(tree: PyTree, i: Int[Array, ""]) -> PyTree:
            return jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, i * W, W), tree)

        def paste(tree: PyTree, part: PyTree, i: Int[Array, ""]) -> PyTree:
            put = jax.lax.dynamic_update_slice_in_dim
            return jax.tree.map(lambda x, y: put(x, y, i * W, 0), tree, part)

        def body(i, carry):
            state, records = carry
            tile, part = f(cut(records, i), cut(state, i), *cut(inputs, i))
            return paste(state, tile, i), paste(records, part, i)

        return jax.lax.fori_loop(0, n_tiles, body, (state, records))

    def _advance_tile(
        self,
        data: Data,
        hyper: Hyper,
        tile: RunState,
        records: Records,
        n_blocks: Int[Array, ""],
    ) -> tuple[RunState, Records]:
        train = jax.vmap(functools.partial(one_run.train_block, self.setup, data))

        def block(b, carry):
            tile, records = carry
            due_W = jax.vmap(functools.partial(one_run.is_due, self.setup))(tile)
            number_W = jnp.where(due_W, tile.evaluations, -1)
            # Outside the vmap this is a real branch, not a select: a tile without a due run computes nothing.
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

    def _evaluate_tile(
        self, data: Data, hyper: Hyper, tile: RunState
    ) -> tuple[RunState, Float[Array, "W K"]]:
        columns: dict[str, jax.Array] = {}
        for every, names in self.names_at.items():
            columns |= self._measure_tile(data, hyper, tile, every, names)
        conclude = jax.vmap(functools.partial(one_run.conclude, self.setup))
        return conclude(hyper, tile, columns), jnp.stack([columns[n] for n in self.names], -1)

    def _measure_tile(
        self, data: Data, hyper: Hyper, tile: RunState, every: int, names: list[str]
    ) -> dict[str, Array]:
        """The values (W,) of the probes with this `every`. They are computed only if a run of the tile is at such an
        evaluation."""
        measure = jax.vmap(lambda h, t: one_run.measure_run(self.setup, data, h, t, every))
        if every == 1:
            return measure(hyper, tile)
        due_W = _has_arrived(tile, every)
        nothing = {n: jnp.full(self.tile, jnp.nan) for n in names}
        measured = jax.lax.cond(due_W.any(), lambda t: measure(hyper, t), lambda _: nothing, tile)
        return {n: jnp.where(due_W, x, jnp.nan) for n, x in measured.items()}


def _has_arrived(tile: RunState, every: int) -> jax.Array:
    """(W,) which runs of a tile are at an evaluation whose number is a multiple of `every`."""
    return tile.evaluations % every == 0


def _not_measured(names: list[str]) -> Callable:
    return lambda tile: (tile, jnp.full((len(tile.age), len(names)), jnp.nan))


def _where(mask_W: Bool[Array, " W"], new: Array, old: Array) -> Array:
    return jnp.where(mask_W.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def extract(state_S: RunState, index_N: Int[Array, " N"]) -> RunState:
    """The states of some slots of a device (-1: of any)."""
    return jax.tree.map(lambda x: x[jnp.maximum(index_N, 0)], state_S)


def insert(state_S: RunState, row_1: RunState, index_1: Int[Array, " 1"]) -> RunState:
    """Put a state into one slot of a device (-1: into none)."""
    at = jnp.maximum(index_1[0], 0)
    keep = index_1[0] < 0
    return jax.tree.map(lambda x, y: x.at[at].set(jnp.where(keep, x[at], y[0])), state_S, row_1)


def measured_names(setup: Setup, data: Data, every: int | None = None) -> list[str]:
    """Names of the values of the probes with this `every` (None: of all probes), in alphabetical order."""
    cadences = setup.cadences if every is None else [every]

    def one(hyper: Hyper) -> dict[str, jax.Array]:
        state = one_run.init_run(setup, data, hyper)
        measured = {}
        for cadence in cadences:
            measured |= one_run.measure_run(setup, data, hyper, state, cadence)
        return measured

    # eval_shape sorts the names. Only the files depend on their order.
    return list(jax.eval_shape(one, runstate.example_hyper(setup)))


def make_lift(setup: Setup, data: Data, slots: int, tile: int) -> Lift:
    """The Lift of a device with `slots` slots."""
    names_at = {every: measured_names(setup, data, every) for every in setup.cadences}
    return Lift(setup, slots, tile, names_at, measured_names(setup, data))
