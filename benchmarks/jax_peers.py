"""grokjax itself, and plain vmap: the dense forward pass of the same model, in JAX without anything of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.workloads import Workload, training_rows
from grokjax.engine import devices
from grokjax.engine.program import Program
from grokjax.losses import cross_entropy
from grokjax.models import Model
from grokjax.models.forms import Forms
from grokjax.training import costs, runstate

Loop = Callable[[], int]


def make_program(
    workload: Workload,
    slots: int,
    tile: int | None,
    forms: Forms | None,
    options: dict[str, Any] | None = None,
) -> Program:
    """grokjax's program of a workload on all devices; nothing is compiled yet."""
    mesh = devices.make_mesh()
    platform = devices.platform(mesh)
    group = workload.group(slots)
    if tile is None:
        flops = costs.cost(group.first, platform).step_flops
        tile = devices.default_tile(platform, flops, slots // mesh.devices.size)
    return Program(workload.setup(group, platform), mesh, slots, tile, forms, options)


class Full:
    """A program with all slots full, behind the first evaluations."""

    def __init__(self, workload: Workload, program: Program):
        self.program, self.setup = program, program.setup
        numbers = [runstate.make_hyper(run) for run in workload.group(program.slots).runs]
        self.hyper = program.place(jax.tree.map(lambda *x: np.stack(x), *numbers))
        tiles = program.slots_per_device // program.tile
        self.live = np.full(program.mesh.devices.size, tiles)
        self.state = program.admit(program.empty(), self.hyper, np.ones(program.slots, bool))
        for _ in range(2):  # evaluations at steps 0 and `unit`: the next one is far away
            self.advance()

    def advance(self) -> Any:
        """One call of the program; what it gives may still be computing."""
        self.state, records = self.program.advance(self.state, self.hyper, self.live, 1)
        return records


def engine(
    workload: Workload, slots: int, tile: int | None = None, forms: Forms | None = None
) -> Loop:
    """grokjax's program with all slots full, on all devices, evaluations left out."""
    return loop_of(Full(workload, make_program(workload, slots, tile, forms)))


def loop_of(full: Full) -> Loop:
    """A timed call: one block of all slots."""

    def loop() -> int:
        records = full.advance()
        jax.block_until_ready(full.state)
        assert (np.asarray(records.evaluation) < 0).all(), "an evaluation was timed"
        return full.program.slots * full.setup.cadence.unit

    return loop


def plain(workload: Workload, runs: int, scan: bool) -> Loop:
    """vmap over runs of the dense training step: a dispatch per step, or all steps in one scan."""
    group = workload.group(1)
    settings = group.first.settings
    setup = runstate.make_setup(group)
    model: Model = setup.model
    rows, table = training_rows(group), setup.model.table
    tokens, labels = jnp.asarray(table.tokens_NT[rows]), jnp.asarray(table.targets_NA[rows])
    o = settings.optimizer
    adamw = optax.adamw(
        o.learning_rate, b1=o.beta1, b2=o.beta2, eps=o.eps, weight_decay=o.weight_decay
    )

    def loss(params, index):
        return cross_entropy(model.dense(params, tokens[index]), labels[index]).mean()

    def step(state, index):
        params, opt = state
        updates, opt = adamw.update(jax.grad(loss)(params, index), opt, params)
        return (optax.apply_updates(params, updates), opt), None

    many = jax.vmap(step, in_axes=(0, None))
    one_step = jax.jit(lambda s, index: many(s, index)[0], donate_argnums=0)
    all_steps = jax.jit(lambda s, order: jax.lax.scan(many, s, order)[0], donate_argnums=0)
    keys = jax.random.split(jax.random.key(0), runs)
    params = jax.jit(jax.vmap(model.init))(keys)
    state = (params, jax.vmap(adamw.init)(params))
    size = workload.batch or len(rows)
    generator = np.random.default_rng(0)

    def loop() -> int:
        nonlocal state
        order = np.stack([generator.permutation(len(rows))[:size] for _ in range(workload.steps)])
        if scan:
            state = all_steps(state, order)
        else:
            for index in order:
                state = one_step(state, index)
        jax.block_until_ready(state)
        return workload.steps * runs

    return loop
