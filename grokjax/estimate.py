"""`--plan`: what an experiment will take, in words, from counting and a second of timing."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from grokjax import devices, plan
from grokjax.config import Experiment
from grokjax.grid import Group
from grokjax.session import prepare
from grokjax.source import Source
from grokjax.trainer import choose_slots

# Measured against whole trainings (docs/performance.md): a step reaches this share of the rate of the products alone.
EFFICIENCY = 0.45
STEP_OVERHEAD = 3e-5
COMPILE_SECONDS = {"cpu": 9.0, "gpu": 25.0, "tpu": 25.0}


def measure_machine(mesh: Mesh) -> plan.Machine:
    """Rate of products as a small model has them, on all devices at once. Takes about a second."""
    n = mesh.devices.size
    x = jax.device_put(np.ones((n, 2, 512, 64), np.float32), devices.over_runs(mesh))
    w = jax.device_put(np.ones((n, 2, 64, 256), np.float32), devices.over_runs(mesh))

    def body(_, x):
        return jnp.tanh(jnp.einsum("nrbf,nrdf->nrbd", jnp.einsum("nrbd,nrdf->nrbf", x, w), w))

    many = jax.jit(lambda x: jax.lax.fori_loop(0, 200, body, x))
    jax.block_until_ready(many(x))
    began = time.perf_counter()
    jax.block_until_ready(many(x))
    flops = 200 * 2 * 2 * x.size * 256
    rate = flops / (time.perf_counter() - began)
    where = devices.platform(mesh)
    return plan.Machine(EFFICIENCY * rate, STEP_OVERHEAD / n, COMPILE_SECONDS.get(where, 25.0))


def plan_text(experiment: Experiment, source: Source | None = None) -> str:
    """The plan as it is printed."""
    groups, mesh, path = prepare(experiment, source)
    machine = measure_machine(mesh)
    costs = [plan.cost(g.first) for g in groups]
    times = [plan.seconds(g, c, machine) for g, c in zip(groups, costs, strict=True)]
    n_runs = sum(len(g.runs) for g in groups)
    lines = [
        f"{experiment.name}: {n_runs} runs in {len(groups)} groups, one program each, "
        f"on {devices.describe(mesh)}; results in {path}",
        *(
            _group_lines(g, c, t, mesh, experiment)
            for g, c, t in zip(groups, costs, times, strict=True)
        ),
        f"time: at most about {plan.in_words(sum(times))} if every run uses its whole budget"
        f" ({plan.in_words(machine.seconds_per_program * len(groups))} of it compiling, less when it is cached)",
    ]
    return "\n".join(lines) + "\n"


def _group_lines(group: Group, cost: plan.Cost, seconds: float, mesh: Mesh, e: Experiment) -> str:
    first, n = group.first, mesh.devices.size
    tile, slots = choose_slots(group, e.execution, mesh)
    rows = " -> ".join(map(str, cost.rows))
    return (
        f"  {group.hash}: {len(group.runs)} runs of {first.settings.model.kind}, {cost.parameters:,} parameters, "
        f"{first.n_train} to {max(r.n_train for r in group.runs)} training rows (bucket {first.bucket}); "
        f"rows per step {rows} (naive {cost.naive_rows[0]}); {slots} slots of "
        f"{plan.size(cost.slot_bytes)}, {plan.size(plan.needed_bytes(cost, slots, tile, n))} in all; "
        f"at most {plan.in_words(seconds)}"
    )
