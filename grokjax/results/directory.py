"""A results directory: which experiment it belongs to, and whether an experiment may continue in it."""

from __future__ import annotations

import operator
import os
from pathlib import Path
from typing import Any

from grokjax.experiment.axes import expand_axes
from grokjax.experiment.axis_names import split_names
from grokjax.experiment.config import Experiment
from grokjax.experiment.grid import Run, given, make_runs
from grokjax.experiment.loading import dump_yaml, experiment_from
from grokjax.experiment.places import ConfigError, Places
from grokjax.quoting import cut, cut_path, shown
from grokjax.results.experiment_file import COPY, NAME, read_data, write_both
from grokjax.results.sealed import Damaged
from grokjax.settings import Settings, leaves
from grokjax.version import SCHEMA, __version__


def directory_of(experiment: Experiment) -> Path:
    """Where an experiment's results go."""
    return Path(experiment.execution.out or f"results/{experiment.name}")


def check_directory(experiment: Experiment, runs: list[Run]) -> None:
    """Refuse a directory that belongs to another experiment or is not writable. Writes nothing. Raises ConfigError."""
    path = directory_of(experiment)
    told = cut_path(path)
    try:
        if any((path / name).exists() for name in (NAME, COPY)):
            _check_same(read_experiment(path), experiment, runs, path)
        elif path.is_dir() and any(_foreign(path)):
            raise ConfigError(
                f"{told}: contains files but is not a results directory; use another directory with --out"
            )
        _check_writable(path)
    except PermissionError as error:
        raise ConfigError(
            f"{told}: {cut_path(error.filename)} is not readable; use another directory with --out"
        ) from None
    except OSError as error:  # a name that is too long, a ring of links
        raise ConfigError(
            f"{told}: cannot be used: {error.strerror}; use another directory with --out"
        ) from None


def check_is_results(path: Path) -> None:
    """Refuse what is not the results directory of an experiment. Raises ConfigError."""
    told = cut_path(path)
    if not os.path.isdir(path):  # which says no to a null byte or a name that is too long
        raise ConfigError(
            f"{told}: this results directory does not exist; train an experiment first"
        )
    if not any((path / name).exists() for name in (NAME, COPY)):
        raise ConfigError(
            f"{told}: contains no experiment.yaml, so it is not a results directory; use the directory of an experiment"
        )


_OWN = (".lock", ".lock.json", ".writable", f"{NAME}.new", f"{COPY}.new")
"""Files that may remain when a process was killed at its start."""


def _foreign(path: Path) -> list[Path]:
    return [p for p in path.iterdir() if p.name not in _OWN]


def _check_writable(path: Path) -> None:
    told = cut_path(path)
    nearest = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not nearest.is_dir():
        raise ConfigError(
            f"{told}: {cut_path(nearest)} is a file, not a directory; use another directory with --out"
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{told}: {cut_path(nearest)} is not writable; use another directory with --out"
        )


def write_experiment(experiment: Experiment, path: Path, claim: str = "") -> None:
    """experiment.yaml: every setting resolved, axes as lists; atomic. The claim stands at its top as a comment."""
    data = {"schema": SCHEMA, "grokjax": __version__, **as_data(experiment)}
    comment = "".join(f"# {line}".rstrip() + "\n" for line in claim.splitlines())
    write_both(path, comment + dump_yaml(data), data)


def as_data(experiment: Experiment) -> dict[str, Any]:
    """An experiment as plain data, axes expanded, without what only concerns its execution.

    It has every setting, also defaults. But a section whose kind varies has only the settings that were given, because
    each kind has its own defaults.
    """
    data = experiment.model_dump(mode="json", exclude={"execution"})
    data["axes"] = expand_axes(experiment.axes, Places("experiment"))
    for name in {name for axis in data["axes"] for name in split_names(axis)}:
        section, _, last = name.partition(".")
        if last == "kind":
            data[section] = given(getattr(experiment, section))
    return data


def read_experiment(path: Path) -> Experiment:
    """The experiment of a results directory. Raises ConfigError."""
    file = path / NAME
    try:
        data = read_data(path)
        schema = data.pop("schema")
    except Damaged as error:
        raise ConfigError(
            f"{error}; restore it from a copy, or use another directory with --out"
        ) from None
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        told = cut(error, 200)
        raise ConfigError(
            f"{cut_path(file)}: cannot be read as the experiment of a results directory ({told})"
        ) from None
    if not isinstance(schema, int) or schema > SCHEMA:
        raise ConfigError(
            f"{cut_path(file)}: schema: {cut(schema)} was written by a newer grokjax, but this one reads "
            f"schemas up to {SCHEMA}; update grokjax"
        )
    data.pop("grokjax", None)
    return experiment_from(data, Places(str(file)))


def _check_same(old: Experiment, new: Experiment, runs: list[Run], path: Path) -> None:
    """The same runs, more runs or a larger budget may continue. Refuse any other change, and name the setting."""
    changed = _difference(old, new, runs)
    if changed:
        name, before, after = changed
        raise ConfigError(
            f"{cut_path(path)}: {cut(name)}: is {_told(before)} in this results directory, but {_told(after)} now; "
            "change it back, or use another directory with --out"
        )


_FIXED = ("train.stop", "train.snapshot_every", "probes")
"""Not part of a run's id, but they cannot change: stopped runs, states and columns on disk depend on them."""


def _difference(old: Experiment, new: Experiment, runs: list[Run]) -> tuple[str, Any, Any] | None:
    if as_data(old) == as_data(new):
        return None  # without making all runs of the old one
    if old.name != new.name:
        return "name", old.name, new.name
    for name in _FIXED:
        before, after = (operator.attrgetter(name)(e) for e in (old, new))
        if before != after:
            return name, before, after
    old_runs = {r.id: r for r in make_runs(old)}
    new_runs = {r.id: r for r in runs}
    if missing := set(old_runs) - set(new_runs):
        return _changed_setting(old, new) or _lost(old_runs[min(missing)])
    shorter = [r for i, r in old_runs.items() if new_runs[i].budget < r.budget]
    if shorter:
        return "train.steps", old.train.steps, f"{new.train.steps} (smaller)"
    return None


def _changed_setting(old: Experiment, new: Experiment) -> tuple[str, Any, Any] | None:
    """The first setting that differs. Kinds come first, because with another kind all settings below it differ."""
    before, after = _flat(old), _flat(new)
    different = [n for n in sorted(before | after) if before.get(n) != after.get(n)]
    shrunk = [n for n in different if isinstance(before.get(n), _Varying)]
    kinds = [n for n in different if n.endswith(".kind")]
    # An axis may have grown; that alone is no reason to refuse.
    fixed = [n for n in different if n not in shrunk and not isinstance(after.get(n), _Varying)]
    for name in [*kinds, *fixed, *shrunk, *different][:1]:
        return name, before.get(name), after.get(name)
    return None


class _Varying(tuple):
    """The values of a setting that varies."""


def _flat(experiment: Experiment) -> dict[str, Any]:
    """Settings that are part of the runs' identity; of those that vary, all values."""
    found = {n.name: n.value for n in leaves(experiment) if n.role in ("hyper", "shape")}
    for axis, values in expand_axes(experiment.axes, Places("experiment")).items():
        names = split_names(axis)
        for i, name in enumerate(names):
            found[name] = _Varying(v[i] if len(names) > 1 else v for v in values)
    return found


def _lost(run: Run) -> tuple[str, Any, Any]:
    return "axes", run.point, "not in the grid"


def _told(value: Any) -> str:
    if isinstance(value, Settings):
        return shown(value.model_dump(mode="json"))
    if isinstance(value, tuple):
        text = cut("[" + ", ".join(_told(v) for v in value) + "]")
        return f"the axis {text}" if isinstance(value, _Varying) else text
    return "not set" if value is None else cut(value)
