"""Packs: files with the rows of many runs, each written once, and a log of which packs there must be. No JAX.

A directory of packs grows by whole files, so that a kill leaves either a pack or nothing. Without the log, a pack that
was lost could not be told from one that was never written.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from grokjax.quoting import cut_path
from grokjax.results.loss import Loss
from grokjax.results.pack_log import PackLog
from grokjax.results.sealed import Arrays, Damaged, Sealed

_TRIES = 5
"""Times that packs are opened again because the process that writes them has changed them meanwhile."""


class Entry(NamedTuple):
    """What a row belongs to: a run, at a step or (None) at its end."""

    run: str
    step: int | None = None


class Place(NamedTuple):
    """Where a row is: the number of a pack, and the row in it."""

    pack: int
    row: int


class Index:
    """Where the rows of each entry are, the newest last."""

    def __init__(self) -> None:
        self._places: dict[Entry, list[Place]] = {}

    def add(self, number: int, entries: Sequence[Entry]) -> None:
        """A pack with rows of these entries."""
        for row, entry in enumerate(entries):
            self._places.setdefault(entry, []).append(Place(number, row))

    def forget(self, numbers: Collection[int], entries: Iterable[Entry]) -> None:
        """The rows that these packs have of these entries are not used any more."""
        for entry in entries:
            left = [p for p in self._places.pop(entry, []) if p.pack not in numbers]
            if left:
                self._places[entry] = left

    def newest(self) -> dict[Entry, Place]:
        """Where the newest row of each entry is."""
        return {entry: places[-1] for entry, places in self._places.items()}

    def find(self, entry: Entry) -> Place | None:
        """Where the newest row of an entry is, None if there is none."""
        places = self._places.get(entry)
        return places[-1] if places else None


class Packs:
    """The packs of one directory, to be read; pack_writing changes them.

    Facts of a pack: `columns` (lists with an item for each row, among them `run` and perhaps `step`), `shared` (what
    holds for all rows) and `only` (of a part that not all rows have: which rows have it).
    """

    def __init__(self, directory: Path, what: str, at_steps: bool = False):
        self.directory, self._what, self._at_steps = directory, what, at_steps
        self.packs: dict[int, Sealed] = {}
        self.losses: list[Loss] = []
        self.index = Index()
        self.log = PackLog(directory / "contents.jsonl")
        self._open()

    def path(self, number: int) -> Path:
        """The file of a pack."""
        return self.directory / f"{number:06d}.safetensors"

    def _open(self) -> None:
        for _ in range(_TRIES):
            self.log.read()
            unread = self._open_packs()
            if not self.log.changed():
                break
        if len(self.not_listed) > 1:  # a kill leaves one at most
            self.log.lost("does not name all files of its directory")
        self.losses = list(self.log.losses)
        for number, why in unread.items():
            self._note_loss(number, why, self.log.packs.get(number, []))
        for number, runs, why in self.log.rejected:
            self._note_loss(number, why, runs)

    @property
    def not_listed(self) -> list[int]:
        """Packs that the log does not name: what a kill leaves, or a log that was cut."""
        return sorted(self.packs.keys() - self.log.packs.keys())

    def _open_packs(self) -> dict[int, str]:
        """Open all packs; returns what is wrong with those that cannot be opened."""
        self.packs, self.index, unread = {}, Index(), {}
        there = {int(p.stem) for p in self.directory.glob("*.safetensors") if p.stem.isdigit()}
        self.next_number = 1 + max(there | self.log.packs.keys(), default=-1)
        # A pack that the log does not name was written just before a kill.
        for number in sorted((there | self.log.packs.keys()) - self.log.replaced):
            try:
                self.add_opened(number)
            except Damaged as error:
                unread[number] = str(error)
        return unread

    def add_opened(self, number: int) -> None:
        """Open a pack and index its rows. Raises Damaged."""
        self.packs[number] = Sealed(self.path(number))
        self.index.add(number, self.entries(number))

    def entries(self, number: int) -> list[Entry]:
        """What each row of a pack belongs to."""
        columns = self.packs[number].facts["columns"]
        steps = columns["step"] if self._at_steps else itertools.repeat(None)
        return [Entry(*pair) for pair in zip(columns["run"], steps, strict=False)]

    @property
    def newest(self) -> dict[Entry, Place]:
        """Where the newest row of each entry is."""
        return self.index.newest()

    def find(self, run: str, step: int | None = None) -> Place | None:
        """Where the newest row of an entry is, None if there is none."""
        return self.index.find(Entry(run, step))

    def fact(self, place: Place, column: str) -> Any:
        """An item of a column."""
        return self.packs[place.pack].facts["columns"][column][place.row]

    def has(self, place: Place, part: str) -> bool:
        """Whether a row has a part."""
        pack = self.packs[place.pack]
        return part in pack.parts and place.row in rows_with(pack, part)

    def read(self, place: Place, part: str) -> dict[str, np.ndarray]:
        """A part of one row. Raises Damaged; its message begins with the file."""
        pack = self.packs[place.pack]
        try:
            return pack.row(part, rows_with(pack, part).index(place.row))
        except Damaged as error:
            raise Damaged(f"{cut_path(pack.path)}: {error}") from None

    def check(self, *parts: str) -> None:
        """Compare parts of all packs with their checksums; note what is lost, and forget the rows that it concerns."""
        for _ in range(_TRIES):
            before = len(self.losses)
            for number, pack in list(self.packs.items()):
                for part in [p for p in parts if p in pack.parts]:
                    self.check_part(number, part)
            # A pack that has gone may have been merged with others since it was opened.
            if len(self.losses) == before or not self.log.changed():
                break
            self._open()

    def check_part(self, number: int, part: str) -> Arrays | None:
        """As `check`, of one part of one pack; None if it cannot be read."""
        pack, rows = self.packs[number], rows_with(self.packs[number], part)
        try:
            arrays, wrong = pack.sound(part)
            why = "is damaged (a checksum does not agree)"
        except Damaged as error:
            arrays, wrong, why = None, [*range(len(rows))], str(error)
        if wrong:
            runs = [self.entries(number)[rows[i]].run for i in wrong]
            self._note_loss(number, why, runs)
        return arrays

    def _note_loss(self, number: int, why: str, runs: Sequence[str]) -> None:
        """Rows of these runs in this pack cannot be used: an older row, or none, takes their place."""
        newer = {entry.run for entry, p in self.newest.items() if p.pack > number}
        lost = tuple(run for run in dict.fromkeys(runs) if run not in newer)
        if lost or not runs:
            self.losses.append(Loss(self.path(number), why, lost, self._what))
        self.forget(number, set(lost))

    def forget(self, number: int, runs: set[str]) -> None:
        """The rows of these runs in a pack are not used any more."""
        if number in self.packs:
            self.index.forget([number], [e for e in self.entries(number) if e.run in runs])


def rows_with(pack: Sealed, part: str) -> Sequence[int]:
    """The rows of a pack that have a part, in the order of the part's own rows."""
    return pack.facts["only"].get(part, range(len(pack.facts["columns"]["run"])))
