"""Results on disk: histories in zarr, weights in safetensors. No JAX.

A history store is preallocated for the runs admitted together and never resized; a larger grid or a larger budget adds
a store, and of the stores that have a run the newest is used. A run's status is written last: it commits the run.
"""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from grokjax.atomic import replacing
from grokjax.version import SCHEMA

DONE = ("finished", "stopped", "diverged")


@dataclasses.dataclass
class Progress:
    """The progress of one run on disk."""

    status: str
    evaluations_done: int
    diverged_at: int


_WRITTEN = ("evaluations_done", "diverged_at", "status")
"""Columns that change; the last one commits."""


class History:
    """One zarr store (run, eval, probe) and the mutable columns of its runs."""

    def __init__(self, path: Path):
        self.path = path
        # Any: zarr types every member as 'array or group', and which it is is only known to us.
        group: Any = zarr.open_group(path, mode="r+", zarr_format=3)
        self._values = group["value"]
        # Opened once: opening an array reads its description from the disk.
        self._columns = {name: group[name] for name in _WRITTEN}
        self.ids = [str(x) for x in group["id"][:]]
        self.names = [str(x) for x in group["probe"][:]]
        self.row = {run: i for i, run in enumerate(self.ids)}
        self.n_evaluations = self._values.shape[1]
        self._attributes = group.attrs
        self.progress = [
            Progress(str(s), int(e), int(d))
            for s, e, d in zip(
                group["status"][:],
                group["evaluations_done"][:],
                group["diverged_at"][:],
                strict=True,
            )
        ]

    @staticmethod
    def create(
        path: Path,
        ids: list[str],
        names: list[str],
        steps: np.ndarray,
        columns: dict[str, list[Any]],
        attributes: dict[str, Any],
    ) -> None:
        """Write an empty store and move it into place, so that a store that exists is complete."""
        with replacing(path) as aside:
            group = zarr.open_group(aside, mode="w", zarr_format=3)
            shape = (len(ids), len(steps), len(names))
            group.create_array(
                "value",
                shape=shape,
                chunks=(1, *shape[1:]),
                dtype="f4",
                fill_value=float("nan"),
                dimension_names=("run", "eval", "probe"),
                config={"write_empty_chunks": True},
            )
            fresh = {
                "id": ids,
                "status": ["waiting"] * len(ids),
                "evaluations_done": [0] * len(ids),
                "diverged_at": [-1] * len(ids),
            }
            for name, column in {**columns, **fresh}.items():
                _write_column(group, name, column, "run")
            _write_column(group, "probe", names, "probe")
            _write_column(group, "step", [int(s) for s in steps], "eval")
            coordinates = " ".join([*columns, *fresh, "probe", "step"])
            group.attrs.update({"schema": SCHEMA, "coordinates": coordinates, **attributes})
            group["value"].attrs["coordinates"] = coordinates

    def describe(self, shape: dict[str, Any]) -> None:
        """Write which shape settings the runs share, if an older version did not."""
        if "shape" not in self._attributes:
            self._attributes["shape"] = shape

    def read(self, run: str) -> np.ndarray:
        """Measurements (eval, probe) of a run."""
        return np.asarray(self._values[self.row[run]])

    def write(self, run: str, values: np.ndarray) -> None:
        """Overwrite a run's measurements; atomic."""
        self._values[self.row[run]] = values

    def write_all(self, values: Mapping[str, np.ndarray]) -> None:
        """Overwrite the measurements of some runs; each is atomic. One call for many is much cheaper than many."""
        runs = sorted(values, key=self.row.__getitem__)
        if runs:
            rows = np.array([self.row[run] for run in runs])
            self._values.oindex[rows] = np.stack([values[run] for run in runs])

    def note(self, run: str, progress: Progress) -> None:
        """Set the progress of a run; `flush` writes it."""
        self.progress[self.row[run]] = progress

    def flush(self) -> None:
        """Write the columns; the status last, because it commits."""
        for name in _WRITTEN:
            column = [getattr(p, name) for p in self.progress]
            self._columns[name][:] = np.array(
                column, dtype=object if name == "status" else np.int64
            )


def _write_column(group: Any, name: str, values: list[Any], dimension: str) -> None:
    if any(isinstance(v, str) for v in values):
        dtype, data = "str", np.array([str(v) for v in values], dtype=object)
    elif all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in values):
        dtype, data = "int64", np.array(values, np.int64)
    elif all(isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in values):
        dtype, data = "float64", np.array(values, np.float64)
    else:
        dtype, data = "str", np.array([str(v) for v in values], dtype=object)
    array = group.create_array(
        name,
        shape=(len(values),),
        chunks=(max(len(values), 1),),
        dtype=dtype,
        dimension_names=(dimension,),
    )
    array[:] = data


class GroupStore:
    """The directory of one group: its history stores and its weights."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.histories: list[History] = []
        for name in ("history", "weights", "checkpoints"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        self.open()

    def open(self) -> None:
        """Open all stores, and delete incomplete files of a process that was killed."""
        left = [self._history_dir.glob("*.new"), self._history_dir.glob("*.part")]
        for path in itertools.chain(*left, self._weights_dir.glob("*.new")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        paths = sorted(self._history_dir.glob("*.zarr"), key=lambda p: int(p.stem))
        self.histories = [History(path) for path in paths]

    @property
    def _history_dir(self) -> Path:
        return self.directory / "history"

    @property
    def _weights_dir(self) -> Path:
        return self.directory / "weights"

    def of(self, run: str) -> History | None:
        """The newest store that has the run."""
        return next((h for h in reversed(self.histories) if run in h.row), None)

    def progress(self, run: str) -> Progress:
        history = self.of(run)
        return Progress("waiting", 0, -1) if history is None else history.progress[history.row[run]]

    def add(
        self,
        ids: list[str],
        names: list[str],
        steps: np.ndarray,
        columns: dict[str, list[Any]],
        attributes: dict[str, Any],
    ) -> None:
        """Add a store for these runs, with a copy of what older stores have of them."""
        path = self._history_dir / f"{len(self.histories)}.zarr"
        old = {run: self.of(run) for run in ids}
        with replacing(path, path.with_suffix(".part")) as aside:
            History.create(aside, ids, names, steps, columns, attributes)
            new = History(aside)
            for run, history in old.items():
                if history is not None:
                    values = np.full((len(steps), len(names)), np.nan, np.float32)
                    before = history.read(run)
                    values[: len(before)] = before
                    new.write(run, values)
                    done = history.progress[history.row[run]].evaluations_done
                    new.note(run, Progress("waiting", done, -1))
            new.flush()
        self.histories.append(History(path))

    def flush(self) -> None:
        for history in self.histories:
            history.flush()

    # -- weights -----------------------------------------------------------------------------------------------------

    def write_weights(
        self, run: str, tensors: dict[str, np.ndarray], facts: dict[str, str]
    ) -> None:
        """Final weights by name."""
        _save(self._weights_dir / f"{run}.safetensors", tensors, facts)

    def read_weights(self, run: str, step: int | None = None) -> dict[str, np.ndarray]:
        """The final weights, or those of a snapshot."""
        return load_file(self._weights_dir / (run + _at(step)))

    def final_step(self, run: str) -> int | None:
        """Step of the final weights, None where there are none."""
        path = self._weights_dir / (run + _at(None))
        if not path.exists():
            return None
        with safe_open(path, "numpy") as file:
            return int(file.metadata()["step"])

    def write_snapshot(self, run: str, step: int, tensors: dict[str, np.ndarray]) -> None:
        """Weights at one step of a run."""
        _save(self._weights_dir / (run + _at(step)), tensors, {"run": run, "step": str(step)})

    def snapshots(self, run: str) -> list[int]:
        """Steps at which weights of a run were saved."""
        paths = self._weights_dir.glob(f"{run}-*.safetensors")
        return sorted(int(path.stem.rpartition("-")[2]) for path in paths)

    def write_state(self, run: str, leaves: list[np.ndarray], evaluations: int) -> None:
        """A run's whole state, leaf by leaf, so that a larger budget can continue it."""
        tensors = {f"{i:04d}": x for i, x in enumerate(leaves)}
        _save(self._state_path(run), tensors, {"evaluations": str(evaluations)})

    def read_state(self, run: str) -> list[np.ndarray] | None:
        """The leaves of a kept state, or None."""
        path = self._state_path(run)
        if not path.exists():
            return None
        tensors = load_file(path)
        return [tensors[name] for name in sorted(tensors)]

    def state_evaluations(self, run: str) -> int:
        """Evaluations done by the kept state, 0 if there is none."""
        path = self._state_path(run)
        if not path.exists():
            return 0
        with safe_open(path, "numpy") as file:
            return int(file.metadata()["evaluations"])

    def _state_path(self, run: str) -> Path:
        return self._weights_dir / f"{run}.state"


def _at(step: int | None) -> str:
    return ".safetensors" if step is None else f"-{step}.safetensors"


def _save(path: Path, tensors: dict[str, np.ndarray], facts: dict[str, str]) -> None:
    # safetensors writes wrong data for arrays that are not contiguous, without a word.
    whole = {name: np.asarray(x, order="C") for name, x in tensors.items()}
    try:
        with replacing(path) as aside:
            save_file(whole, aside, metadata=facts)
    except SafetensorError as error:
        raise OSError(f"{path}: {error}") from None
