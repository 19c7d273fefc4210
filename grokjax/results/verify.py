"""Check everything in a results directory that has a checksum: `python run.py --verify results/x`. Trains nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from grokjax.quoting import cut_path
from grokjax.results import checkpoint, experiment_file
from grokjax.results.locks import Locked, hold
from grokjax.results.measured_store import read_measured
from grokjax.results.pack_writing import mark_lost
from grokjax.results.sealed import Damaged
from grokjax.results.shares import worker_directories
from grokjax.results.store import GroupStore, group_stores, missing_groups

_GROUP_AGAIN = "start the experiment again to train it again"
_AGAIN = "start the experiment again to train them again"


@dataclass
class Report:
    """What was found in a directory."""

    problems: list[str] = field(default_factory=list)
    """A sentence for each file that is damaged, lost or in the way."""
    admitted: set[str] = field(default_factory=set)
    """Runs that there are; those that workers train too."""
    have_ended: set[str] = field(default_factory=set)
    unverified: int = 0
    """Runs with results that an older version wrote without checksums."""

    @property
    def runs(self) -> int:
        return len(self.admitted)

    @property
    def ended(self) -> int:
        return len(self.have_ended)


def verify(path: Path) -> Report:
    """Compare everything with its checksum. Writes only into the logs which results the next start must not use.

    Nothing is written where another process holds the lock, or where the directory is not writable.
    """
    report = Report(experiment_file.check(path))
    report.problems += [loss.told("") for loss in missing_groups(path, _GROUP_AGAIN)]
    lost = [store for _, store in group_stores(path) if _verify_group(store, report)]
    for directory in worker_directories(path):
        for _, store in group_stores(directory):
            _verify_group(
                store, report
            )  # what is damaged there is left behind when it is collected
    if lost:
        try:
            with hold(path):
                for store in lost:
                    mark_lost(store)
        except (Locked, OSError) as error:
            report.problems.append(
                f"{cut_path(path)}: what is lost could not be noted for the next start ({error}); verify it again "
                "when no other process works in it and it is writable"
            )
    return report


def _verify_group(store: GroupStore, report: Report) -> bool:
    """Whether results of runs are lost."""
    store.check_all()
    report.problems += [loss.told(_AGAIN) for loss in store.losses]
    for packs in (store.ended, store.snapshots):
        if packs.not_listed and not packs.log.losses:
            name = packs.path(packs.not_listed[0]).name
            told = (
                f"does not name {name}, after a kill or because it was cut; the next start adds it"
            )
            report.problems.append(f"{cut_path(packs.log.path)}: {told}")
    report.admitted.update(store.runs)
    report.have_ended.update(run for run in store.runs if store.ended.find(run))
    report.unverified += len(store.unverified)
    for file in sorted((store.directory / "measured").glob("*.safetensors")):
        try:
            read_measured(file)
        except Damaged as error:
            report.problems.append(f"{cut_path(file)}: {error}; measure again with --measure")
    report.problems += checkpoint.damaged(store.directory / "checkpoints")
    return any(loss.runs for loss in (*store.ended.losses, *store.snapshots.losses))
