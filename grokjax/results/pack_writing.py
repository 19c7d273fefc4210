"""Writes packs, for the process that holds the group's lock. No JAX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grokjax.results.packs import Packs
from grokjax.results.sealed import Arrays, write_sealed
from grokjax.results.store import GroupStore


def prepare(packs: Packs) -> None:
    """Before the first change: create the directory, remove what a killed process left, list what is not listed."""
    packs.directory.mkdir(parents=True, exist_ok=True)
    for number in packs.log.replaced:
        packs.path(number).unlink(missing_ok=True)
    for left in packs.directory.glob("*.new"):
        left.unlink()
    if packs.log.losses:
        packs.log.begin_again()
    for number in packs.not_listed:
        packs.log.append(pack=number, runs=_runs(packs, number))


def add(
    packs: Packs,
    columns: Mapping[str, list[Any]],
    shared: Mapping[str, Any],
    parts: Mapping[str, Arrays],
    only: Mapping[str, list[int]] | None = None,
) -> None:
    """Write a pack. Raises OSError."""
    number = write(packs, {"columns": columns, "shared": shared, "only": only or {}}, parts)
    packs.log.append(pack=number, runs=_runs(packs, number))


def replace(packs: Packs, old: Sequence[int], number: int) -> None:
    """A pack that was written has all rows of these others that are still used: they are deleted."""
    packs.log.append(pack=number, runs=_runs(packs, number), replaces=list(old))
    for each in old:
        del packs.packs[each]
        packs.path(each).unlink(missing_ok=True)
    packs.index.forget(old, packs.entries(number))


def reject(packs: Packs, runs: Sequence[str], why: str) -> None:
    """Forget the newest rows of these runs, now and whenever the packs are opened again."""
    by_pack: dict[int, list[str]] = {}
    for run in runs:
        if place := packs.find(run):
            by_pack.setdefault(place.pack, []).append(run)
    _reject(packs, by_pack, why)


def reject_lost(packs: Packs) -> None:
    """Let the packs, whenever they are opened again, forget the rows that were found to be damaged."""
    numbers = {packs.path(number): number for number in packs.packs}
    for loss in packs.losses:
        if loss.runs and loss.path in numbers:
            _reject(packs, {numbers[loss.path]: list(loss.runs)}, loss.why)


def mark_lost(store: GroupStore) -> None:
    """Let the next start train again all runs of which results, weights or snapshots were found to be lost."""
    for packs in (store.ended, store.snapshots):
        if packs.losses:
            prepare(packs)
            reject_lost(packs)
    reject_for_snapshots(store)


def reject_for_snapshots(store: GroupStore) -> None:
    """A run whose snapshots are lost has to be trained again."""
    runs = [run for loss in store.snapshots.losses for run in loss.runs]
    reject(store.ended, runs, "is whole, but snapshots that belong to it are lost")


def _reject(packs: Packs, by_pack: Mapping[int, list[str]], why: str) -> None:
    for number, runs in by_pack.items():
        packs.log.append(rejected=number, runs=runs, why=why)
        packs.forget(number, set(runs))


def write(packs: Packs, facts: Mapping[str, Any], parts: Mapping[str, Arrays]) -> int:
    """Write a file, and index it; the log does not have it yet. Returns its number. Raises OSError."""
    number = packs.next_number
    write_sealed(packs.path(number), facts, parts)
    packs.next_number += 1
    packs.add_opened(number)
    return number


def _runs(packs: Packs, number: int) -> list[str]:
    return list(dict.fromkeys(entry.run for entry in packs.entries(number)))
