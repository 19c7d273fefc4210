"""What workers wrote becomes part of the results of the experiment. For the process that holds its lock. No JAX."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from grokjax.results.locks import Locked, hold
from grokjax.results.merging import merge
from grokjax.results.pack_writing import add
from grokjax.results.packs import Entry, Packs, rows_with
from grokjax.results.shares import folder, worker_directories
from grokjax.results.status import DONE
from grokjax.results.store import GroupStore
from grokjax.results.writer import StoreWriter

Wanted = Callable[[Entry], bool]


def ended_further(run: str, here: GroupStore, there: GroupStore) -> bool:
    """Whether a run has ended there, and here it has not, or within a smaller budget."""
    place = there.ended.find(run)
    if place is None:
        return False
    own = here.ended.find(run)
    return own is None or (
        here.ended.fact(own, "status") == "finished"
        and here.ended.fact(own, "evaluations_done") < there.ended.fact(place, "evaluations_done")
    )


def copy_runs(there: GroupStore, writer: StoreWriter, runs: Sequence[str]) -> list[str]:
    """Add to a store what another one has of these runs: snapshots, and after them the runs that ended further there.

    Everything is compared with its checksum; what is damaged is left behind. Returns the runs that ended. Raises
    OSError.
    """
    here, asked = writer.store, set(runs)
    taken = here.snapshots.newest
    _copy(there.snapshots, here.snapshots, lambda e: e.run in asked and e not in taken)
    ended = {run for run in asked if ended_further(run, here, there)}
    _copy(there.ended, here.ended, lambda e: e.run in ended)
    return [run for run in runs if run in ended and here.ended.find(run)]


def _copy(there: Packs, here: Packs, wanted: Wanted) -> None:
    """The rows of entries that are wanted, pack by pack."""
    newest, chosen = there.newest, dict.fromkeys(filter(wanted, there.newest))
    for number in sorted(there.packs):
        entries = there.entries(number)
        rows = [
            row
            for row, entry in enumerate(entries)
            if entry in chosen and newest[entry] == (number, row)
        ]
        if rows:
            _copy_rows(there, here, number, rows)
    merge(here)


def _copy_rows(there: Packs, here: Packs, number: int, rows: list[int]) -> None:
    pack = there.packs[number]
    arrays = {part: there.check_part(number, part) for part in pack.parts}
    sound = there.newest  # without the rows that were found to be damaged just now
    entries = there.entries(number)
    rows = [row for row in rows if sound.get(entries[row]) == (number, row)]
    if not rows or any(x is None for x in arrays.values()):
        return
    columns = {
        name: [values[row] for row in rows] for name, values in pack.facts["columns"].items()
    }
    of_part = {part: {row: i for i, row in enumerate(rows_with(pack, part))} for part in pack.parts}
    parts = {
        part: {name: x[[at[row] for row in rows if row in at]] for name, x in arrays[part].items()}  # type: ignore[union-attr]
        for part, at in of_part.items()
    }
    only = {
        part: [i for i, row in enumerate(rows) if row in of_part[part]]
        for part in pack.facts["only"]
    }
    add(here, columns, pack.facts["shared"], parts, only)


def copy_provenance(path: Path) -> None:
    """Add the lines of all workers to provenance.jsonl, each once. Raises OSError."""
    target = path / "provenance.jsonl"
    known = set(target.read_text().splitlines()) if target.exists() else set()
    files = [d / "provenance.jsonl" for d in worker_directories(path)]
    lines = [line for f in files if f.exists() for line in f.read_text().splitlines()]
    new = [line for line in dict.fromkeys(lines) if line not in known]
    if new:
        with target.open("a") as file:
            file.write("".join(f"{line}\n" for line in new))


def remove_collected(path: Path) -> None:
    """Delete the directories of workers of which all runs have ended in the experiment's own results.

    A worker that still writes there (a machine that was lost, and came back) has nothing that is needed.
    """
    for directory in worker_directories(path):
        if _is_collected(path, directory):
            shutil.rmtree(directory, ignore_errors=True)
    for share in folder(path).glob("*"):
        if share.is_dir() and not any(d.is_dir() for d in share.iterdir()):
            shutil.rmtree(share, ignore_errors=True)
    if folder(path).is_dir() and not any(d.is_dir() for d in folder(path).iterdir()):
        shutil.rmtree(folder(path), ignore_errors=True)


def _is_collected(path: Path, directory: Path) -> bool:
    runs = [
        (here, run)
        for group in directory.glob("groups/*")
        for here in [GroupStore(path / "groups" / group.name)]
        for run in GroupStore(group).runs
    ]
    if runs:
        return all(here.progress(run).status in DONE for here, run in runs)
    try:  # a worker may have just begun
        with hold(directory):
            return True
    except Locked:
        return False
