"""What an experiment will cost, from counting: operations, rows and bytes. Nothing is trained or compiled."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from grokjax.grid import Group, Run, table_of
from grokjax.models import Model, sharing
from grokjax.probes import required


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one run of a group."""

    parameters: int
    rows: list[int]
    """Rows of a training step at each depth, and rows a naive program would have."""
    naive_rows: list[int]
    step_flops: float
    evaluation_flops: float
    slot_bytes: int
    """State of one slot."""
    tile_bytes: int
    """Further bytes that one run of the tile at work needs."""


@dataclasses.dataclass(frozen=True)
class Forward:
    """Operations and activations of a forward pass over n rows."""

    rows: list[int]
    flops: float
    activations: int
    """Floats kept for the backward pass."""


def _transformer(s: Any, model: Model, n: int) -> Forward:
    plan = sharing.make_plan(model.table, s.n_layers, s.causal, n)
    rows = sharing.n_rows_executed(plan, n)
    flops = activations = 0.0
    for below, above, blocks in zip(rows, rows[1:], plan[1:], strict=False):
        attended = sum((b.size or n) * len(b.sources) for b in blocks)
        projections = 2 * s.d_model**2 * (2 * below + 2 * above)
        flops += projections + 4 * above * s.d_model * s.d_mlp + 6 * attended * s.d_model
        activations += 4 * below * s.d_model + above * (6 * s.d_model + 2 * s.d_mlp)
        activations += 2 * attended * s.d_model
    logits = n * len(model.table.answer_positions) * model.table.n_classes
    return Forward(rows, flops + 2 * logits * s.d_model, int(activations + 3 * logits))


def _mlp(s: Any, model: Model, n: int) -> Forward:
    distinct = [len(np.unique(column)) for column in model.table.tokens_NT.T]
    widths = [*s.hidden, model.table.n_classes]
    first = 2 * sum(distinct) * s.d_model * widths[0] + n * len(distinct) * widths[0]
    flops = first + sum(2 * n * a * b for a, b in itertools.pairwise(widths))
    return Forward([sum(distinct), n], float(flops), n * (2 * sum(widths) + widths[0]))


def _quadratic(s: Any, model: Model, n: int) -> Forward:
    flops = 2.0 * n * s.d_mlp * model.table.n_classes + 3 * n * s.d_mlp
    return Forward([n], flops, n * (4 * s.d_mlp + 3 * model.table.n_classes))


_FORWARD: dict[str, Callable[[Any, Model, int], Forward]] = {
    "transformer": _transformer,
    "mlp": _mlp,
    "quadratic": _quadratic,
}


def cost(run: Run) -> Cost:
    """What one run of a group costs; the same for all its runs."""
    model = Model(run.settings.model, table_of(run.settings.task))
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    parameters = sum(x.size for x in jax.tree.leaves(shapes))
    n, table = run.batch_size or run.bucket, model.table
    forward = _FORWARD[model.settings.kind]
    train, whole = forward(model.settings, model, n), forward(model.settings, model, table.n_rows)
    copies = _copies(run)
    rows_state = 4 * run.bucket + table.n_rows * (1 + 4 * table.targets_NA.shape[1])
    return Cost(
        parameters=parameters,
        rows=train.rows,
        naive_rows=[n * table.tokens_NT.shape[1]] * len(train.rows),
        step_flops=3 * train.flops + 15.0 * parameters,
        evaluation_flops=whole.flops,
        slot_bytes=4 * parameters * copies + rows_state + 64,
        # Calibrated on compiled programs (tests/test_engine.py): nothing is kept for a gradient in an
        # evaluation, and the optimiser's temporaries are two copies of the parameters.
        tile_bytes=4
        * (parameters * (copies + 2) + max(train.activations, whole.activations * 3 // 4)),
    )


def _copies(run: Run) -> int:
    """Arrays of the size of the parameters in a run's state."""
    moments = {"adamw": 2, "adam": 2, "sgd": 1}[run.settings.optimizer.kind]
    needs = required(run.settings.probes)
    optional = ("previous" in needs) + (run.settings.train.snapshot_every is not None)
    return 1 + moments + 2 * ("gradients" in needs) + optional


def needed_bytes(cost: Cost, slots: int, tile: int, devices: int) -> int:
    """State of all slots plus the tile at work on each device."""
    return slots * cost.slot_bytes + devices * tile * cost.tile_bytes


def fitting_slots(cost: Cost, limit: int, tile: int, devices: int) -> int:
    """Slots that fit into `limit` bytes; 0 if not even one tile a device does."""
    left = limit - devices * tile * cost.tile_bytes
    return max(0, left // cost.slot_bytes)


@dataclasses.dataclass(frozen=True)
class Machine:
    """Speed of this machine, measured in about a second (see trainer.measure_machine)."""

    flops_per_second: float
    """All devices together, on products of the size that such models have."""
    seconds_per_step: float
    """Overhead of a step that no operation explains."""
    seconds_per_program: float
    """Compilation."""


def seconds(group: Group, cost: Cost, machine: Machine) -> float:
    """Time to train a group if every run uses its whole budget."""
    steps = evaluations = 0
    for run in group.runs:
        evaluations += run.budget
        steps += int(run.cadence.step_of(run.budget - 1))
    flops = steps * cost.step_flops + evaluations * cost.evaluation_flops
    return (
        machine.seconds_per_program
        + flops / machine.flops_per_second
        + steps * machine.seconds_per_step
    )


def size(n_bytes: int) -> str:
    """Bytes as people say them."""
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.1f} MiB"


def in_words(duration: float) -> str:
    """Seconds as people say them."""
    if not math.isfinite(duration):
        return "unknown"
    if duration < 90:
        return f"{duration:.0f} s"
    if duration < 5400:
        return f"{duration / 60:.0f} min"
    return f"{duration / 3600:.1f} h"
