"""A worker: one share of an experiment, trained by one process in a directory of its own."""

from __future__ import annotations

import dataclasses
import logging
import time
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from grokjax.driver.beat import Beat
from grokjax.driver.preparation import make_directory, prepare
from grokjax.driver.resume import to_train
from grokjax.driver.session import report, shown, train_group
from grokjax.driver.stop_signal import StopSignal
from grokjax.engine.capacity import choose_slots
from grokjax.engine.compile_ahead import compiling_ahead
from grokjax.experiment.config import Execution, Experiment
from grokjax.experiment.grid import Group
from grokjax.experiment.places import ConfigError, Places
from grokjax.quoting import cut, cut_path
from grokjax.results.collecting import copy_runs
from grokjax.results.directory import as_data, directory_of, read_experiment, write_experiment
from grokjax.results.experiment_file import NAME
from grokjax.results.locks import Locked, hold
from grokjax.results.shares import Share, claimed, read_share, worker_directories, worker_stores
from grokjax.results.store import GroupStore
from grokjax.results.writer import StoreWriter

log = logging.getLogger("grokjax")

_WRITING_SECONDS = 30.0
"""Time that another worker may take to write experiment.yaml."""


def train_share(experiment: Experiment, word: str, places: Places | None = None) -> Path:
    """Train the runs of a share that have not ended anywhere. Returns the results directory of the experiment.

    `word`: the name of a share that a coordinator made, or I/N, the I-th (from 0) of N equal parts of every group.
    """
    path, part = directory_of(experiment), part_of(word)
    name = f"part-{part[0]}-of-{part[1]}" if part else word
    share = None if part else read_share(path, name)
    groups, mesh, _ = prepare(
        experiment if share is None else _as_divided(experiment, share), places
    )
    if share is not None:
        works = [(_of_share(groups, share, path), _as_divided(experiment, share).execution)]
    else:
        assert part is not None, "a word is a name or a part"
        works = [_of_part(group, part, experiment.execution, mesh) for group in groups]
        _note_experiment(experiment, path)
    with claimed(path, name) as directory, StopSignal().listening() as stop:
        _train(path, directory, works, mesh, stop)
    return path


Work = tuple[Group, Execution]
"""Runs of a group, and the settings with which they are trained."""


def _train(path: Path, directory: Path, works: list[Work], mesh: Mesh, stop: StopSignal) -> None:
    works = [(_not_ended(group, path, directory), execution) for group, execution in works]
    works = [(group, execution) for group, execution in works if group.runs]
    if not works:
        log.info(f"{cut_path(directory)}: nothing to train: all runs of this share have ended")
        return
    others = [path, *(d for d in worker_directories(path) if d != directory)]
    with shown(None, [group for group, _ in works]) as show, Beat(directory, show) as beat:
        tallies = []
        for group, execution in works:
            with compiling_ahead(execution, mesh) as ahead:
                tallies.append(train_group(group, directory, ahead, beat.tell, stop, None, others))
        report(tallies)


def part_of(word: str) -> tuple[int, int] | None:
    """The two numbers of I/N; None for the name of a share. Raises ConfigError."""
    first, slash, last = word.partition("/")
    if not slash:
        return None
    numbers = [int(x) if x.isascii() and x.isdigit() and len(x) < 7 else -1 for x in (first, last)]
    if not 0 <= numbers[0] < numbers[1]:
        raise ConfigError(
            f"--share {cut(word)}: must be I/N with whole numbers 0 <= I < N, such as 0/8, or the name of a share"
        )
    return numbers[0], numbers[1]


def _of_part(group: Group, part: tuple[int, int], execution: Execution, mesh: Mesh) -> Work:
    """Tile by tile in turn, so that the parts have equally much to do; with the tile of the whole group."""
    tile, _ = choose_slots(group, execution, mesh)
    step = tile * mesh.devices.size
    index, n = part
    runs = [run for i, run in enumerate(group.runs) if i // step % n == index]
    return Group(group.hash, tuple(runs)), execution.model_copy(update={"tile": tile})


def _note_experiment(experiment: Experiment, path: Path) -> None:
    """Write experiment.yaml where no coordinator does. Several workers may come at the same time."""
    make_directory(path)
    deadline = time.monotonic() + _WRITING_SECONDS
    while not (path / NAME).exists() or as_data(read_experiment(path)) != as_data(experiment):
        try:
            with hold(path):
                write_experiment(experiment, path)
        except Locked:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _as_divided(experiment: Experiment, share: Share) -> Experiment:
    """With the tile and the number of devices of the share: bits depend on them."""
    update: dict[str, Any] = {"tile": share.tile, "devices": share.devices}
    execution: Execution = experiment.execution.model_copy(update=update)
    return experiment.model_copy(update={"execution": execution})


def _of_share(groups: list[Group], share: Share, path: Path) -> Group:
    """The runs of the share, in the order of the grid. Raises ConfigError if the experiment has other ones."""
    wanted = set(share.runs)
    runs = [run for g in groups if g.hash == share.group for run in g.runs if run.id in wanted]
    if len(runs) < len(wanted):
        raise ConfigError(
            f"--share {cut(share.name)}: {len(wanted) - len(runs)} of its runs are not in this experiment; give the "
            f"configuration and the overrides with which {cut_path(path)} was divided"
        )
    return Group(share.group, tuple(runs))


def _not_ended(group: Group, path: Path, directory: Path) -> Group:
    """The runs that this worker has to train. Those that a larger budget continues are copied to its directory."""
    main = GroupStore(path / "groups" / group.hash)
    left = Group(group.hash, tuple(to_train(group, main)))
    own = directory / "groups" / group.hash
    for store in worker_stores(path, group.hash):
        if store.directory != own and left.runs:
            store.check_histories()
            left = dataclasses.replace(left, runs=tuple(to_train(left, store)))
    continued = [run.id for run in left.runs if main.ended.find(run.id)]
    if continued:
        own.mkdir(parents=True, exist_ok=True)
        copy_runs(main, StoreWriter(GroupStore(own)), continued)
    return left
