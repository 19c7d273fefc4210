"""What is checked before anything is written or trained, and the directory that is made then."""

from __future__ import annotations

import contextlib
import functools
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from jax.sharding import Mesh

from grokjax.engine import devices
from grokjax.engine.capacity import choose_slots
from grokjax.experiment.config import Experiment
from grokjax.experiment.grid import Group, make_groups, make_runs, without_control
from grokjax.experiment.measurement_checks import check_kinds, check_snapshots
from grokjax.experiment.places import ConfigError, Places
from grokjax.experiment.run_checks import Memory
from grokjax.quoting import cut_path
from grokjax.results import provenance
from grokjax.results.directory import check_directory, directory_of
from grokjax.settings import SettingError
from grokjax.training.probe_values import check_values

log = logging.getLogger("grokjax")

_SMALLEST = 2**20
"""Bytes of free disk space that are needed to begin."""


def prepare(experiment: Experiment, places: Places | None = None) -> tuple[list[Group], Mesh, Path]:
    """Check everything before anything is written. Raises ConfigError."""
    places = places or Places("experiment")
    groups = prepare_groups(experiment, places, _memory(experiment, places))
    devices.set_up(experiment.execution.devices)
    with _with_place(places, "execution"):
        mesh = devices.make_mesh(experiment.execution.devices)
    with _with_place(places, "train"):
        for precision in {run.settings.train.precision for group in groups for run in group.runs}:
            devices.check_precision(precision, devices.platform(mesh))
    with _with_place(places, "execution"):
        for group in groups:
            choose_slots(group, experiment.execution, mesh)
    try:
        check_values(groups)
    except SettingError as error:
        raise places.error((error.name,), error.why) from None
    if fault := devices.known_fault(devices.platform(mesh), provenance.versions()["jaxlib"]):
        log.warning(fault)
    return groups, mesh, directory_of(experiment)


def prepare_groups(
    experiment: Experiment, places: Places, memory: Memory | None = None
) -> list[Group]:
    """Check what can be checked without a device. Raises ConfigError."""
    runs = make_runs(experiment, places, memory)
    check_directory(experiment, runs)
    if lacking := without_control(runs):
        log.warning(
            f"{len(lacking)} runs with an intervention have no control arm to compare with; "
            "add false to the values of intervention.armed"
        )
    groups = make_groups(runs)
    check_kinds(experiment, groups, places)
    check_snapshots(experiment, groups, places)
    return groups


def _memory(experiment: Experiment, places: Places) -> Callable[[], int]:
    """A function that gives the memory of the devices in bytes. The first call starts JAX."""

    @functools.cache
    def ask() -> int:
        devices.set_up(experiment.execution.devices)
        with _with_place(places, "execution"):
            mesh = devices.make_mesh(experiment.execution.devices)
        return devices.memory_limit(devices.platform(mesh))

    return ask


@contextlib.contextmanager
def _with_place(places: Places, section: str) -> Iterator[None]:
    """Turn a SettingError of this section into a ConfigError with its place."""
    try:
        yield
    except SettingError as error:
        raise places.error((section, error.name), error.why) from None


def make_directory(path: Path) -> None:
    """Create the results directory. Raises ConfigError and creates nothing if the disk is full or not writable."""
    nearest = next(p for p in (path, *path.absolute().parents) if p.exists())
    if shutil.disk_usage(nearest).free < _SMALLEST:
        raise ConfigError(
            f"{cut_path(path)}: the disk is full; free some space, or use another directory with --out"
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{cut_path(path)}: cannot be created: {error.strerror}; use another directory with --out"
        ) from None
