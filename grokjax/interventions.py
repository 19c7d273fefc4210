"""Interventions: when something happens, change a run once during its training.

A trigger reads what an evaluation measured and fires at most once. Then the action changes the state, after that
evaluation and before the next step. Both are traced, so every number of them can be an axis. The control arm is
the same run with `armed: false`: its trigger never fires.

A new action needs its settings and its function here, and one line in ACTIONS. A new trigger needs its settings and its
function here, and one line in TRIGGERS.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union, no_type_check

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int
from pydantic import Field

from grokjax.models import Model, Params
from grokjax.optim import OptState, restart
from grokjax.settings import Kind, Settings, check_kinds, hyper, kind_of, shape

Numbers = dict[str, Any]
"""Hyper settings of the intervention by dotted name, as traced scalars."""
Measured = dict[str, jax.Array]
"""What an evaluation measured, by name."""


@struct.dataclass
@no_type_check
class Watch:
    """What a run remembers of its intervention."""

    fired_at: Int[Array, ""]
    """Step at which the change was made; -1 before."""
    best: Float[Array, ""]
    """memorised: highest training accuracy so far. plateau: validation accuracy at its last rise."""
    since: Int[Array, ""]
    """memorised: number of evaluations from the first at the level on. plateau: number in a row without a rise."""


Seen = tuple[Watch, jax.Array]
"""What a trigger remembers now, and whether it fires."""


def start_watching() -> Watch:
    return Watch(jnp.int32(-1), jnp.float32(-jnp.inf), jnp.int32(0))


# Triggers: (numbers, watch, step, measured) -> (watch, whether it fires) ----------------------------------------------


class AtStep(Settings):
    """At a step. It must be an evaluation step before the last one."""

    kind: Literal["step"] = shape("step")
    step: int = hyper(ge=0)
    """Optimiser step. The change is made after its evaluation and before the next step."""


class Memorised(Settings):
    """Some evaluations after the training accuracy first reaches a level."""

    kind: Literal["memorised"] = shape("memorised")
    level: float = hyper(0.99, ge=0, le=1)
    """Training accuracy that must be reached."""
    wait: int = hyper(0, ge=0)
    """Number of evaluations between then and the change."""


class Plateau(Settings):
    """When the validation accuracy no longer rises although the training rows are memorised."""

    kind: Literal["plateau"] = shape("plateau")
    level: float = hyper(0.99, ge=0, le=1)
    """Training accuracy at which counting begins."""
    wait: int = hyper(20, ge=1)
    """Number of evaluations without a rise."""
    rise: float = hyper(0.01, ge=0)
    """How far the validation accuracy must exceed its best value to count as a rise."""


def _at_step(n: Numbers, watch: Watch, step: jax.Array, measured: Measured) -> Seen:
    return watch, step >= n["when.step"]


def _memorised(n: Numbers, watch: Watch, step: jax.Array, measured: Measured) -> Seen:
    best = jnp.maximum(watch.best, measured["train_accuracy"])
    reached = best >= n["when.level"]
    since = jnp.where(reached, watch.since + 1, 0)
    return watch.replace(best=best, since=since), since > n["when.wait"]  # type: ignore[attr-defined]


def _plateau(n: Numbers, watch: Watch, step: jax.Array, measured: Measured) -> Seen:
    val = measured["val_accuracy"]
    rose = val > watch.best + n["when.rise"]
    counts = (measured["train_accuracy"] >= n["when.level"]) & ~rose
    since = jnp.where(counts, watch.since + 1, 0)
    best = jnp.where(rose, val, watch.best)
    return watch.replace(best=best, since=since), since >= n["when.wait"]  # type: ignore[attr-defined]


TRIGGERS: dict[str, Kind] = {
    "step": Kind(AtStep, _at_step),
    "memorised": Kind(Memorised, _memorised),
    "plateau": Kind(Plateau, _plateau),
}
check_kinds("TRIGGERS", TRIGGERS)
TriggerSettings = Annotated[
    Union[tuple(kind.settings for kind in TRIGGERS.values())],  # noqa: UP007
    Field(discriminator="kind"),
]
"""The settings of any trigger; the value of `kind` says which one is meant."""


# Actions: (numbers, model, params, optimiser state, key) -> (params, optimiser state) ---------------------------------


class Action(Settings):
    """Settings of every action."""

    when: TriggerSettings  # type: ignore[valid-type]
    """When the change is made. It is made once."""
    armed: bool = hyper(True)
    """false: never make the change (control arm)."""


class ScaleOutput(Action):
    """Multiply the output matrix, which makes the logits (source 002 asks whether a larger last layer groks
    earlier)."""

    kind: Literal["scale_output"] = shape("scale_output")
    factor: float = hyper(gt=0)
    """Factor on every entry. Biases and the state of the optimiser do not change."""


class ScaleWeights(Action):
    """Multiply all tensors with two or more dimensions."""

    kind: Literal["scale_weights"] = shape("scale_weights")
    factor: float = hyper(gt=0)
    """Factor on every entry. The state of the optimiser does not change."""


class AddNoise(Action):
    """Add normal noise to all parameters, drawn from the run's noise seed."""

    kind: Literal["add_noise"] = shape("add_noise")
    std: float = hyper(gt=0)
    """Standard deviation of the noise."""


class ResetOptimizer(Action):
    """Reset the moments and counters of the optimiser."""

    kind: Literal["reset_optimizer"] = shape("reset_optimizer")


def _scale_output(
    n: Numbers, model: Model, params: Params, opt_state: OptState, key: jax.Array
) -> tuple[Params, OptState]:
    return model.scale_output(params, n["factor"]), opt_state


def _scale_weights(
    n: Numbers, model: Model, params: Params, opt_state: OptState, key: jax.Array
) -> tuple[Params, OptState]:
    return jax.tree.map(lambda w: w * n["factor"] if w.ndim >= 2 else w, params), opt_state


def _add_noise(
    n: Numbers, model: Model, params: Params, opt_state: OptState, key: jax.Array
) -> tuple[Params, OptState]:
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    noisy = [
        w + n["std"] * jax.random.normal(k, w.shape) for w, k in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(tree, noisy), opt_state


def _reset_optimizer(
    n: Numbers, model: Model, params: Params, opt_state: OptState, key: jax.Array
) -> tuple[Params, OptState]:
    return params, restart(opt_state)


ACTIONS: dict[str, Kind] = {
    "scale_output": Kind(ScaleOutput, _scale_output),
    "scale_weights": Kind(ScaleWeights, _scale_weights),
    "add_noise": Kind(AddNoise, _add_noise),
    "reset_optimizer": Kind(ResetOptimizer, _reset_optimizer),
}


def intervene(
    s: Action,
    numbers: Numbers,
    model: Model,
    state: tuple[Params, OptState, Watch],
    step: jax.Array,
    measured: Measured,
    key: jax.Array,
) -> tuple[Params, OptState, Watch]:
    """(parameters, optimiser state, watch) after an evaluation, changed if the trigger fires."""
    params, opt_state, watch = state
    seen, fires = TRIGGERS[s.when.kind].build(numbers, watch, step, measured)
    fires = fires & (watch.fired_at < 0) & (numbers["armed"] > 0)
    changed = ACTIONS[kind_of(type(s))].build(numbers, model, params, opt_state, key)
    params, opt_state = jax.tree.map(
        lambda new, old: jnp.where(fires, new, old), changed, (params, opt_state)
    )
    return params, opt_state, seen.replace(fired_at=jnp.where(fires, step, watch.fired_at))
