"""An experiment from start to end: check it, lock its directory, train one group after another, report."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from grokjax import signals
from grokjax.driver.collect import collect
from grokjax.driver.progress import Display
from grokjax.driver.resume import describe_stores, is_admitted, to_train
from grokjax.driver.stop_signal import StopSignal
from grokjax.driver.tally import Tally, begin_tally
from grokjax.driver.trainer import GroupTrainer, Interrupted, checkpoints_of
from grokjax.engine import devices
from grokjax.engine.capacity import choose_slots
from grokjax.engine.compile_ahead import Ahead, compiling_ahead, make_program
from grokjax.engine.executables import executable_hash
from grokjax.experiment.config import Execution, Experiment
from grokjax.experiment.grid import Group, Run, make_groups, make_runs, without_control
from grokjax.experiment.loading import validate
from grokjax.experiment.measurement_checks import check_kinds, check_snapshots
from grokjax.experiment.places import ConfigError, Places
from grokjax.experiment.run_checks import Memory
from grokjax.quoting import cut_path
from grokjax.results import provenance
from grokjax.results.collecting import remove_collected
from grokjax.results.directory import check_directory, directory_of, write_experiment
from grokjax.results.locks import hold
from grokjax.results.shares import worker_directories
from grokjax.results.store import GroupStore, missing_groups
from grokjax.results.writer import StoreWriter
from grokjax.settings import SettingError

log = logging.getLogger("grokjax")


_SMALLEST = 2**20
"""Bytes of free disk space that are needed to begin."""


def run_experiment(
    experiment: Experiment,
    execution: dict[str, Any] | None = None,
    places: Places | None = None,
    display: Callable[[Tally], None] | None = None,
) -> Path:
    """Train all runs that are not trained yet. Returns the results directory."""
    if execution:
        merged = {**experiment.execution.model_dump(), **execution}
        given = {name: _text(value) for name, value in merged.items()}
        experiment = experiment.model_copy(
            update={"execution": validate(given, Places("execution"), Execution)}
        )
    groups, mesh, path = prepare(experiment, places)
    make_directory(path)
    with hold(path), StopSignal().listening() as stop, shown(display, groups) as show:
        for loss in missing_groups(path, "it is trained again"):
            log.warning(loss.told(""))
        write_experiment(experiment, path)
        collect(groups, path)
        with compiling_ahead(experiment.execution, mesh) as ahead:
            tallies = [
                train_group(group, path, ahead, show, stop, following, worker_directories(path))
                for group, following in itertools.zip_longest(groups, groups[1:])
            ]
        remove_collected(path)
    report(tallies)
    return path


@contextlib.contextmanager
def shown(
    display: Callable[[Tally], None] | None, groups: list[Group]
) -> Iterator[Callable[[Tally], None]]:
    """The given display, or the default one, which always restores the terminal."""
    if display is not None:
        yield display
        return
    own = Display(groups)
    try:
        yield own
    finally:
        own.close()


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


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


def train_group(
    group: Group,
    path: Path,
    ahead: Ahead,
    display: Callable[[Tally], None],
    stop: StopSignal,
    following: Group | None,
    elsewhere: Sequence[Path] = (),
) -> Tally:
    """Train the runs of a group in the results directory `path`. `elsewhere`: results directories in which other
    processes began some of them."""
    directory, execution = path / "groups" / group.hash, ahead.execution
    directory.mkdir(parents=True, exist_ok=True)
    with hold(directory):
        store = _open(directory)
        describe_stores(group, store)
        for loss in store.losses:
            log.warning(loss.told("they are trained again"))
        if (
            not to_train(group, store)
            and not store.damaged_admissions
            and is_admitted(group, store)
        ):
            if _untidy(store) or checkpoints_of(store).exists():
                # A kill came after the last run, or a log was lost.
                StoreWriter(store).finish()
                shutil.rmtree(checkpoints_of(store), ignore_errors=True)
            tally = begin_tally(group, store, [])
            display(tally)
            return tally
        began = time.monotonic()
        program = ahead.program(group)
        if following is not None and _left(following, path):
            ahead.begin(following)
        while True:
            others = [other / "groups" / group.hash for other in elsewhere]
            trainer = GroupTrainer(group, store, execution, program, display, others)
            _note_start(path, group, trainer, ahead.mesh)
            # On an accelerator the program is compiled by now: ahead, or for the hash that the note has.
            trainer.tally.compile_seconds += time.monotonic() - began
            try:
                return _train(trainer, stop)
            except jax.errors.JaxRuntimeError as error:
                slots = _fewer_slots(trainer, ahead.mesh, error)
                store = _open(directory)
                began = time.monotonic()
                program = make_program(group, execution, ahead.mesh, slots)


def _untidy(store: GroupStore) -> bool:
    """Whether a writer has something to mend although no run has to be trained."""
    return bool(store.losses or store.ended.not_listed or store.snapshots.not_listed)


def _open(directory: Path) -> GroupStore:
    """A group's results, histories checked: a run whose history is damaged has not ended."""
    store = GroupStore(directory)
    store.check_histories()
    return store


def _train(trainer: GroupTrainer, stop: StopSignal) -> Tally:
    """Raises Interrupted after a signal, even if the group was finished before it came."""
    with signals.saving(lambda: trainer.unsaved):
        tally = trainer.train(stop)
    if stop():
        raise Interrupted
    return tally


def _left(group: Group, path: Path) -> list[Run]:
    """The runs of a group that comes later that have to be trained, also those that a larger budget continues."""
    return to_train(group, GroupStore(path / "groups" / group.hash))


def _fewer_slots(trainer: GroupTrainer, mesh: Mesh, error: Exception) -> int:
    """Half the slots, after the device ran out of memory. Raises any other error again."""
    program = trainer.batch.program
    step = program.tile * mesh.devices.size
    if "RESOURCE_EXHAUSTED" not in str(error) or program.slots <= step:
        raise error
    fewer = max(step, program.slots // 2 // step * step)
    log.warning(
        f"group {trainer.tally.group}: out of memory with {program.slots} slots; "
        f"continuing from the last checkpoint with {fewer}"
    )
    trainer.checkpoints.close()
    return fewer


def _note_start(path: Path, group: Group, trainer: GroupTrainer, mesh: Mesh) -> None:
    provenance.record(
        path / "provenance.jsonl",
        group=group.hash,
        runs=len(group.runs),
        platform=devices.platform(mesh),
        devices=devices.describe(mesh),
        slots=trainer.batch.program.slots,
        tile=trainer.batch.program.tile,
        precision=group.first.settings.train.precision,
        executable=_executable(trainer, mesh),
        at=time.time(),
    )


def _executable(trainer: GroupTrainer, mesh: Mesh) -> str | None:
    """Hash of the compiled program. On CPU, where equal programs give equal bits, the time for it is saved."""
    on_cpu = devices.platform(mesh) == "cpu"
    return None if on_cpu else executable_hash(trainer.batch.program)


def report(tallies: list[Tally]) -> None:
    """Log what was trained, and how fast."""
    steps, seconds = sum(t.run_steps for t in tallies), sum(t.train_seconds for t in tallies)
    if not steps:
        log.info("nothing to train: all runs are done")
        return
    n_runs, executed = sum(t.n_runs for t in tallies), sum(t.executed_steps for t in tallies)
    idle = 1 - steps / executed
    host = 1 - sum(t.device_seconds for t in tallies) / seconds
    compiling = sum(t.compile_seconds for t in tallies)
    log.info(
        f"{n_runs} runs in {len(tallies)} groups: {steps:.3g} run-steps in {seconds:.0f} s "
        f"({steps / max(seconds, 1e-9):.0f} a second; {100 * idle:.0f} % of slot-steps idle, "
        f"{100 * host:.1f} % of the time spent by the host), compilation {compiling:.0f} s"
    )
