"""What an experiment will cost, from counting: operations, rows and bytes. Nothing is trained or compiled."""

from __future__ import annotations

import dataclasses
import functools
import math

import jax

from grokjax.experiment.grid import Group, Run
from grokjax.models import Model, Params
from grokjax.optim import init_optimizer
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
class RowBlocks:
    """Parts in which rows are computed, so that what one part keeps stays in a core's cache."""

    train: int
    """Of a step's rows; divides them."""
    table: int
    """Of the table's rows at an evaluation."""


WHOLE = RowBlocks(1, 1)
"""All rows at once."""

_CACHED_FLOATS = {"cpu": 5 * 2**16}
"""Largest activation of a part. Measured on CPU: p = 113 with 3,840 rows ran at 65, 65, 73 and 73 run-steps/s in 1, 2,
4 and 8 parts, two layers with 5,120 rows at 7.2, 10.2, 11.5 and 11.5 in 1, 4, 8 and 16.
Elsewhere there are no parts."""


def row_blocks(run: Run, platform: str) -> RowBlocks:
    """A pure function of a run's shape and the platform: the order of sums, hence the last bits, depends on it."""
    model, n = _model(run), run.batch_size or run.bucket
    limit = _CACHED_FLOATS.get(platform)
    if limit is None:
        return RowBlocks(1, 1)
    widest, train = model.count(n).widest, 1
    while n // train * widest > limit and n % (2 * train) == 0:
        train *= 2
    n_rows = model.table.n_rows
    whole = model.count(n_rows).widest * n_rows
    return RowBlocks(train, math.ceil(whole / limit))


def _model(run: Run) -> Model:
    return Model(run.settings.model, run.table)


@functools.lru_cache(maxsize=256)
def cost(run: Run, platform: str = "cpu") -> Cost:
    """What one run of a group costs; the same for all its runs."""
    model, blocks = _model(run), row_blocks(run, platform)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    parameters = sum(x.size for x in jax.tree.leaves(shapes))
    n, table = run.batch_size or run.bucket, model.table
    train, whole = model.count(n), model.count(table.n_rows)
    copies = _copies(run, shapes)
    n_answers = len(table.answer_positions)
    rows_state = 4 * run.bucket + table.n_rows * (1 + 4 * n_answers)
    logits = table.n_rows * n_answers * table.n_classes
    again = run.settings.train.subtract_initial
    return Cost(
        parameters=parameters,
        rows=train.rows,
        naive_rows=[n * table.n_positions] * len(train.rows),
        step_flops=3 * train.flops + 15.0 * parameters,
        # The initial network's logits are made again before each evaluation and each block of training.
        evaluation_flops=whole.flops * (3 if again else 1),
        slot_bytes=4 * parameters * copies + rows_state + 64,
        # Calibrated on compiled programs (tests/test_engine.py): nothing is kept for a gradient in an
        # evaluation, and the optimiser's temporaries are two copies of the parameters.
        tile_bytes=4
        * (
            parameters * (copies + 2)
            + table.own_numbers
            + again * logits
            + max(
                train.shared + n // blocks.train * train.per_row,
                (whole.shared + table.n_rows // blocks.table * whole.per_row) // 2
                # in parts, the logits of all rows are beside what a part keeps
                + (blocks.table > 1) * 3 * logits,
            )
        ),
    )


def _copies(run: Run, params: Params) -> int:
    """Arrays of the size of the parameters in a run's state."""
    kept = jax.eval_shape(lambda p: init_optimizer(run.settings.optimizer, p), params)
    moments = sum(x.size for x in jax.tree.leaves(kept)) // sum(
        x.size for x in jax.tree.leaves(params)
    )
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
    """Speed of this machine, measured in about a second (see estimate.measure_machine)."""

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
        steps += run.steps
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
