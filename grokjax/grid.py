"""From an experiment to its runs and groups: axes, identities, and what can only be checked run by run."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
from fractions import Fraction
from typing import Any

from grokjax.axes import expand_axes, split_names
from grokjax.cadence import Cadence
from grokjax.config import BatchShare, Epochs, Experiment, RunSettings
from grokjax.identity import group_hash, run_id
from grokjax.loading import at_axes, at_point, validate
from grokjax.mistakes import shown
from grokjax.models import misfit
from grokjax.probes import unmet
from grokjax.settings import Settings
from grokjax.source import Source
from grokjax.splits import Split, bucket_of, make_split
from grokjax.tasks import make_table


@dataclasses.dataclass(frozen=True)
class Run:
    """One point of the grid, resolved."""

    id: str
    settings: RunSettings
    point: dict[str, Any]
    """Value of each axis setting."""
    group: str
    n_train: int
    bucket: int
    batch_size: int | None
    """Rows per step; None: all at once."""
    batches: int
    """Steps per epoch."""
    cadence: Cadence
    budget: int
    """Evaluations, step 0 included."""


@dataclasses.dataclass(frozen=True)
class Group:
    """All runs that share one compiled program."""

    hash: str
    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        return self.runs[0]


def make_runs(experiment: Experiment, source: Source | None = None) -> list[Run]:
    """All runs of the grid, in the order of the axes. Raises ConfigError."""
    source = source or Source("experiment")
    axes = expand_axes(experiment.axes, source)
    points = _Points(experiment, source)
    runs = [points.run(dict(zip(axes, v, strict=True))) for v in itertools.product(*axes.values())]
    _check_ids(runs, list(axes), source)
    return runs


class _Points:
    """Makes the run at a point. A section (task, model, ...) is validated once for each set of its values."""

    def __init__(self, experiment: Experiment, source: Source):
        self.source = source
        self.fixed = {name: getattr(experiment, name) for name in RunSettings.model_fields}
        self.data = {name: _given(value) for name, value in self.fixed.items()}
        self._sections: dict[str, Settings] = {}

    def run(self, point: dict[str, Any]) -> Run:
        """The run at a point, given by the axes' names. Raises ConfigError."""
        source = at_axes(self.source, point)
        data = at_point(self.data, point)
        keys = {}
        for name, value in data.items():
            if value is self.data[name]:
                data[name] = self.fixed[name]
            elif isinstance(value, dict):
                keys[name] = f"{name} {json.dumps(value)}"
                data[name] = self._sections.get(keys[name], value)
        settings = validate(data, source, RunSettings)
        self._sections |= {key: getattr(settings, name) for name, key in keys.items()}
        return resolve(settings, _by_setting(point), source)


def _given(value: Any) -> Any:
    """As plain data what was given, not what is default: another kind on an axis has other defaults."""
    if isinstance(value, tuple):
        return [_given(v) for v in value]
    if not isinstance(value, Settings):
        return value
    kind = {"kind": value.kind} if "kind" in type(value).model_fields else {}  # type: ignore[attr-defined]
    return kind | {name: _given(getattr(value, name)) for name in value.model_fields_set}


def _by_setting(point: dict[str, Any]) -> dict[str, Any]:
    """A point by its settings' names instead of its axes'."""
    found = {}
    for axis, value in point.items():
        names = split_names(axis)
        found |= dict(zip(names, value if len(names) > 1 else [value], strict=True))
    return found


def resolve(settings: RunSettings, point: dict[str, Any], source: Source) -> Run:
    """Counts, durations and identities of one run. Raises ConfigError."""
    n_train = _n_train_of(settings, source)
    _check_model(settings, source)
    _check_probes(settings, source)
    batch_size, batches = _batches(settings.train.batch_size, n_train)
    cadence, budget = _durations(settings, batches, source)
    _check_intervention(settings, cadence, budget, source)
    bucket = bucket_of(n_train, table_of(settings.task).n_rows)
    derived = [bucket, batch_size, batches, dataclasses.astuple(cadence)]
    return Run(
        id=run_id(settings),
        settings=settings,
        point=point,
        group=group_hash(settings, derived),
        n_train=n_train,
        bucket=bucket,
        batch_size=batch_size,
        batches=batches,
        cadence=cadence,
        budget=budget,
    )


@functools.lru_cache(maxsize=64)
def table_of(task: Any) -> Any:
    """The Table or Sample of a task's settings, built once."""
    return make_table(task)


@functools.lru_cache(maxsize=8)
def split_of(task: Any, split: Any) -> Split:
    """The split of settings. A few are kept: each holds all rows of its table."""
    return make_split(split, table_of(task))


@functools.lru_cache(maxsize=65536)
def _n_train(task: Any, split: Any) -> int:
    return split_of(task, split).n_train


def _n_train_of(settings: RunSettings, source: Source) -> int:
    try:
        return _n_train(settings.task, settings.split)
    except ValueError as error:
        name, _, message = str(error).partition(": ")
        raise source.error(("split", name), message, because=("task", "split")) from None


def _check_model(settings: RunSettings, source: Source) -> None:
    wrong = misfit(settings.model.kind, table_of(settings.task))
    if wrong:
        raise source.error(("model", "kind"), wrong, because=("task", "model"))


def _check_probes(settings: RunSettings, source: Source) -> None:
    for probe in settings.probes:
        lacking = unmet(probe, settings.model, table_of(settings.task)) if probe.requires else None
        if lacking:
            message = f"{probe.kind} needs {lacking}; leave it out or change model or task"
            raise source.error(("probes",), message, because=("model", "task"))


def _check_intervention(
    settings: RunSettings, cadence: Cadence, budget: int, source: Source
) -> None:
    """A step that is no evaluation, or at which the budget has ended, would never be acted upon."""
    when = None if settings.intervention is None else settings.intervention.when
    if when is None or when.kind != "step":
        return
    key, last = ("intervention", "when", "step"), int(cadence.step_of(budget - 2))
    if when.step > last:
        message = f"step {when.step} is not before the end of the budget; {last} or less would be"
        raise source.error(key, message, because=("train", "intervention"))
    if not cadence.hits(when.step):
        message = f"step {when.step} is no evaluation, after which interventions are made; "
        near = cadence.count(when.step)
        message += f"{int(cadence.step_of(near - 1))} or {int(cadence.step_of(near))} would be"
        raise source.error(key, message, because=("train", "intervention"))


def without_control(runs: list[Run]) -> list[Run]:
    """Armed runs for which the grid holds no control arm: the same run, whatever the action, not armed."""

    def apart_from_it(run: Run) -> str:
        return run_id(run.settings.model_copy(update={"intervention": None}))

    active = [r for r in runs if r.settings.intervention and r.settings.intervention.armed]
    controls = {apart_from_it(r) for r in runs if r not in active}
    return [r for r in active if apart_from_it(r) not in controls]


def _batches(batch_size: Any, n_train: int) -> tuple[int | None, int]:
    """Rows per step (None: all) and steps per epoch."""
    if isinstance(batch_size, BatchShare):
        share = math.ceil(Fraction(repr(batch_size.share)) * n_train)
        batch_size = min(batch_size.max, share)
    if batch_size == "full" or batch_size >= n_train:
        return None, 1
    return batch_size, math.ceil(n_train / batch_size)


_CAUSES = ("task", "split", "train")
"""Sections that decide how many steps an epoch has."""


def _durations(settings: RunSettings, batches: int, source: Source) -> tuple[Cadence, int]:
    """When a run is evaluated, and how often in all."""
    train = settings.train
    cadence = Cadence(_in_steps(train.eval_every, batches, "eval_every", source))
    if train.early is not None:
        dense, until = train.early.every, train.early.until
        _whole_epochs(dense, batches, "early.every", source)
        if until % dense:
            near = max(dense, until // dense * dense)
            message = f"{until} is no multiple of train.early.every = {dense}; {near} would be"
            raise source.error(("train", "early", "until"), message, because=("train",))
        cadence = Cadence(cadence.every, dense, until)
    steps = _in_steps(train.steps, batches, "steps", source)
    if not cadence.hits(steps):
        because = _CAUSES if batches > 1 else ("train",)
        raise source.error(("train", "steps"), _near_evaluations(steps, cadence), because)
    return cadence, cadence.count(steps)


def _near_evaluations(steps: int, cadence: Cadence) -> str:
    n = cadence.count(steps)
    before, after = int(cadence.step_of(n - 1)), int(cadence.step_of(n))
    near = f"{before} or {after} would be" if before else f"{after} would be"
    return f"step {steps} is no evaluation, which the last step must be; {near}"


def _in_steps(duration: int | Epochs, batches: int, name: str, source: Source) -> int:
    if isinstance(duration, Epochs):
        return duration.epochs * batches
    _whole_epochs(duration, batches, name, source)
    return duration


def _whole_epochs(steps: int, batches: int, name: str, source: Source) -> None:
    if steps % batches == 0:
        return
    below, above = steps // batches * batches, (steps // batches + 1) * batches
    near = f"{below} or {above} would be" if below else f"{above} would be"
    message = f"{steps} steps are no whole number of epochs of {batches} batches; {near}"
    suggestion = "" if name.startswith("early") else ", or {epochs: n}"
    raise source.error(("train", *name.split(".")), message + suggestion, because=_CAUSES)


def _check_ids(runs: list[Run], axes: list[str], source: Source) -> None:
    first: dict[str, Run] = {}
    for run in runs:
        same = first.setdefault(run.id, run)
        if same is run:
            continue
        differ = [n for n in run.point if run.point[n] != same.point[n]]
        told = " and ".join(
            ", ".join(f"{n} = {shown(r.point[n])}" for n in differ) for r in (same, run)
        )
        moved = [axis for axis in axes if set(split_names(axis)) & set(differ)]
        raise source.error(("axes", moved[-1]), f"{told} are the same run; each run once")


def make_groups(runs: list[Run]) -> list[Group]:
    """Runs by the program they share, in the order in which the programs first occur."""
    members: dict[str, list[Run]] = {}
    for run in runs:
        members.setdefault(run.group, []).append(run)
    return [Group(name, tuple(group)) for name, group in members.items()]
