"""The results of one group on disk. No JAX.

    admitted/<k>.safetensors    which runs there are, and what describes each
    ended/<k>.safetensors       packs: histories, weights and kept states of runs that ended
    snapshots/<k>.safetensors   packs: weights at steps before the end
    running.safetensors         histories of the runs in training, written before the checkpoint with their states

A run has ended when a pack with its row is there. Of several rows the newest counts. Everything is compared with a
checksum before it is used; what does not agree is a Loss, and its runs are trained again. Directories of older versions
are read as they are (module older).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from grokjax.quoting import cut_path
from grokjax.results.admission import Admission, read_admission
from grokjax.results.loss import Loss
from grokjax.results.older import OlderHistory, OlderWeights, read_older
from grokjax.results.packs import Packs, Place
from grokjax.results.running import Running
from grokjax.results.sealed import Damaged
from grokjax.results.status import DONE, WAITING, Progress
from grokjax.results.weights import Weights


class Block(NamedTuple):
    """Measurements that are read together: of a pack (by number), an older store (by number), or the running runs."""

    kind: str
    number: int = 0


class Source(NamedTuple):
    """Where the measurements of a run are."""

    block: Block
    row: int


_RUNNING = Block("running")


class GroupStore:
    """The directory of one group. Opening it changes nothing; a StoreWriter changes it."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.older, self._older_losses = read_older(directory / "history")
        self.read_admissions()
        self.ended = Packs(directory / "ended", "results")
        self.snapshots = Packs(directory / "snapshots", "snapshots", at_steps=True)
        self.running = Running(directory / "running.safetensors")
        self.weights = Weights(self.ended, self.snapshots, OlderWeights(directory / "weights"))

    # -- opening -----------------------------------------------------------------------------------------------------

    def read_admissions(self) -> None:
        """Read which runs were admitted."""
        self.admissions = [(history.number, history.admission) for history in self.older]
        """By number, the newest last."""
        self.damaged_admissions: dict[Path, str] = {}
        """What is wrong with each admission that cannot be read."""
        for path in self.admitted.glob("*.safetensors"):
            if path.stem.isdigit():
                try:
                    self.admissions.append((int(path.stem), read_admission(path)))
                except Damaged as error:
                    self.damaged_admissions[path] = str(error)
        self.admissions.sort(key=lambda pair: pair[0])
        self._admission = {run: a for _, a in self.admissions for run in a.ids}

    @property
    def admitted(self) -> Path:
        """Directory of the admissions."""
        return self.directory / "admitted"

    @property
    def next_admission(self) -> int:
        """Number of the next admission."""
        return 1 + max([n for n, _ in self.admissions], default=-1)

    # -- what there is -----------------------------------------------------------------------------------------------

    @property
    def runs(self) -> list[str]:
        """All runs that were admitted, in this order."""
        return list(dict.fromkeys(run for _, a in self.admissions for run in a.ids))

    def admission(self, run: str) -> Admission | None:
        """The newest admission of a run."""
        return self._admission.get(run)

    @property
    def losses(self) -> list[Loss]:
        """Everything that was found to be lost so far."""
        packs = [*self.ended.losses, *self.snapshots.losses]
        return [*self._older_losses, *_undescribed(self), *packs, *self.running.losses]

    @property
    def unverified(self) -> list[str]:
        """Runs whose results carry no checksum."""
        ids = dict.fromkeys(run for history in self.older for run in history.admission.ids)
        return [run for run in ids if self.ended.find(run) is None]

    def check_histories(self) -> None:
        """Compare all histories of ended runs with their checksums. A run whose history is damaged has not ended."""
        self.ended.check("history")

    def check_all(self) -> None:
        """Compare everything with its checksum."""
        self.ended.check("history", "weights", "state")
        self.snapshots.check("weights")

    def progress(self, run: str) -> Progress:
        """How far a run is. One that ended within a smaller budget than it has now waits, or is in training."""
        return self.progress_and_source(run)[0]

    def source(self, run: str) -> Source | None:
        """Where the longest history of a run is; all of them begin with the same measurements."""
        return self.progress_and_source(run)[1]

    def progress_and_source(self, run: str) -> tuple[Progress, Source | None]:
        """Both at once, for those who ask for many runs."""
        known, source = self._last_known(run)
        if known.status in DONE and not self._continues(run, known):
            return known, source
        if (done := self.running.evaluations(run)) > known.evaluations_done:
            return Progress("running", done, -1), Source(_RUNNING, self.running.row[run])
        status = "running" if known.status == "running" else "waiting"
        return Progress(status, known.evaluations_done, -1), source

    def _continues(self, run: str, known: Progress) -> bool:
        """Whether a run that has used its budget has a larger one now."""
        admission = self._admission.get(run)
        return (
            admission is not None
            and known.status == "finished"
            and known.evaluations_done < admission.budget(run)
        )

    def _last_known(self, run: str) -> tuple[Progress, Source | None]:
        if place := self.ended.find(run):
            c, row = self.ended.packs[place.pack].facts["columns"], place.row
            progress = Progress(c["status"][row], c["evaluations_done"][row], c["diverged_at"][row])
            return progress, Source(Block("ended", place.pack), place.row)
        if history := self._older(run):
            row = history.admission.row[run]
            return history.progress[row], Source(Block("older", history.number), row)
        return WAITING, None

    def _older(self, run: str) -> OlderHistory | None:
        """The newest older store that has the run."""
        return next((h for h in reversed(self.older) if run in h.admission.row), None)

    # -- measurements ------------------------------------------------------------------------------------------------

    def read_block(self, block: Block) -> tuple[list[str], np.ndarray]:
        """Names of the columns, and values (run, eval, probe), which `check_histories` compares. Raises Damaged."""
        if block.kind == "running":
            return self.running.names, self.running.values
        if block.kind == "older":
            (history,) = (h for h in self.older if h.number == block.number)
            return history.admission.names, history.whole()
        pack = self.ended.packs[block.number]
        try:
            return pack.facts["shared"]["probe"], pack.unchecked("history")["value"]
        except Damaged as error:
            raise Damaged(f"{cut_path(pack.path)}: {error}") from None

    def read(self, run: str, names: Sequence[str], evaluations: int) -> np.ndarray:
        """Measurements (evaluations, names) of a run; NaN where there are none. Raises Damaged."""
        values = np.full((evaluations, len(names)), np.nan, np.float32)
        progress, source = self.progress_and_source(run)
        if source is None:
            return values
        own, there = self._read_row(source)
        done = min(evaluations, len(there), progress.evaluations_done)
        for column, name in enumerate(names):
            if name in own:
                values[:done, column] = there[:done, own.index(name)]
        return values

    def _read_row(self, source: Source) -> tuple[list[str], np.ndarray]:
        kind, number = source.block
        if kind == "ended":
            place = Place(number, source.row)
            own = self.ended.packs[number].facts["shared"]["probe"]
            return own, self.ended.read(place, "history")["value"]
        if kind == "older":
            (history,) = (h for h in self.older if h.number == number)
            return history.admission.names, history.read(source.row)
        return self.running.names, self.running.values[source.row]


def _undescribed(store: GroupStore) -> list[Loss]:
    """Admissions that cannot be read, or are missing."""
    again = "what describes its runs is written again at the next start"
    damaged = [Loss(path, f"{why}; {again}") for path, why in store.damaged_admissions.items()]
    runs = dict.fromkeys(e.run for e in store.ended.newest if store.admission(e.run) is None)
    if not runs or damaged:
        return damaged
    return [Loss(store.admitted, f"lacks a file; {again}", tuple(runs))]


def missing_groups(path: Path, advice: str) -> list[Loss]:
    """Directories of groups that were trained and are not there. `advice`: what becomes of them."""
    try:
        lines = (path / "provenance.jsonl").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    trained = []
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            trained.append(path / "groups" / str(json.loads(line)["group"]))
    why = f"is missing, with all results of its group; {advice}"
    return [Loss(d, why) for d in dict.fromkeys(trained) if not d.is_dir()]


def group_stores(path: Path) -> Iterator[tuple[str, GroupStore]]:
    """The stores of a results directory by the hashes of their groups, in this order."""
    for directory in sorted(path.glob("groups/*")):
        if directory.is_dir():
            yield directory.name, GroupStore(directory)
