"""A results directory: whose it is, and whether an experiment may go on in it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

import grokjax
from grokjax.config import SCHEMA, Experiment
from grokjax.axes import expand_axes
from grokjax.grid import Run, make_runs
from grokjax.loading import dump_yaml, experiment_from, parse_yaml
from grokjax.settings import Settings, leaves
from grokjax.source import ConfigError, Source


def directory_of(experiment: Experiment) -> Path:
    """Where an experiment's results go."""
    return Path(experiment.execution.out or f"results/{experiment.name}")


def check_directory(experiment: Experiment, runs: list[Run]) -> None:
    """Refuse a directory that is not this experiment's. Writes nothing."""
    path = directory_of(experiment)
    described = path / "experiment.yaml"
    if described.exists():
        _check_same(read_experiment(path), experiment, runs, path)
    elif path.exists() and (not path.is_dir() or any(_foreign(path))):
        raise ConfigError(f"{path}: exists and is no results directory; name another with --out")
    nearest = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(f"{path}: {nearest} is not writable; name another directory with --out")


def _foreign(path: Path) -> list[Path]:
    return [p for p in path.iterdir() if p.name not in (".lock", ".lock.json")]


def write_experiment(experiment: Experiment, path: Path) -> None:
    """experiment.yaml: every setting resolved, axes as lists; atomic."""
    data = {"schema": SCHEMA, "grokjax": grokjax.__version__, **as_data(experiment)}
    aside = path / "experiment.yaml.new"
    aside.write_text(dump_yaml(data))
    os.replace(aside, path / "experiment.yaml")


def as_data(experiment: Experiment) -> dict[str, Any]:
    """An experiment as plain data, axes expanded, without what only concerns its execution."""
    data = experiment.model_dump(mode="json", exclude={"execution"})
    data["axes"] = expand_axes(experiment.axes, Source("experiment"))
    return data


def read_experiment(path: Path) -> Experiment:
    """The experiment of a results directory. Raises ConfigError."""
    file = path / "experiment.yaml"
    try:
        data = parse_yaml(file.read_text())
        schema = data.pop("schema")
    except (OSError, YAMLError, AttributeError, KeyError) as error:
        raise ConfigError(f"{file}: cannot be read as an experiment ({error})") from None
    if schema > SCHEMA:
        raise ConfigError(
            f"{file}: schema: {schema} was written by a newer grokjax; this one reads up to {SCHEMA}"
        )
    data.pop("grokjax", None)
    return experiment_from(data, Source(str(file)))


def _check_same(old: Experiment, new: Experiment, runs: list[Run], path: Path) -> None:
    """The same runs, more runs, or a larger budget may go on; anything else is refused by name."""
    changed = _difference(old, new, runs)
    if changed:
        name, before, after = changed
        raise ConfigError(
            f"{path}: {name}: is {_told(before)} in this results directory and {_told(after)} now; "
            "change it back or name another directory with --out"
        )


def _difference(old: Experiment, new: Experiment, runs: list[Run]) -> tuple[str, Any, Any] | None:
    if old.name != new.name:
        return "name", old.name, new.name
    for name in ("stop", "probes"):
        holder = (lambda e: e.train) if name == "stop" else (lambda e: e)  # noqa: E731
        if getattr(holder(old), name) != getattr(holder(new), name):
            dotted = "train.stop" if name == "stop" else "probes"
            return dotted, getattr(holder(old), name), getattr(holder(new), name)
    old_runs = {r.id: r for r in make_runs(old)}
    new_runs = {r.id: r for r in runs}
    if missing := set(old_runs) - set(new_runs):
        return _changed_setting(old, new) or _lost(old_runs[min(missing)])
    shorter = [r for i, r in old_runs.items() if new_runs[i].budget < r.budget]
    if shorter:
        return "train.steps", old.train.steps, f"{new.train.steps} (smaller)"
    return None


def _changed_setting(old: Experiment, new: Experiment) -> tuple[str, Any, Any] | None:
    before, after = _flat(old), _flat(new)
    names = sorted(set(before) | set(after))
    different = [n for n in names if before.get(n) != after.get(n)]
    kinds = [n for n in different if n.endswith(".kind")]
    if different:
        name = (kinds or different)[0]
        return name, before.get(name), after.get(name)
    for axis in old.axes:
        if old.axes[axis] != new.axes.get(axis):
            return f"axes.{axis}", old.axes[axis], new.axes.get(axis)
    return None


def _flat(experiment: Experiment) -> dict[str, Any]:
    """Settings that are part of the runs' identity and do not vary."""
    varied = {n.strip() for axis in experiment.axes for n in axis.split(",")}
    return {
        leaf.name: leaf.value
        for leaf in leaves(experiment)
        if leaf.role in ("hyper", "shape") and leaf.name not in varied
    }


def _lost(run: Run) -> tuple[str, Any, Any]:
    return "axes", run.point, "missing from the grid"


def _told(value: Any) -> str:
    if isinstance(value, Settings):
        return json.dumps(value.model_dump(mode="json"))
    if isinstance(value, tuple):
        return "[" + ", ".join(_told(v) for v in value) + "]"
    return "unset" if value is None else str(value)
