"""Many small packs become few. No JAX."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import numpy as np

from grokjax.results import pack_writing
from grokjax.results.packs import Packs, rows_with
from grokjax.results.sealed import Arrays, Sealed

SMALL_ROWS, SMALL_BYTES = 1000, 2**28
"""A pack with fewer rows and bytes than these is small, and is merged with other small ones."""
MOST_BYTES = 2**29
"""Bytes of the packs that are merged into one; they are held in memory."""
LONGER = "history"
"""The part whose rows differ in length, by the evaluations that were made."""
MOST_SMALL = 32
"""Small packs that may be there before they are merged."""


def merge(packs: Packs, least: int = MOST_SMALL) -> None:
    """If there are so many small packs, write their newest rows into as few packs as possible. Raises OSError."""
    small = [n for n, pack in sorted(packs.packs.items()) if _is_small(pack)]
    if len(small) < least:
        return
    alike: dict[str, list[int]] = {}
    for number in small:
        alike.setdefault(_likeness(packs.packs[number]), []).append(number)
    for numbers in alike.values():
        for bunch in _bunches(numbers, lambda n: packs.packs[n].n_bytes()):
            if len(bunch) > 1:
                _merge(packs, bunch)


def _merge(packs: Packs, numbers: list[int]) -> None:
    read = _read(packs, numbers)
    if read is None:
        return  # A damaged pack stays as it is: what it lost is trained again at the next start.
    newest, pack = packs.newest, {n: packs.packs[n] for n in numbers}
    kept = [
        (n, row)
        for n in numbers
        for row, entry in enumerate(packs.entries(n))
        if newest.get(entry) == (n, row)
    ]
    first = pack[numbers[0]]
    columns = {
        name: [pack[n].facts["columns"][name][row] for n, row in kept]
        for name in first.facts["columns"]
    }
    index = {
        part: {n: {row: i for i, row in enumerate(rows_with(pack[n], part))} for n in numbers}
        for part in first.parts
    }
    only = {
        part: [i for i, (n, row) in enumerate(kept) if row in index[part][n]]
        for part in first.facts["only"]
    }
    parts = {
        part: {
            name: _joined(
                [
                    read[n, part][name][[at[row] for m, row in kept if m == n and row in at]]
                    for n, at in index[part].items()
                ],
                part == LONGER,
            )
            for name in first.names(part)
        }
        for part in first.parts
    }
    facts = {"columns": columns, "shared": first.facts["shared"], "only": only}
    number = pack_writing.write(packs, facts, parts)
    pack_writing.replace(packs, numbers, number)


def _read(packs: Packs, numbers: list[int]) -> dict[tuple[int, str], Arrays] | None:
    """All parts by pack and name, compared with their checksums; None if something is damaged."""
    read: dict[tuple[int, str], Arrays] = {}
    before = len(packs.losses)
    for number in numbers:
        for part in packs.packs[number].parts:
            if (arrays := packs.check_part(number, part)) is not None:
                read[number, part] = arrays
    return read if len(packs.losses) == before else None


def _is_small(pack: Sealed) -> bool:
    return len(pack.facts["columns"]["run"]) < SMALL_ROWS and pack.n_bytes() < SMALL_BYTES


def _likeness(pack: Sealed) -> str:
    """Equal for packs that can be merged."""
    arrays = {
        part: [[n, pack.shape(part, n)[2 if part == LONGER else 1 :]] for n in pack.names(part)]
        for part in pack.parts
    }
    columns = sorted(pack.facts["columns"])
    return json.dumps([columns, pack.facts["shared"], sorted(pack.facts["only"]), arrays])


def _bunches(numbers: list[int], n_bytes: Callable[[int], int]) -> Iterator[list[int]]:
    """Neighbours that together have at most MOST_BYTES."""
    bunch: list[int] = []
    for number in numbers:
        if sum(map(n_bytes, [*bunch, number])) > MOST_BYTES:
            yield bunch
            bunch = []
        bunch.append(number)
    yield bunch


def _joined(arrays: list[np.ndarray], pad: bool) -> np.ndarray:
    """One below the other; `pad`: rows of different length are padded with NaN."""
    longest = max(x.shape[1] for x in arrays) if pad else 0
    return np.concatenate([padded(x, longest) if pad else x for x in arrays])


def padded(x: np.ndarray, length: int) -> np.ndarray:
    """The array with its second dimension made so long, with NaN."""
    if x.shape[1] == length:
        return x
    return np.pad(
        x, [(0, 0), (0, length - x.shape[1])] + [(0, 0)] * (x.ndim - 2), constant_values=np.nan
    )
