"""grokjax itself, and plain vmap: the dense forward pass of the same model, in JAX without anything of ours."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.workloads import Workload, training_rows
from grokjax.engine import devices
from grokjax.engine.program import Program
from grokjax.losses import cross_entropy
from grokjax.models import Model
from grokjax.training import runstate

Loop = Callable[[], int]


def engine(workload: Workload, slots: int, tile: int | None = None) -> Loop:
    """grokjax's program with all slots full, on all devices, evaluations left out."""
    mesh = devices.make_mesh()
    platform = devices.platform(mesh)
    tile = tile or devices.default_tile(platform)
    group = workload.group(slots)
    setup = workload.setup(group, platform)
    program = Program(setup, mesh, slots, tile)
    hyper = program.place(
        jax.tree.map(lambda *x: np.stack(x), *[runstate.make_hyper(r) for r in group.runs])
    )
    live = np.full(mesh.devices.size, program.slots_per_device // tile)
    state = program.admit(program.empty(), hyper, np.ones(slots, bool))
    for _ in range(2):  # evaluations at steps 0 and `unit`: the next one is far away
        state, _ = program.advance(state, hyper, live, 1)

    def loop() -> int:
        nonlocal state
        state, records = program.advance(state, hyper, live, 1)
        jax.block_until_ready(state)
        assert (np.asarray(records.evaluation) < 0).all(), "an evaluation was timed"
        return slots * setup.cadence.unit

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
