"""Writes the results of one group. What belongs together is one file, so that no kill can come between. No JAX."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grokjax.results.admission import write_admission
from grokjax.results.merging import merge, padded
from grokjax.results.pack_writing import add, prepare, reject_for_snapshots
from grokjax.results.running import write_running
from grokjax.results.status import Progress
from grokjax.results.store import GroupStore

Tensors = Mapping[str, np.ndarray]
"""Weights of one run by name."""


@dataclasses.dataclass(frozen=True)
class Ended:
    """Everything that is kept of a run that has ended."""

    run: str
    progress: Progress
    step: int
    """Last step."""
    values: np.ndarray
    """Measurements (eval, probe), up to the last one made."""
    weights: Tensors
    state: list[np.ndarray] | None = None
    """Leaves of the whole state, so that a larger budget can continue it; None: not kept."""
    intervened_at: int | None = None
    """Evaluation at which the intervention was made, -1: never; None: the run has none."""


class StoreWriter:
    """Writes into the directory of a store, for the process that holds its lock.

    Begins with what a killed process left: incomplete files are removed, damaged ones moved out of the way.
    """

    def __init__(self, store: GroupStore):
        self.store, self._admitted = store, store.admitted
        self._prepare()

    def _prepare(self) -> None:
        self._admitted.mkdir(parents=True, exist_ok=True)
        for left in (
            *self._admitted.glob("*.new"),
            *self.store.directory.glob("*.safetensors.new"),
        ):
            left.unlink()
        for path in self.store.damaged_admissions:
            path.rename(path.with_suffix(".damaged"))
        prepare(self.store.ended)
        prepare(self.store.snapshots)
        reject_for_snapshots(self.store)

    def admit(
        self,
        ids: list[str],
        names: Sequence[str],
        step: np.ndarray,
        columns: dict[str, list[Any]],
        attributes: dict[str, Any],
    ) -> None:
        """Add runs, or a larger budget of runs that are there. Raises OSError."""
        path = self._admitted / f"{self.store.next_admission}.safetensors"
        write_admission(path, ids, names, step, columns, attributes)
        self.store.read_admissions()

    def add_ended(self, ended: Sequence[Ended], names: Sequence[str]) -> None:
        """Write runs that have ended; from then on they are done. Raises OSError."""
        if not ended:
            return
        longest = max(len(e.values) for e in ended)
        columns: dict[str, list[Any]] = {
            "run": [e.run for e in ended],
            **{n: [getattr(e.progress, n) for e in ended] for n in Progress._fields},
            "step": [e.step for e in ended],
            "intervened_at": [e.intervened_at for e in ended],
        }
        kept = [i for i, e in enumerate(ended) if e.state is not None]
        parts = {
            "history": {"value": np.stack([padded(e.values[None], longest)[0] for e in ended])}
        }
        if ended[0].weights:
            parts["weights"] = _stacked([e.weights for e in ended])
        if kept:
            leaves = [ended[i].state or [] for i in kept]
            parts["state"] = {
                f"{i:04d}": np.stack(leaf) for i, leaf in enumerate(zip(*leaves, strict=True))
            }
        add(
            self.store.ended,
            columns,
            {"probe": list(names)},
            parts,
            {"state": kept} if kept else {},
        )
        merge(self.store.ended)

    def add_snapshots(self, taken: Sequence[tuple[str, int, Tensors]]) -> None:
        """Write weights of runs at steps. Raises OSError."""
        if not taken:
            return
        columns: dict[str, list[Any]] = {
            "run": [t[0] for t in taken],
            "step": [t[1] for t in taken],
        }
        add(self.store.snapshots, columns, {}, {"weights": _stacked([t[2] for t in taken])})
        merge(self.store.snapshots)

    def write_running(
        self, running: Sequence[tuple[str, int, np.ndarray]], names: Sequence[str]
    ) -> None:
        """Write the measurements of all runs in training: (run, evaluations done, values). Raises OSError."""
        write_running(self.store.running.path, running, names)

    def finish(self) -> None:
        """When all runs have ended: write small packs together, and remove what belonged to runs in training."""
        merge(self.store.ended, 2)
        merge(self.store.snapshots, 2)
        self.store.running.path.unlink(missing_ok=True)


def _stacked(tensors: Sequence[Tensors]) -> dict[str, np.ndarray]:
    return {name: np.stack([t[name] for t in tensors]) for name in tensors[0]}
