"""A worker: one share of an experiment, trained by one process in a directory of its own."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

from grokjax.driver.beat import Beat
from grokjax.driver.resume import to_train
from grokjax.driver.session import prepare, report, shown, train_group
from grokjax.driver.stop_signal import StopSignal
from grokjax.engine.compile_ahead import compiling_ahead
from grokjax.experiment.config import Execution, Experiment
from grokjax.experiment.grid import Group
from grokjax.experiment.places import ConfigError, Places
from grokjax.quoting import cut, cut_path
from grokjax.results.collecting import copy_runs
from grokjax.results.directory import directory_of
from grokjax.results.shares import Share, claimed, read_share, worker_directories, worker_stores
from grokjax.results.store import GroupStore
from grokjax.results.writer import StoreWriter

log = logging.getLogger("grokjax")


def train_share(experiment: Experiment, name: str, places: Places | None = None) -> Path:
    """Train the runs of a share that have not ended anywhere. Returns the results directory of the experiment."""
    path = directory_of(experiment)
    share = read_share(path, name)
    groups, mesh, _ = prepare(_as_divided(experiment, share), places)
    group = _part(groups, share, path)
    with claimed(path, name) as directory, StopSignal().listening() as stop:
        left = _not_ended(group, path, directory)
        if not left.runs:
            log.info(f"share {name}: nothing to train: all its runs have ended")
            return path
        others = [path, *(d for d in worker_directories(path) if d != directory)]
        execution = _as_divided(experiment, share).execution
        with (
            shown(None, [left]) as show,
            Beat(directory, show) as beat,
            compiling_ahead(execution, mesh) as ahead,
        ):
            report([train_group(left, directory, ahead, beat.tell, stop, None, others)])
    return path


def _as_divided(experiment: Experiment, share: Share) -> Experiment:
    """With the tile and the number of devices of the share: bits depend on them."""
    update: dict[str, Any] = {"tile": share.tile, "devices": share.devices}
    execution: Execution = experiment.execution.model_copy(update=update)
    return experiment.model_copy(update={"execution": execution})


def _part(groups: list[Group], share: Share, path: Path) -> Group:
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
