"""Which runs are a share: as few whole tiles as keep every worker busy for about ten minutes. Pure functions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from grokjax.engine.capacity import likely_length
from grokjax.experiment.grid import Group, Run
from grokjax.results.shares import Share

SHARE_SECONDS = 600.0
"""Longest time of a share by the estimate, if every run uses its budget: what moves when a machine is lost or slow."""


class GroupPlan(NamedTuple):
    """What `--plan-to` says of a group."""

    tile: int
    devices: int
    seconds: float
    """Of all its runs, if each uses its budget, on one worker; without compiling."""

    @property
    def step(self) -> int:
        """Runs of one tile on every device."""
        return self.tile * self.devices


def group_plans(plan: Mapping[str, Any]) -> dict[str, GroupPlan]:
    """By the hashes of groups, from the file of `--plan-to`."""
    return {g["group"]: GroupPlan(g["tile"], plan["devices"], g["seconds"]) for g in plan["groups"]}


def share_size(plan: GroupPlan, group: Group, left: int, workers: int, asked: int | None) -> int:
    """Number of runs in a share, whole tiles. `left`: runs that have to be trained."""
    if asked is not None:
        return _up(asked, plan.step)
    each = plan.seconds / len(group.runs)
    timely = math.floor(SHARE_SECONDS / max(each, 1e-9)) // plan.step * plan.step
    fair = _up(math.ceil(left / max(workers, 1)), plan.step)
    return max(plan.step, min(timely, fair))


def _up(number: int, step: int) -> int:
    return math.ceil(number / step) * step


def divide(runs: Sequence[Run], size: int, step: int) -> list[list[Run]]:
    """Whole tiles, dealt out in turn: every share has long and short runs. No share is larger than `size`."""
    ordered = sorted(runs, key=likely_length, reverse=True)
    tiles = [ordered[i : i + step] for i in range(0, len(ordered), step)]
    n = math.ceil(len(tiles) / (size // step))
    return [list(itertools.chain(*tiles[i::n])) for i in range(n)]


def kept_shares(
    shares: Sequence[Share], left: Mapping[str, Collection[str]], plans: Mapping[str, GroupPlan]
) -> list[Share]:
    """The shares of an earlier start that have runs left, with these runs only. Their checkpoints are theirs.

    `left`: the runs of each group that have to be trained.
    """
    kept, taken = [], set()
    for share in shares:
        plan = plans.get(share.group)
        runs = [r for r in share.runs if r in left.get(share.group, ()) and r not in taken]
        if runs and plan and (share.tile, share.devices) == (plan.tile, plan.devices):
            kept.append(share._replace(runs=tuple(runs)))
            taken.update(runs)
    return kept


def new_shares(
    group: Group, runs: Sequence[Run], size: int, plan: GroupPlan, used: Collection[str]
) -> list[Share]:
    """Shares of these runs, with names that no other share has."""
    numbers = (name for i in itertools.count() if (name := f"{group.hash[:8]}-{i:03d}") not in used)
    return [
        Share(name, group.hash, tuple(run.id for run in part), plan.tile, plan.devices)
        for name, part in zip(numbers, divide(runs, size, plan.step), strict=False)
    ]
