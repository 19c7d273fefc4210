"""The time that an experiment still needs, estimated from its speed so far."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from grokjax.driver.tally import Tally
from grokjax.experiment.grid import Group
from grokjax.training import costs


@dataclasses.dataclass(frozen=True)
class Work:
    """What a group takes if every run uses its whole budget."""

    steps: int
    operations: float
    """Of one run-step, its share of the evaluations included."""


def work_of(group: Group) -> Work:
    """Counted, as `--plan` counts it."""
    steps = sum(run.steps for run in group.runs)
    if not steps:
        return Work(0, 1.0)
    cost = costs.cost(group.first)
    evaluations = sum(run.budget for run in group.runs)
    return Work(steps, cost.step_flops + cost.evaluation_flops * evaluations / steps)


def seconds_left(
    order: Sequence[str], works: Mapping[str, Work], tallies: Mapping[str, Tally]
) -> float:
    """Of all groups (by hash) if every run uses its budget; inf as long as nothing was measured.

    A group without a speed of its own is taken to do as many operations a second as the others did.
    """
    seen = [t for t in tallies.values() if t.train_seconds > 0 and t.group in works]
    trained = sum(t.train_seconds for t in seen)
    done = sum(t.run_steps * works[t.group].operations for t in seen)
    compiling = sum(t.compile_seconds for t in seen) / max(len(seen), 1)
    total = 0.0
    for group in order:
        tally, work = tallies.get(group), works[group]
        steps = work.steps if tally is None else tally.steps_left
        if not steps:
            continue
        if tally is not None and tally.rate:
            total += steps / tally.rate
        else:
            total += compiling + (steps * work.operations * trained / done if done else math.inf)
    return total
