"""How many slots the batch has, and which runs start first."""

from __future__ import annotations

from jax.sharding import Mesh

from grokjax.engine import devices
from grokjax.experiment.config import Execution
from grokjax.experiment.grid import Group, Run
from grokjax.settings import SettingError
from grokjax.training import costs


def choose_slots(group: Group, execution: Execution, mesh: Mesh) -> tuple[int, int]:
    """Width of a tile and number of slots. Raises SettingError if they do not fit into memory."""
    where, n = devices.platform(mesh), mesh.devices.size
    cost, limit = costs.cost(group.first, where), devices.memory_limit(where)
    runs = -(-len(group.runs) // n)
    tile = execution.tile or devices.default_tile(where, cost.step_flops, runs)
    step, fitting = tile * n, costs.fitting_slots(cost, limit, tile, n)
    if execution.slots is None:
        slots = devices.default_slots(tile, n, len(group.runs), fitting)
    else:
        slots = max(step, execution.slots // step * step)
    if slots > fitting:
        name = "tile" if execution.slots is None else "slots"
        raise SettingError(
            name,
            f"{slots} slots need {costs.size(costs.needed_bytes(cost, slots, tile, n))} of memory, but only "
            f"{costs.size(limit)} are free; lower execution.slots, execution.tile, model.d_model, model.d_mlp "
            "or train.batch_size",
        )
    return tile, slots


def likely_length(run: Run) -> tuple[float, ...]:
    """A sort key; the run with the largest key starts first. Runs with few training rows, a small decay or a small
    learning rate take long."""
    optimizer = run.settings.optimizer
    decay = getattr(optimizer, "weight_decay", getattr(optimizer, "l2", 0.0))
    return (float(-run.n_train), float(-decay), float(-getattr(optimizer, "learning_rate", 0.0)))
