"""The costs of an experiment: operations, rows and bytes. They are counted; nothing is trained or compiled."""

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
    """Costs of one run of a group."""

    parameters: int
    rows: list[int]
    """Rows of a training step at each depth; `naive_rows`: those of a program that shares nothing."""
    naive_rows: list[int]
    step_flops: float
    evaluation_flops: float
    slot_bytes: int
    """Bytes of the state of one slot."""
    tile_bytes: int
    """Additional bytes for each run of the tile that is being trained."""


@dataclasses.dataclass(frozen=True)
class RowBlocks:
    """Numbers of parts in which rows are computed. The arrays that one part keeps should fit in a core's cache."""

    train: int
    """Number of parts of a step's rows. It divides the number of rows."""
    table: int
    """Number of parts of the table's rows at an evaluation."""


WHOLE = RowBlocks(1, 1)
"""All rows at once."""

_CACHED_FLOATS = {"cpu": 5 * 2**16}
"""Number of floats in the largest activation of a part. Measured on CPU, in run-steps/s: p = 113 with 3,840 rows: 65,
65, 73 and 73 with 1, 2, 4 and 8 parts; two layers with 5,120 rows: 7.2, 10.2, 11.5 and 11.5 with 1, 4, 8 and 16 parts.
On other platforms all rows are one part."""


def row_blocks(run: Run, platform: str) -> RowBlocks:
    """The numbers of parts. They must depend only on a run's shape and the platform, because the order of sums, and so
    the last bits, depend on them."""
    model, n = _model(run), run.batch_size or run.bucket
    limit = _CACHED_FLOATS.get(platform)
    if limit is None:
        return WHOLE
    widest, train = model.count(n).widest, 1
    # With dropout the rows of a step are one part (passes.loss_and_gradient).
    while not model.drops and n // train * widest > limit and n % (2 * train) == 0:
        train *= 2
    n_rows = model.table.n_rows
    whole = model.count(n_rows).widest * n_rows
    return RowBlocks(train, math.ceil(whole / limit))


def _model(run: Run) -> Model:
    return Model(run.settings.model, run.table)


@functools.lru_cache(maxsize=256)
def cost(run: Run, platform: str = "cpu") -> Cost:
    """Costs of one run of a group. They are the same for all its runs."""
    model, blocks = _model(run), row_blocks(run, platform)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    parameters = sum(x.size for x in jax.tree.leaves(shapes))
    n, table = run.batch_size or run.bucket, model.table
    train = model.count_dense(n) if model.drops else model.count(n)
    whole = model.count(table.n_rows)
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
        # The logits of the initial network are computed again before each evaluation and each block of training.
        evaluation_flops=whole.flops * (3 if again else 1),
        slot_bytes=4 * parameters * copies + rows_state + 64,
        # Fitted to compiled programs (tests/test_engine.py): an evaluation keeps nothing for a gradient, and the
        # temporary arrays of the optimiser are two copies of the parameters.
        tile_bytes=4
        * (
            parameters * (copies + 2)
            + table.own_numbers
            + again * logits
            + max(
                train.shared + n // blocks.train * train.per_row,
                (whole.shared + table.n_rows // blocks.table * whole.per_row) // 2
                # with several parts, the logits of all rows are kept in addition to the arrays of one part
                + (blocks.table > 1) * 3 * logits,
            )
        ),
    )


def _copies(run: Run, params: Params) -> int:
    """Number of arrays of the size of the parameters in a run's state."""
    kept = jax.eval_shape(lambda p: init_optimizer(run.settings.optimizer, p), params)
    moments = sum(x.size for x in jax.tree.leaves(kept)) // sum(
        x.size for x in jax.tree.leaves(params)
    )
    needs = required(run.settings.probes)
    optional = ("previous" in needs) + (run.settings.train.snapshot_every is not None)
    return 1 + moments + 2 * ("gradients" in needs) + optional


def needed_bytes(cost: Cost, slots: int, tile: int, devices: int) -> int:
    """Bytes of the state of all slots, and of the tile that is being trained on each device."""
    return slots * cost.slot_bytes + devices * tile * cost.tile_bytes


def fitting_slots(cost: Cost, limit: int, tile: int, devices: int) -> int:
    """Number of slots that fit into `limit` bytes; 0 if the tiles being trained do not fit."""
    left = limit - devices * tile * cost.tile_bytes
    return max(0, left // cost.slot_bytes)


@dataclasses.dataclass(frozen=True)
class Machine:
    """Speed of this machine, measured in about a second (see estimate.measure_machine)."""

    flops_per_second: float
    """Of all devices together, for products as large as those of such models."""
    seconds_per_step: float
    """Time of a step that does not depend on the number of operations."""
    seconds_per_program: float
    """Time to compile a program."""


def seconds(group: Group, cost: Cost, machine: Machine) -> float:
    """Seconds to train a group if every run uses its whole budget."""
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
    """A number of bytes as text, such as '1.5 GiB'."""
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.1f} MiB"


def in_words(duration: float) -> str:
    """A duration in seconds as text, such as '12 min'."""
    if not math.isfinite(duration):
        return "unknown"
    if duration < 90:
        return f"{duration:.0f} s"
    if duration < 5400:
        return f"{duration / 60:.0f} min"
    return f"{duration / 3600:.1f} h"
