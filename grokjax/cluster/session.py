"""An experiment on a cluster from start to end, as `python run.py x.yaml --on ...` asks for it."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grokjax import signals
from grokjax.cluster.coordinator import Coordinator
from grokjax.cluster.division import group_plans, kept_shares, new_shares, share_size
from grokjax.cluster.errors import ClusterError
from grokjax.cluster.process import STOP, Task
from grokjax.cluster.schedulers import Scheduler, open_scheduler
from grokjax.cluster.table import ClusterTable
from grokjax.driver.collect import collect
from grokjax.driver.preparation import make_directory, prepare_groups
from grokjax.driver.resume import to_train
from grokjax.driver.trainer import Interrupted
from grokjax.experiment.config import Experiment
from grokjax.experiment.grid import Group, Run
from grokjax.experiment.places import Places
from grokjax.quoting import cut_path
from grokjax.results.collecting import remove_collected
from grokjax.results.directory import directory_of, write_experiment
from grokjax.results.locks import hold
from grokjax.results.provenance import differences
from grokjax.results.shares import Share, folder, read_share
from grokjax.results.store import GroupStore

log = logging.getLogger("grokjax")

_POLL_SECONDS = 0.5
_RUN_PY = Path(__file__).parent.parent.parent / "run.py"


def run_on(
    where: str, experiment: Experiment, places: Places, config: str, overrides: Sequence[str]
) -> Path:
    """Train on the cluster `where`. Returns the results directory.

    Raises ConfigError, Locked, Interrupted, or ClusterError.
    """
    groups, path = prepare_groups(experiment, places), directory_of(experiment)
    with contextlib.closing(open_scheduler(where, experiment.execution, path)) as scheduler:
        make_directory(path)
        with hold(path), signals.saving(lambda: True):
            write_experiment(experiment, path, places.claim)
            scheduler.check_shared(path)
            commands = Commands(path, config, overrides, scheduler.worker.devices)
            _train(experiment, groups, path, scheduler, commands)
    return path


def _train(
    experiment: Experiment,
    groups: list[Group],
    path: Path,
    scheduler: Scheduler,
    commands: Commands,
) -> None:
    collect(groups, path)
    left = _left(groups, path)
    runs = {run.id: run for group in left for run in group.runs}
    if not runs:
        log.info("nothing to train: all runs are done")
    else:
        retries = experiment.execution.cluster.retries
        coordinator = Coordinator(path, scheduler, commands.share, runs, retries)
        shares = _shares(experiment, groups, left, path, scheduler, commands)
        _loop(coordinator, shares, groups, runs)
        collect(groups, path)
        _check_ended(coordinator, groups, path)
    for sentence in differences(path):
        log.warning(sentence)
    remove_collected(path)


def _left(groups: list[Group], path: Path) -> list[Group]:
    """Of each group the runs that have to be trained. Starts no JAX."""
    stores = ((group, GroupStore(path / "groups" / group.hash)) for group in groups)
    left = [Group(group.hash, tuple(to_train(group, store))) for group, store in stores]
    return [group for group in left if group.runs]


# -- what is divided ------------------------------------------------------------------------------------------------


class Commands:
    """The commands that workers run."""

    def __init__(self, path: Path, config: str, overrides: Sequence[str], devices: int):
        self._path = path.absolute()
        self._words = [sys.executable, str(_RUN_PY), str(Path(config).absolute()), *overrides]
        self._words += ["--out", str(self._path), f"execution.devices={devices}"]

    def share(self, name: str) -> Task:
        """Train a share."""
        return self._task(name, "--share", name, "--no-figures")

    def plan(self, file: Path) -> Task:
        """Say which tiles and how much time the groups take on a machine of the cluster."""
        return self._task("plan", "--plan-to", str(file))

    def _task(self, name: str, *words: str) -> Task:
        own = folder(self._path) / name
        return Task(
            name, [*self._words, *words], str(Path.cwd()), str(own / "log"), str(own / STOP)
        )


def _shares(
    experiment: Experiment,
    groups: list[Group],
    left: list[Group],
    path: Path,
    scheduler: Scheduler,
    commands: Commands,
) -> list[Share]:
    """The shares of an earlier start that are not done, and new ones for all other runs."""
    plans = group_plans(_plan(path, scheduler, commands))
    whole = {group.hash: group for group in groups}
    names = [file.parent.name for file in sorted(folder(path).glob("*/share.json"))]
    old = [read_share(path, name) for name in names]
    ids = {group.hash: {run.id for run in group.runs} for group in left}
    shares = kept_shares(old, ids, plans)
    taken = {run for share in shares for run in share.runs}
    asked, workers = experiment.execution.cluster.share, scheduler.most_workers()
    for group in left:
        runs = [run for run in group.runs if run.id not in taken]
        plan = plans[group.hash]
        size = share_size(plan, whole[group.hash], len(runs), workers, asked)
        shares += new_shares(group, runs, size, plan, [*names, *(s.name for s in shares)])
    return shares


def _plan(path: Path, scheduler: Scheduler, commands: Commands) -> dict[str, Any]:
    """Asked of a worker, because this process starts no JAX and may have no accelerator."""
    own = folder(path) / "plan"
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    file = own / "plan.json"
    scheduler.submit([commands.plan(file)])
    while not (ended := scheduler.ended()):
        if signals.received():
            (own / STOP).write_text(STOP)
            raise Interrupted
        time.sleep(_POLL_SECONDS)
    (outcome,) = ended
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        said = (own / "log").read_text(errors="replace").strip() if (own / "log").exists() else ""
        why = said.splitlines()[-1] if said else outcome.told
        raise ClusterError(f"{why} (said by the worker that plans)") from None
    finally:
        shutil.rmtree(own, ignore_errors=True)


# -- what is waited for ---------------------------------------------------------------------------------------------


def _loop(
    coordinator: Coordinator, shares: list[Share], groups: list[Group], runs: dict[str, Run]
) -> None:
    """Until all shares are done, failed, or saved after a signal."""
    table = ClusterTable(coordinator.path, sum(len(group.runs) for group in groups))
    done_before = sum(len(group.runs) for group in groups) - len(runs)
    coordinator.place(shares)
    try:
        while coordinator.placed:
            coordinator.step()
            if (signals.received() or coordinator.failed) and coordinator.stopping is None:
                coordinator.stop()
            open_ = {r for p in coordinator.placed.values() for r in p.share.runs}
            said = [p for p in coordinator.placed.values() if p.tally]
            silent = {r for p in coordinator.placed.values() if not p.tally for r in p.share.runs}
            ended = done_before + len(runs) - len(open_)
            ended += sum(sum(p.tally["done"].values()) for p in said)
            steps = sum(p.tally["steps_left"] for p in said) + sum(runs[r].steps for r in silent)
            table.show(coordinator.placed, ended, steps)
            time.sleep(_POLL_SECONDS)
    finally:
        table.close()


def _check_ended(coordinator: Coordinator, groups: list[Group], path: Path) -> None:
    """Raises ClusterError or Interrupted if runs are left."""
    if coordinator.failed:
        more = len(coordinator.failed) - 1
        others = f" ({more} more share{'s' * (more > 1)} failed)" if more else ""
        raise ClusterError(
            f"{coordinator.failed[0]}{others}; what was saved is kept; solve this and run the same command again"
        )
    if signals.received():
        raise Interrupted
    if left := sum(len(group.runs) for group in _left(groups, path)):
        raise ClusterError(
            f"{cut_path(path)}: {left} runs have no results although their shares ended; run the same command again"
        )
