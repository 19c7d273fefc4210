"""What each probe adds to an evaluation, in operations, from the lowered program: nothing is compiled or run."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from grokjax import plan, runstate, training
from grokjax.grid import Group


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
    steps = group.first.cadence.every
    bare = _flops(setup, group, ())
    found = []
    for probe in setup.settings.probes[1:]:
        flops = max(_flops(setup, group, (probe,)) - bare, 0.0)
        share = flops / (steps * probe.every * step_flops)
        found.append(ProbeCost(probe.kind, probe.every, flops, share))
    return found


def _flops(setup: runstate.Setup, group: Group, probes: tuple[Any, ...]) -> float:
    """Operations of an evaluation with only these probes beside the metrics."""
    probes = tuple(p.model_copy(update={"every": 1}) for p in probes)
    every_one = {"probes": (*setup.settings.probes[:1], *probes)}
    setup = dataclasses.replace(setup, settings=setup.settings.model_copy(update=every_one))
    data = jax.eval_shape(lambda: runstate.make_data(setup))
    hyper = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(np.shape(x), np.asarray(x).dtype),
        runstate.make_hyper(group.first),
    )

    def measure(data: Any, hyper: Any, state: Any) -> Any:
        return training.measure_run(setup, data, hyper, state, 1)

    state = jax.eval_shape(lambda d, h: training.init_run(setup, d, h), data, hyper)
    counted = jax.jit(measure).lower(data, hyper, state).cost_analysis()
    return float((counted or {}).get("flops", 0.0))


def probes_line(group: Group, cost: plan.Cost) -> str:
    """The evaluation's cost in words, dear probes by name."""
    steps = group.first.cadence.every
    forward = cost.evaluation_flops / (steps * cost.step_flops)
    probes = probe_costs(group, cost.step_flops)
    total = forward + sum(p.share for p in probes)
    dear = [p for p in sorted(probes, key=lambda p: -p.share) if p.share >= 0.001]
    named = "".join(f", {p.kind} {p.share:.1%} (every {p.every})" for p in dear)
    return f"    evaluations: {total:.1%} of the training's operations; the forward pass {forward:.1%}{named}"
