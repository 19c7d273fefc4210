"""From an experiment to its runs and groups: axes, identities, and what can only be checked run by run."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from collections.abc import Callable
from typing import Any

from grokjax.experiment.axes import expand_axes
from grokjax.experiment.axis_names import split_names
from grokjax.experiment.cadence import Cadence
from grokjax.experiment.config import Epochs, Experiment, RunSettings
from grokjax.experiment.durations import batches_of, durations
from grokjax.experiment.identity import group_hash, identity_without_seeds, run_id, run_id_of
from grokjax.experiment.loading import at_axes, at_point, validate
from grokjax.experiment.places import Places
from grokjax.models.checks import fault, misfit
from grokjax.probes import unmet
from grokjax.quoting import shown
from grokjax.settings import SettingError, Settings
from grokjax.splits import Split, bucket_of, make_split
from grokjax.tasks import make_table, unfit

SEEDS = {"seed", "init_seed", "split_seed", "order_seed", "noise_seed"}
"""Settings on which nothing of a run but its id and its random numbers depends."""

Numbers = tuple[int, ...]

Memory = Callable[[], int]
"""Bytes that a device has; asked for only where a task is large."""


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """One point of the grid, resolved. Compared by identity; `id` says which are the same training."""

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

    @property
    def table(self) -> Any:
        """The Table or Sample of its task, built once for all runs that share it."""
        return table_of(self.settings.task, self.stream_batch)

    @property
    def split(self) -> Split:
        """Its split, built once for all runs that share it."""
        return split_of(self.settings.task, self.settings.split, self.stream_batch)

    @property
    def stream_batch(self) -> int:
        """Rows that a step draws from a stream; 0 if the task is not a stream."""
        return stream_batch(self.settings)

    @property
    def steps(self) -> int:
        """Steps of the whole budget."""
        return int(self.cadence.step_of(self.budget - 1))


@dataclasses.dataclass(frozen=True)
class Group:
    """All runs that share one compiled program."""

    hash: str
    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        return self.runs[0]


def make_runs(
    experiment: Experiment, places: Places | None = None, memory: Memory | None = None
) -> list[Run]:
    """All runs of the grid, in the order of the axes. Raises ConfigError."""
    places = places or Places("experiment")
    axes = expand_axes(experiment.axes, places)
    points = _Points(experiment, places, memory, list(axes))
    numbered = [list(enumerate(values)) for values in axes.values()]
    runs = [
        points.run(*zip(*v, strict=True)) if v else points.run()
        for v in itertools.product(*numbered)
    ]
    _check_ids(runs, list(axes), places)
    return runs


class _Points:
    """Makes the run at a point. A section (task, model, ...) is validated once for each set of its values.

    Nothing but the id of a run depends on its seeds, so all else is found once for all seeds of a point.
    """

    def __init__(
        self, experiment: Experiment, places: Places, memory: Memory | None, axes: list[str]
    ):
        self.places, self.memory, self.axes = places, memory, axes
        self._of_seeds = [set(split_names(axis)) <= SEEDS for axis in axes]
        self._known: dict[Numbers, tuple[Run, dict[str, Any]]] = {}
        """By the numbers of the other axes' values: a run there, and its identity without seeds."""
        self._seeds: dict[Numbers, dict[str, int | None]] = {}
        """By the numbers of the seed axes' values: the settings that were found to be valid."""
        self.fixed = {name: getattr(experiment, name) for name in RunSettings.model_fields}
        self.data = {name: given(value) for name, value in self.fixed.items()}
        self._sections: dict[str, Settings] = {}
        self._programs: set[str] = set()
        """Groups whose model is checked."""

    def run(self, numbers: Numbers = (), values: tuple[Any, ...] = ()) -> Run:
        """The run at a point: of each axis the number of the value, and the value. Raises ConfigError."""
        point = dict(zip(self.axes, values, strict=True))
        others, seeds = (
            tuple(
                n for n, is_seed in zip(numbers, self._of_seeds, strict=True) if is_seed == wanted
            )
            for wanted in (False, True)
        )
        if others in self._known and seeds in self._seeds:
            run, identity = self._known[others]
            settings = run.settings.model_copy(update=self._seeds[seeds])
            own = run_id_of(identity, settings.seeds())
            return dataclasses.replace(run, id=own, settings=settings, point=_by_setting(point))
        run = self._validated(point)
        self._known.setdefault(others, (run, identity_without_seeds(run.settings)))
        self._seeds.setdefault(seeds, {name: getattr(run.settings, name) for name in SEEDS})
        return run

    def _validated(self, point: dict[str, Any]) -> Run:
        places = at_axes(self.places, point)
        data = at_point(self.data, point)
        keys = {}
        for name, value in data.items():
            if value is self.data[name]:
                data[name] = self.fixed[name]
            elif isinstance(value, dict):
                keys[name] = f"{name} {json.dumps(value)}"
                data[name] = self._sections.get(keys[name], value)
        settings = validate(data, places, RunSettings)
        self._sections |= {key: getattr(settings, name) for name, key in keys.items()}
        _check_size(settings, places, self.memory)
        run = resolve(settings, _by_setting(point), places)
        if run.group not in self._programs:
            _check_module(settings, places)
            self._programs.add(run.group)
        return run


def given(value: Any) -> Any:
    """As plain data what was given, not what is default: another kind on an axis has other defaults."""
    if isinstance(value, tuple):
        return [given(v) for v in value]
    if not isinstance(value, Settings):
        return value
    kind = {"kind": value.kind} if "kind" in type(value).model_fields else {}  # type: ignore[attr-defined]
    return kind | {name: given(getattr(value, name)) for name in value.model_fields_set}


def _by_setting(point: dict[str, Any]) -> dict[str, Any]:
    """A point by its settings' names instead of its axes'."""
    by_setting = {}
    for axis, value in point.items():
        names = split_names(axis)
        by_setting |= dict(zip(names, value if len(names) > 1 else [value], strict=True))
    return by_setting


def resolve(settings: RunSettings, point: dict[str, Any], places: Places) -> Run:
    """Counts, durations and identities of one run. Raises ConfigError."""
    _check_stream(settings, places)
    n_train = _n_train_of(settings, places)
    _check_model(settings, places)
    _check_probes(settings, places)
    batch_size, batches = batches_of(settings.train.batch_size, n_train)
    cadence, budget = durations(settings, batches, places)
    _check_intervention(settings, cadence, budget, places)
    table = table_of(settings.task, stream_batch(settings))
    bucket = n_train if table.stream else bucket_of(n_train, table.n_rows)
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
def table_of(task: Any, batch: int = 0) -> Any:
    """The Table or Sample of a task's settings, built once. `batch`: rows that a step draws from a stream."""
    return dataclasses.replace(table_of(task), n_train=batch) if batch else make_table(task)


@functools.lru_cache(maxsize=8)
def split_of(task: Any, split: Any, batch: int = 0) -> Split:
    """The split of settings. A few are kept: each holds all rows of its table."""
    return make_split(split, table_of(task, batch))


@functools.lru_cache(maxsize=65536)
def _n_train(task: Any, split: Any, batch: int) -> int:
    return split_of(task, split, batch).n_train


def stream_batch(settings: RunSettings) -> int:
    """Rows that a step draws from a stream; 0 if the task is not a stream."""
    batch = settings.train.batch_size
    return batch if table_of(settings.task).stream and isinstance(batch, int) else 0


def _check_stream(settings: RunSettings, places: Places) -> None:
    """Refuse what has no meaning for rows that every step draws anew."""
    if not table_of(settings.task).stream:
        return
    if settings.split.kind != "drawn":
        message = f"{settings.split.kind} divides the rows of a table, but a stream draws new rows for every step; use drawn"
        raise places.error(("split", "kind"), message, because=("task",))
    if settings.split.label_noise > 0:
        message = f"{settings.split.label_noise} gives wrong labels to training rows, but a stream has none that stay; use 0"
        raise places.error(("split", "label_noise"), message, because=("task",))
    if not isinstance(settings.train.batch_size, int):
        message = f"{_said(settings.train.batch_size)} is a share of the training rows, but a stream has no end; use a number of rows, such as 64"
        raise places.error(("train", "batch_size"), message, because=("task",))
    for name in ("steps", "eval_every"):
        if isinstance(getattr(settings.train, name), Epochs):
            message = "a stream has no epochs; give a number of steps"
            raise places.error(("train", name), message, because=("task",))


def _said(batch_size: Any) -> str:
    return shown(batch_size if isinstance(batch_size, str) else batch_size.model_dump())


def _n_train_of(settings: RunSettings, places: Places) -> int:
    try:
        return _n_train(settings.task, settings.split, stream_batch(settings))
    except SettingError as error:
        raise places.error(("split", error.name), error.why, because=("task", "split")) from None


@functools.lru_cache(maxsize=64)
def _unfit(task: Any, memory: Memory | None) -> SettingError | None:
    return unfit(task, memory)


def _check_size(settings: RunSettings, places: Places, memory: Memory | None) -> None:
    """Before the first row of a task is made."""
    wrong = _unfit(settings.task, memory)
    if wrong:
        raise places.error(("task", wrong.name), wrong.why, because=("task",))


def _check_model(settings: RunSettings, places: Places) -> None:
    wrong = misfit(settings.model.kind, table_of(settings.task))
    if wrong:
        raise places.error(("model", "kind"), wrong, because=("task", "model"))


@functools.lru_cache(maxsize=256)
def _fault(model: Any, task: Any) -> SettingError | None:
    return fault(model, table_of(task))


def _check_module(settings: RunSettings, places: Places) -> None:
    """Refuse a model whose matrices have other names than probes and interventions look up. Traces the module."""
    wrong = _fault(settings.model, settings.task)
    if wrong:
        raise places.error(("model", wrong.name), wrong.why, because=("task", "model"))


def _check_probes(settings: RunSettings, places: Places) -> None:
    for probe in settings.probes:
        lacking = unmet(probe, settings.model, table_of(settings.task)) if probe.requires else None
        if lacking:
            message = (
                f"{probe.kind} needs {lacking}; remove this probe, or change the model or the task"
            )
            raise places.error(("probes",), message, because=("model", "task"))


def _check_intervention(
    settings: RunSettings, cadence: Cadence, budget: int, places: Places
) -> None:
    """Refuse a step that is not an evaluation, or not before the last one: the intervention would never be made."""
    when = None if settings.intervention is None else settings.intervention.when
    if when is None or when.kind != "step":
        return
    key, last = ("intervention", "when", "step"), int(cadence.step_of(budget - 2))
    if when.step > last:
        message = f"{when.step} is not before the last evaluation of the run; use {last} or less"
        raise places.error(key, message, because=("train", "intervention"))
    if not cadence.hits(when.step):
        message = f"{when.step} is not an evaluation step, and an intervention follows an evaluation; use "
        near = cadence.count(when.step)
        message += f"{int(cadence.step_of(near - 1))} or {int(cadence.step_of(near))}"
        raise places.error(key, message, because=("train", "intervention"))


def without_control(runs: list[Run]) -> list[Run]:
    """Armed runs for which the grid holds no control arm: the same run, whatever the action, not armed."""

    def apart_from_it(run: Run) -> str:
        return run_id(run.settings.model_copy(update={"intervention": None}))

    active = [r for r in runs if r.settings.intervention and r.settings.intervention.armed]
    if not active:
        return []
    armed = {r.id for r in active}
    controls = {apart_from_it(r) for r in runs if r.id not in armed}
    return [r for r in active if apart_from_it(r) not in controls]


def _check_ids(runs: list[Run], axes: list[str], places: Places) -> None:
    first: dict[str, Run] = {}
    for run in runs:
        same = first.setdefault(run.id, run)
        if same is run:
            continue
        differ = [n for n in run.point if run.point[n] != same.point[n]] or list(run.point)
        told = " and ".join(
            ", ".join(f"{n} = {shown(r.point[n])}" for n in differ) for r in (same, run)
        )
        moved = [axis for axis in axes if set(split_names(axis)) & set(differ)]
        raise places.error(
            ("axes", moved[-1]), f"{told} are the same run; remove one of the two values"
        )


def make_groups(runs: list[Run]) -> list[Group]:
    """Runs by the program they share, in the order in which the programs first occur."""
    members: dict[str, list[Run]] = {}
    for run in runs:
        members.setdefault(run.group, []).append(run)
    return [Group(name, tuple(group)) for name, group in members.items()]
