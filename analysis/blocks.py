"""Where the runs of a results directory are, and what describes each: one array a column over all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from grokjax.results.admission import Admission
from grokjax.results.status import DONE
from grokjax.results.store import GroupStore


class Shelf(NamedTuple):
    """The runs that are read from a store."""

    group: str
    store: GroupStore
    runs: list[str]


@dataclass(frozen=True)
class Block:
    """Runs that were admitted together in one group: their places in the dataset, and their rows in the admission."""

    group: str
    admission: Admission
    places: np.ndarray
    rows: np.ndarray

    def column(self, name: str) -> np.ndarray | None:
        """Values of these runs, None where they are unknown. A shape setting is the same for all."""
        if name in self.admission.columns:
            return self.admission.columns[name][self.rows]
        value = self.admission.attributes.get("shape", {}).get(name)
        return None if value is None else np.array([value] * len(self.rows), _dtype(value))

    @property
    def stop_level(self) -> float:
        """Validation accuracy of the stop rule, NaN without one."""
        stop = self.admission.attributes.get("stop") or {}
        return float(stop.get("val_accuracy", np.nan))


def _dtype(value: Any) -> Any:
    return object if isinstance(value, str) else None


def shelves_of(stores: list[tuple[str, GroupStore]]) -> list[Shelf]:
    """Every run once: from where it is furthest, if workers have directories of their own."""
    if len({name for name, _ in stores}) == len(stores):
        return [Shelf(name, store, store.runs) for name, store in stores]
    best: dict[str, tuple[tuple[bool, int], int]] = {}
    for i, (_, store) in enumerate(stores):
        for run in store.runs:
            progress = store.progress(run)
            far = (progress.status in DONE, progress.evaluations_done)
            if run not in best or far > best[run][0]:
                best[run] = (far, i)
    shelves = [
        Shelf(name, store, [run for run in store.runs if best[run][1] == i])
        for i, (name, store) in enumerate(stores)
    ]
    return [shelf for shelf in shelves if shelf.runs]


def blocks_of(shelves: list[Shelf]) -> list[Block]:
    """All runs, group by group, in the order in which they were admitted first."""
    blocks, n = [], 0
    for name, store, runs in shelves:
        by_admission: dict[int, tuple[Admission, list[int], list[int]]] = {}
        for run in runs:
            admission = store.admission(run)
            assert admission is not None, "these runs were admitted"
            _, places, rows = by_admission.setdefault(id(admission), (admission, [], []))
            places.append(n)
            rows.append(admission.row[run])
            n += 1
        blocks += [Block(name, a, np.array(p), np.array(r)) for a, p, r in by_admission.values()]
    return blocks


def steps_of(blocks: list[Block], n: int, width: int) -> np.ndarray:
    """(run, eval) step, NaN behind the last planned evaluation."""
    rows = np.full((len(blocks), width), np.nan)
    for row, block in zip(rows, blocks, strict=True):
        row[: len(block.admission.step)] = block.admission.step
    if (np.nan_to_num(rows, nan=-1.0) == np.nan_to_num(rows[0], nan=-1.0)).all():
        return np.broadcast_to(rows[0], (n, width))  # takes no memory for each run
    steps = np.empty((n, width))
    for row, block in zip(rows, blocks, strict=True):
        steps[block.places] = row
    return steps


def spread(blocks: list[Block], n: int, values: list[float]) -> np.ndarray:
    """(run,) value of the block of each run."""
    spread = np.empty(n)
    for block, value in zip(blocks, values, strict=True):
        spread[block.places] = value
    return spread


def known_columns(blocks: list[Block], axes: list[str]) -> list[str]:
    """Every column of any block. A setting that became an axis later is a shape of the older blocks."""
    stored = dict.fromkeys(name for block in blocks for name in block.admission.columns)
    shapes = {name for block in blocks for name in block.admission.attributes.get("shape", {})}
    return [*stored, *(axis for axis in axes if axis in shapes and axis not in stored)]


def column_of(name: str, blocks: list[Block], n: int) -> np.ndarray:
    """(run,) numbers with NaN for unknown ones, or text with '' for unknown ones."""
    pieces = [(block.places, block.column(name)) for block in blocks]
    known = [values for _, values in pieces if values is not None]
    complete = len(known) == len(pieces)
    if any(values.dtype == object for values in known):
        column = np.full(n, "", object)
        for places, values in pieces:
            if values is not None:
                column[places] = [str(v) for v in values.tolist()]
        return column.astype(str)
    # Every place is in some block, so nothing stays empty where all are known.
    column = np.empty(n, np.result_type(*known)) if complete else np.full(n, np.nan)
    for places, values in pieces:
        if values is not None:
            column[places] = values
    return column
