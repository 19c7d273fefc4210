"""`--plan`: the time and memory that an experiment needs, from counting and a short measurement of the machine."""

from __future__ import annotations

import functools
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from grokjax.atomic import replacing
from grokjax.cli.probe_cost import probes_line
from grokjax.driver.preparation import prepare
from grokjax.engine import devices
from grokjax.engine.capacity import choose_slots
from grokjax.experiment.config import Experiment
from grokjax.experiment.grid import Group
from grokjax.experiment.places import Places
from grokjax.models import MODELS
from grokjax.quoting import counted
from grokjax.training import costs

# Measured against whole trainings (docs/performance.md): a step reaches this share of the rate of the products alone.
EFFICIENCY = 0.55
# Where there is a stop rule, the share of their budgets that runs are taken to use: it was 0.36 to 0.74 in the
# grids of docs/results.
STOPPED_SHARE = 0.5
STEP_OVERHEAD = 3e-5
COMPILE_SECONDS = {"cpu": 6.0, "gpu": 25.0, "tpu": 25.0}


@functools.cache
def measure_machine(mesh: Mesh) -> costs.Machine:
    """Speed of matrix products of the size of a small model, on all devices at once. Takes less than a second, once."""
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
    return costs.Machine(EFFICIENCY * rate, STEP_OVERHEAD / n, COMPILE_SECONDS.get(where, 25.0))


def plan_text(experiment: Experiment, places: Places | None = None) -> str:
    """The plan as it is printed."""
    groups, mesh, path = prepare(experiment, places)
    machine = measure_machine(mesh)
    each = [costs.cost(g.first, devices.platform(mesh)) for g in groups]
    times = [costs.seconds(g, c, machine) for g, c in zip(groups, each, strict=True)]
    n_runs = sum(len(g.runs) for g in groups)
    lines = [
        f"{experiment.name}: {counted(n_runs, 'run')} in {counted(len(groups), 'group')}, one program each, "
        f"on {devices.describe(mesh)}; results in {path}",
        *(
            _group_lines(g, c, t, mesh, experiment)
            for g, c, t in zip(groups, each, times, strict=True)
        ),
        _time_line(groups, times, machine),
    ]
    return "\n".join(lines) + "\n"


def write_plan(experiment: Experiment, places: Places | None, file: Path) -> None:
    """The plan as JSON, for the process that divides the groups between machines. Raises OSError."""
    groups, mesh, _ = prepare(experiment, places)
    machine, where = measure_machine(mesh), devices.platform(mesh)
    told = [
        {
            "group": group.hash,
            "runs": len(group.runs),
            "tile": choose_slots(group, experiment.execution, mesh)[0],
            "seconds": costs.seconds(group, costs.cost(group.first, where), machine)
            - machine.seconds_per_program,
        }
        for group in groups
    ]
    plan = {"platform": where, "devices": mesh.devices.size, "groups": told}
    with replacing(file) as aside:
        aside.write_text(json.dumps(plan))


def _time_line(groups: list[Group], times: list[float], machine: costs.Machine) -> str:
    compiling = machine.seconds_per_program * len(groups)
    training = [t - machine.seconds_per_program for t in times]
    likely = compiling + sum(
        t * (1.0 if g.first.settings.train.stop is None else STOPPED_SHARE)
        for g, t in zip(groups, training, strict=True)
    )
    return (
        f"time: about {costs.in_words(likely)}, at most {costs.in_words(sum(times))} if every run uses its whole "
        f"budget ({costs.in_words(compiling)} of it compiling, less when it is cached)"
    )


def _group_lines(group: Group, cost: costs.Cost, seconds: float, mesh: Mesh, e: Experiment) -> str:
    first, n = group.first, mesh.devices.size
    tile, slots = choose_slots(group, e.execution, mesh)
    numbers = {r.n_train for r in group.runs}
    trained = sorted({min(numbers), max(numbers)})
    rows = " -> ".join(map(str, cost.rows))
    if MODELS[first.settings.model.kind].shared is not None:
        rows += f" (naive {cost.naive_rows[0]})"
    return (
        f"  {group.hash}: {counted(len(group.runs), 'run')} of {first.settings.model.kind}, "
        f"{cost.parameters:,} parameters, "
        f"{' to '.join(map(str, trained))} training rows (bucket {first.bucket}); "
        f"rows per step {rows}; {counted(slots, 'slot')} of "
        f"{costs.size(cost.slot_bytes)}, {costs.size(costs.needed_bytes(cost, slots, tile, n))} in all; "
        f"at most {costs.in_words(seconds)}\n{probes_line(group, cost)}"
    )
