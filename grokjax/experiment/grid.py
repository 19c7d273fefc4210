"""From an experiment to its runs and groups: axes, identities, and what can only be checked run by run."""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import Any

from grokjax.experiment.axes import expand_axes
from grokjax.experiment.axis_names import split_names
from grokjax.experiment.cadence import Cadence
from grokjax.experiment.config import Experiment, RunSettings
from grokjax.experiment.durations import batches_of, durations
from grokjax.experiment.identity import group_hash, identity_without_seeds, run_id, run_id_of
from grokjax.experiment.loading import at_axes, at_point, validate
from grokjax.experiment.places import Places
from grokjax.experiment.rows import drawn_rows, split_of, table_of
from grokjax.experiment.run_checks import (
    Memory,
    check_intervention,
    check_loss,
    check_model,
    check_module,
    check_probes,
    check_size,
    check_stream,
    check_table,
    training_rows,
)
from grokjax.quoting import shown
from grokjax.settings import Settings
from grokjax.splits import Split, bucket_of

SEEDS = {"seed", "init_seed", "split_seed", "order_seed", "noise_seed"}
"""Settings on which nothing of a run but its id and its random numbers depends."""

Numbers = tuple[int, ...]


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
        return table_of(self.settings.task, self.drawn_rows)

    @property
    def split(self) -> Split:
        """Its split, built once for all runs that share it."""
        return split_of(self.settings.task, self.settings.split, self.drawn_rows)

    @property
    def drawn_rows(self) -> int:
        """Training rows that its program draws, where its task alone does not say it (rows.drawn_rows)."""
        return drawn_rows(self.settings)

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
        check_size(settings, places, self.memory)
        check_table(settings, places)
        run = resolve(settings, _by_setting(point), places)
        if run.group not in self._programs:
            check_module(settings, places)
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
    check_stream(settings, places)
    n_train = training_rows(settings, places)
    check_loss(settings, places)
    check_model(settings, places)
    check_probes(settings, places)
    batch_size, batches = batches_of(settings.train.batch_size, n_train)
    cadence, budget = durations(settings, batches, places)
    check_intervention(settings, cadence, budget, places)
    table = table_of(settings.task, drawn_rows(settings))
    own = table.stream or table.traced_size
    bucket = table.n_drawn if own else bucket_of(n_train, table.n_rows)
    derived = [bucket, batch_size, batches, dataclasses.astuple(cadence)]
    # Where the number of rows is a hyper, the other settings do not say whether it is a stream.
    derived += ["stream"] if table.stream and table.traced_size else []
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
