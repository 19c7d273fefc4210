"""The histories of all runs as one array, in memory or, where they are large, read when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from grokjax.results.store import Block, GroupStore, Source

MOST_BYTES = 2**29
"""Histories that take more memory than this stay on disk until they are asked for."""


@dataclass(frozen=True)
class _Part:
    """The runs whose histories are read together: where they are in the array, and their rows on disk."""

    store: GroupStore
    block: Block
    places: np.ndarray
    rows: np.ndarray


class Histories(BackendArray):
    """`value` (run, eval, probe), float32, NaN behind each run's last evaluation."""

    def __init__(
        self, parts: Sequence[_Part], probes: list[str], shape: tuple[int, int], done: np.ndarray
    ):
        self._parts, self._probes, self._done = parts, probes, done
        self.shape = (*shape, len(probes))
        self.dtype = np.dtype(np.float32)

    @staticmethod
    def of(
        runs: Sequence[tuple[GroupStore, Source | None]],
        probes: list[str],
        width: int,
        done: np.ndarray,
    ) -> Histories:
        """The histories of all runs, in their order, with so many evaluations."""
        by_block: dict[tuple[int, Block], tuple[GroupStore, list[int], list[int]]] = {}
        for place, (store, source) in enumerate(runs):
            if source is not None:
                key = (id(store), source.block)
                _, places, rows = by_block.setdefault(key, (store, [], []))
                places.append(place)
                rows.append(source.row)
        parts = [
            _Part(store, block, np.array(places), np.array(rows))
            for (_, block), (store, places, rows) in by_block.items()
        ]
        return Histories(parts, probes, (len(runs), width), done)

    def array(self) -> Any:
        """In memory, or to be read later where it is large. Raises Damaged."""
        if np.prod(self.shape) * self.dtype.itemsize <= MOST_BYTES:
            return self._read((slice(None),) * 3)
        return indexing.LazilyIndexedArray(self)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        """What basic indices select."""
        runs, evals, probes = (
            np.atleast_1d(np.arange(n)[k]) for n, k in zip(self.shape, key, strict=True)
        )
        names = [self._probes[i] for i in probes]
        values = np.full((len(runs), len(evals), len(names)), np.nan, np.float32)
        wanted = np.full(self.shape[0], -1)
        wanted[runs] = np.arange(len(runs))
        for part in self._parts:
            to = wanted[part.places]
            if (to >= 0).any():
                own, read = part.store.read_block(part.block)
                self._copy(values, to[to >= 0], part.rows[to >= 0], read, own, evals, names)
        values[evals[None, :] >= self._done[runs][:, None]] = np.nan
        # An index that is a number takes its dimension away.
        return values[tuple(slice(None) if isinstance(k, slice) else 0 for k in key)]

    @staticmethod
    def _copy(
        values: np.ndarray,
        to: np.ndarray,
        rows: np.ndarray,
        read: np.ndarray,
        own: list[str],
        evals: np.ndarray,
        names: list[str],
    ) -> None:
        there = np.flatnonzero(evals < read.shape[1])
        for column, name in enumerate(names):
            if name in own:
                values[to[:, None], there, column] = read[
                    rows[:, None], evals[there], own.index(name)
                ]
