"""Reads what versions before schema 2 wrote: a zarr store for the runs admitted together, two safetensors files a run.

These files have no checksums, so a damaged byte in them cannot be noticed. Nothing is written in this form any more,
except the shape settings into a store that does not have them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from safetensors import safe_open
from safetensors.numpy import load_file

from grokjax.quoting import cut, cut_path
from grokjax.results.admission import Admission
from grokjax.results.loss import Loss
from grokjax.results.sealed import Damaged
from grokjax.results.status import WAITING, Progress

_CHANGING = ("evaluations_done", "diverged_at", "status")
REQUIRED = ("id", "probe", "step", "budget_evaluations", *_CHANGING)


class OlderHistory:
    """One zarr store: `value` (run, eval, probe), and columns of its runs. Raises Damaged."""

    def __init__(self, path: Path):
        self.path, self.number = path, int(path.stem)
        try:
            self._open()
        except Damaged:
            raise
        except Exception as error:  # zarr raises whatever its layers raise on broken files
            raise Damaged(f"is damaged ({cut(error, 200)})") from error

    def _open(self) -> None:
        # Any: zarr types every member as 'array or group', and which it is is only known to us.
        group: Any = zarr.open_group(self.path, mode="r", zarr_format=3)
        arrays, schema = dict(group.arrays()), group.attrs.get("schema")
        if schema != 1:
            raise Damaged(f"is damaged (its schema is {cut(schema)}, but must be 1)")
        if lacking := [name for name in ("value", *REQUIRED) if name not in arrays]:
            raise Damaged(f"is damaged ({' and '.join(lacking)} of its runs are missing)")
        self._values = arrays.pop("value")
        for name in ("id", "probe", "status", "budget_evaluations"):
            # What is missing would be read as 0; other columns may be 0, which zarr does not write.
            if not any((self.path / name / "c").glob("*")):
                raise Damaged(f"is damaged (the data of {name} are missing)")
        read = {name: _plain(x[:]) for name, x in arrays.items()}
        n_runs, n_evaluations, n_names = self._values.shape
        step, probe = read.pop("step"), read.pop("probe")
        if any(len(x) != n_runs for x in read.values()):
            raise Damaged("is damaged (its columns differ in length)")
        if (len(step), len(probe)) != (n_evaluations, n_names):
            shape = self._values.shape
            raise Damaged(f"is damaged (its values have the shape {shape}, which does not fit)")
        changing = [read.pop(name) for name in _CHANGING]
        ids = [str(x) for x in read.pop("id")]
        self.admission = Admission(
            ids, [str(x) for x in probe], step.astype(np.int64), read, dict(group.attrs)
        )
        self.progress = [
            Progress(str(s), int(e), int(d)) for e, d, s in zip(*changing, strict=True)
        ]

    def describe(self, shape: dict[str, Any]) -> None:
        """Write which shape settings the runs share, if the store does not say."""
        if "shape" not in self.admission.attributes:
            zarr.open_group(self.path, mode="r+", zarr_format=3).attrs["shape"] = shape
            self.admission.attributes["shape"] = shape

    def forget_lost(self) -> list[str]:
        """Runs whose measurements are not there although they were made; from now on they count as waiting."""
        lost = []
        for row, progress in enumerate(self.progress):
            file = self.path / "value" / "c" / str(row) / "0" / "0"
            if self._values.chunks[0] == 1 and progress.evaluations_done and not file.is_file():
                self.progress[row] = WAITING
                lost.append(self.admission.ids[row])
        return lost

    def read(self, row: int) -> np.ndarray:
        """Measurements (eval, probe) of a run. Raises Damaged."""
        return self._read(row)

    def whole(self) -> np.ndarray:
        """Measurements (run, eval, probe) of all runs. Raises Damaged."""
        return self._read(slice(None))

    def _read(self, rows: Any) -> np.ndarray:
        try:
            return np.asarray(self._values[rows])
        except Exception as error:
            raise Damaged(f"{cut_path(self.path)}: is damaged ({cut(error, 200)})") from error


def _plain(values: Any) -> np.ndarray:
    """Numbers as they are, anything else as objects."""
    array = np.asarray(values)
    return array if array.dtype.kind in "biuf" else array.astype(object)


class OlderWeights:
    """Weights of each run in files of its own."""

    def __init__(self, directory: Path):
        self.directory = directory
        self._names = {p.name for p in directory.glob("*")} if directory.is_dir() else set()

    def __bool__(self) -> bool:
        return bool(self._names)

    def has(self, run: str, step: int | None = None) -> bool:
        return _name(run, step) in self._names

    def read(self, run: str, step: int | None = None) -> dict[str, np.ndarray]:
        """Weights by name. Raises Damaged."""
        return _load(self.directory / _name(run, step))

    def step(self, run: str) -> int:
        """Step of the final weights. Raises Damaged."""
        return int(self.facts(run)["step"])

    def facts(self, run: str) -> dict[str, str]:
        """What the file of the final weights says. Raises Damaged."""
        return _facts(self.directory / _name(run, None))

    def snapshots(self, run: str) -> list[int]:
        """Steps at which weights of a run were saved."""
        start, end = f"{run}-", ".safetensors"
        found = [n for n in self._names if n.startswith(start) and n.endswith(end)]
        return sorted(int(n[len(start) : -len(end)]) for n in found)

    def state(self, run: str) -> list[np.ndarray] | None:
        """The leaves of a kept state, None if there is none. Raises Damaged."""
        if f"{run}.state" not in self._names:
            return None
        tensors = _load(self.directory / f"{run}.state")
        return [tensors[name] for name in sorted(tensors)]

    def state_evaluations(self, run: str) -> int:
        """Evaluations done by the kept state, 0 if there is none. Raises Damaged."""
        if f"{run}.state" not in self._names:
            return 0
        return int(_facts(self.directory / f"{run}.state")["evaluations"])


def _name(run: str, step: int | None) -> str:
    return f"{run}.safetensors" if step is None else f"{run}-{step}.safetensors"


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        return load_file(path)
    except Exception as error:
        raise Damaged(f"{cut_path(path)}: is damaged ({cut(error, 200)})") from error


def _facts(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, "numpy") as file:
            return dict(file.metadata())
    except Exception as error:
        raise Damaged(f"{cut_path(path)}: is damaged ({cut(error, 200)})") from error


def read_older(directory: Path) -> tuple[list[OlderHistory], list[Loss]]:
    """All older history stores of a group, in order, and what of them cannot be used."""
    paths = sorted(
        (p for p in directory.glob("*.zarr") if p.stem.isdigit()), key=lambda p: int(p.stem)
    )
    histories, losses = [], []
    for path in paths:
        try:
            history = OlderHistory(path)
        except Damaged as error:
            losses.append(Loss(path, str(error)))
            continue
        histories.append(history)
        if lost := history.forget_lost():
            losses.append(Loss(path, "lacks files", tuple(lost), "measurements"))
    return histories, losses
