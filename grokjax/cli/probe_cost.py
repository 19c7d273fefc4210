"""What each probe adds to an evaluation, in operations, from the traced program: nothing is compiled or run."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr

from grokjax.experiment.grid import Group
from grokjax.probes import measure
from grokjax.training import costs, one_run, passes, runstate


@dataclasses.dataclass(frozen=True)
class ProbeCost:
    """Of one run of a group."""

    kind: str
    every: int
    """Evaluations between two measurements."""
    flops: float
    """Of one measurement, beside the forward pass that every evaluation makes. Eigenvalues are not counted."""
    share: float
    """Of the operations of the training between two measurements."""


def probe_costs(group: Group, step_flops: float) -> list[ProbeCost]:
    """All probes of a group but `metrics`, which is the evaluation itself."""
    setup = runstate.make_setup(group)
    steps, probes = group.first.cadence.every, setup.settings.probes
    program, outputs = _trace(setup, group)
    bare = operations(program, outputs[0])
    costs_of_probes = []
    for probe, own in zip(probes[1:], outputs[1:], strict=True):
        flops = operations(program, outputs[0] | own) - bare
        share = flops / (steps * probe.every * step_flops)
        costs_of_probes.append(ProbeCost(probe.kind, probe.every, flops, share))
    return costs_of_probes


def _trace(setup: runstate.Setup, group: Group) -> tuple[Jaxpr, list[set[Any]]]:
    """The program of an evaluation with all probes, traced once, and the outputs of each probe."""
    data = jax.eval_shape(lambda: runstate.make_data(setup))
    hyper = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(np.shape(x), np.asarray(x).dtype),
        runstate.make_hyper(group.first),
    )
    state = jax.eval_shape(lambda d, h: one_run.init_run(setup, d, h), data, hyper)

    def evaluate(data: Any, hyper: Any, state: Any) -> list[dict[str, jax.Array]]:
        with passes.precision(setup):
            view = one_run.make_view(setup, data, hyper, state)
            return [measure((probe,), view) for probe in setup.settings.probes]

    traced, shapes = jax.make_jaxpr(evaluate, return_shape=True)(data, hyper, state)
    rest, outputs = list(traced.jaxpr.outvars), []
    for measured in shapes:
        own, rest = rest[: len(measured)], rest[len(measured) :]
        outputs.append({v for v in own if not hasattr(v, "val")})
    return traced.jaxpr, outputs


def operations(program: Jaxpr, outputs: set[Any] | None = None) -> float:
    """Floating-point operations that these outputs of a program need (all of them: None)."""
    needed = None if outputs is None else set(outputs)
    total = 0.0
    for equation in reversed(program.eqns):
        if needed is None or not needed.isdisjoint(equation.outvars):
            total += _of_equation(equation)
            if needed is not None:
                needed.update(v for v in equation.invars if not hasattr(v, "val"))
    return total


_MOVES = (
    *("broadcast_in_dim", "reshape", "transpose", "squeeze", "expand_dims", "concatenate", "split", "pad", "rev"),
    *("slice", "dynamic_slice", "dynamic_update_slice", "gather", "copy", "select_n", "iota", "sort"),
    *("convert_element_type", "bitcast_convert_type", "stop_gradient", "optimization_barrier", "eigh", "svd"),
    *("random_bits", "random_wrap", "random_unwrap", "random_fold_in", "random_split", "threefry2x32"),
)  # fmt: skip
"""Copies, integers, and what is not counted."""


def _of_equation(equation: Any) -> float:
    """Of one operation; of a loop of unknown length, one turn; of branches, the longest."""
    name, given = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = given["dimension_numbers"]
        inner = math.prod(equation.invars[0].aval.shape[i] for i in contracted)
        return 2.0 * inner * equation.outvars[0].aval.size
    if name == "cond":
        return max(operations(branch.jaxpr) for branch in given["branches"])
    inner = [p for p in given.values() if hasattr(p, "eqns") or hasattr(p, "jaxpr")]
    if inner:
        return given.get("length", 1) * sum(operations(getattr(p, "jaxpr", p)) for p in inner)
    if name in _MOVES:
        return 0.0
    if name.startswith(("reduce", "arg", "cum")):
        return float(sum(v.aval.size for v in equation.invars))
    return float(sum(v.aval.size for v in equation.outvars if _is_float(v)))


def _is_float(variable: Any) -> bool:
    return jnp.issubdtype(variable.aval.dtype, jnp.floating)


CHEAP = 0.001
"""Probes with a smaller share of the training's operations are named together."""


def probes_line(group: Group, cost: costs.Cost) -> str:
    """The evaluation's cost in words: the forward pass, expensive probes one by one, and cheap ones together."""
    steps = group.first.cadence.every
    forward = cost.evaluation_flops / (steps * cost.step_flops)
    probes = sorted(probe_costs(group, cost.step_flops), key=lambda p: -p.share)
    total = forward + sum(p.share for p in probes)
    expensive = "".join(
        f", {p.kind} {p.share:.1%} (every {p.every})" for p in probes if p.share >= CHEAP
    )
    names = [p.kind for p in probes if p.share < CHEAP]
    cheap = f"; < {CHEAP:.1%} each: {', '.join(names)}" if names else ""
    start = (
        f"    evaluations: {total:.1%} of the training's operations; the forward pass {forward:.1%}"
    )
    return start + expensive + cheap
