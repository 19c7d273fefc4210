"""Results of workers become those of the experiment, as one machine would have written them. Starts no JAX."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from grokjax.driver.resume import admit, is_admitted, to_train
from grokjax.experiment.grid import Group
from grokjax.results.collecting import copy_provenance, copy_runs, ended_further
from grokjax.results.locks import Locked, hold
from grokjax.results.pack_writing import mark_lost
from grokjax.results.shares import worker_directories, worker_stores
from grokjax.results.store import GroupStore
from grokjax.results.writer import StoreWriter

log = logging.getLogger("grokjax")


def collect(groups: Sequence[Group], path: Path) -> None:
    """Copy all runs that have ended in the directories of workers. For the process that holds the lock of `path`."""
    if not worker_directories(path):
        return
    copy_provenance(path)
    for group in groups:
        _collect_group(group, path)


def _collect_group(group: Group, path: Path) -> None:
    """Admits the whole group first, in the order of the grid."""
    directory = path / "groups" / group.hash
    workers = [store for store in worker_stores(path, group.hash) if store.runs]
    here = GroupStore(directory)
    runs = [run.id for run in group.runs]
    new = [w for w in workers if _has_news(w, here, runs)]
    if not new and (not workers or is_admitted(group, here)):
        return
    directory.mkdir(parents=True, exist_ok=True)
    with hold(directory):
        writer = StoreWriter(here)
        admit(group, writer, workers[0].admissions[-1][1].names)
        for store in new:
            copy_runs(store, writer, runs)
            _leave_behind(store)
        if not to_train(group, writer.store):
            writer.finish()
            shutil.rmtree(directory / "checkpoints", ignore_errors=True)


def _has_news(worker: GroupStore, here: GroupStore, runs: Sequence[str]) -> bool:
    """Whether runs have ended there, or snapshots were taken: a run that goes on elsewhere takes only later ones."""
    taken = here.snapshots.newest
    return any(ended_further(run, here, worker) for run in runs) or any(
        entry not in taken for entry in worker.snapshots.newest
    )


def _leave_behind(store: GroupStore) -> None:
    """What was found to be damaged is trained again by the next worker of the share."""
    losses = [loss for loss in (*store.ended.losses, *store.snapshots.losses) if loss.runs]
    if not losses:
        return
    for loss in losses:
        log.warning(loss.told("they are trained again"))
    with contextlib.suppress(Locked), hold(store.directory.parent.parent):
        mark_lost(store)
