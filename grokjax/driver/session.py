"""An experiment from start to end: check it, lock its directory, train one group after another, report."""

from __future__ import annotations

import contextlib
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
from grokjax.driver.page import page_writer
from grokjax.driver.preparation import make_directory, prepare
from grokjax.driver.progress import Display
from grokjax.driver.resume import describe_stores, is_admitted, to_train
from grokjax.driver.stop_signal import StopSignal
from grokjax.driver.tally import Tally, begin_tally
from grokjax.driver.trainer import GroupTrainer, Interrupted, checkpoints_of
from grokjax.engine import devices
from grokjax.engine.compile_ahead import Ahead, compiling_ahead, make_program
from grokjax.engine.executables import executable_hash
from grokjax.experiment.config import Execution, Experiment
from grokjax.experiment.grid import Group, Run
from grokjax.experiment.loading import validate
from grokjax.experiment.places import Places
from grokjax.quoting import counted
from grokjax.results import provenance
from grokjax.results.collecting import remove_collected
from grokjax.results.directory import write_experiment
from grokjax.results.locks import hold
from grokjax.results.shares import worker_directories
from grokjax.results.store import GroupStore, missing_groups
from grokjax.results.writer import StoreWriter

log = logging.getLogger("grokjax")


def run_experiment(
    experiment: Experiment,
    execution: dict[str, Any] | None = None,
    places: Places | None = None,
    display: Callable[[Tally], None] | None = None,
    page: bool = False,
) -> Path:
    """Train all runs that are not trained yet. Returns the results directory.

    `page`: write report.html while training; the caller writes the last one.
    """
    if execution:
        merged = {**experiment.execution.model_dump(), **execution}
        given = {name: _text(value) for name, value in merged.items()}
        experiment = experiment.model_copy(
            update={"execution": validate(given, Places("execution"), Execution)}
        )
    groups, mesh, path = prepare(experiment, places)
    make_directory(path)
    with (
        hold(path),
        StopSignal().listening() as stop,
        shown(display, groups) as told,
        page_writer(path, groups) if page else contextlib.nullcontext(_nothing) as paged,
    ):
        for loss in missing_groups(path, "it is trained again"):
            log.warning(loss.told(""))
        write_experiment(experiment, path, places.claim if places is not None else "")
        collect(groups, path)

        def show(tally: Tally) -> None:
            told(tally)
            paged(tally)

        with compiling_ahead(experiment.execution, mesh) as ahead:
            tallies = [
                train_group(group, path, ahead, show, stop, following, worker_directories(path))
                for group, following in itertools.zip_longest(groups, groups[1:])
            ]
        remove_collected(path)
    report(tallies)
    return path


def _nothing(tally: Tally) -> None:
    pass


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
        f"{counted(n_runs, 'run')} in {counted(len(tallies), 'group')}: {steps:.3g} run-steps in {seconds:.0f} s "
        f"({steps / max(seconds, 1e-9):.0f} a second; {100 * idle:.0f} % of slot-steps idle, "
        f"{100 * host:.1f} % of the time spent by the host), compilation {compiling:.0f} s"
    )
