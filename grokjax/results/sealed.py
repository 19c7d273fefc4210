"""Files that notice damage: named arrays and facts in one safetensors file, with checksums. No JAX.

A file has parts. A part has arrays with one row for each entry, for example the weights of some runs. Every row has its
own checksum, so that a damaged byte costs one entry and not the file. The facts and the list of all arrays have a
checksum too.
"""

from __future__ import annotations

import contextlib
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from grokjax.atomic import replacing
from grokjax.quoting import cut

Arrays = Mapping[str, np.ndarray]
"""Arrays by name; of a part, all with the same number of rows."""


class Damaged(ValueError):
    """What is on disk is not what was written. The message says what is wrong, as the end of 'FILE: ...'."""


def checksum(arrays: Arrays) -> int:
    """CRC32 over whole arrays, in the order of their names, with their names, dtypes and shapes."""
    crc = 0
    for name in sorted(arrays):
        x = np.asarray(arrays[name], order="C")
        crc = zlib.crc32(f"{name} {x.dtype} {x.shape}".encode(), crc)
        crc = zlib.crc32(_bytes(x), crc)
    return crc


def row_checksums(arrays: Arrays) -> list[int]:
    """CRC32 of each row: over the row of every array, in the order of their names."""
    rows = [np.asarray(arrays[name], order="C") for name in sorted(arrays)]
    crcs = [0] * (len(rows[0]) if rows else 0)
    for x in rows:
        data = _bytes(x)
        width = len(data) // max(len(x), 1)
        for row, crc in enumerate(crcs):
            crcs[row] = zlib.crc32(data[row * width : (row + 1) * width], crc)
    return crcs


def _bytes(x: np.ndarray) -> memoryview:
    return x.reshape(-1).view(np.uint8).data


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """Turn whatever a broken file can raise when it is read into Damaged, with plain words.

    What the machine is to blame for (no permission, no memory, too many open files) is raised as it is: results must
    not count as lost because of it.
    """
    try:
        yield
    except FileNotFoundError:
        raise Damaged("is missing") from None
    except (Damaged, OSError, MemoryError):
        raise
    except (
        Exception
    ) as error:  # safetensors and JSON raise whatever their layers raise on broken files
        raise Damaged(f"is damaged ({cut(error, 100)})") from None


class _Part(NamedTuple):
    """The description of a part in the file."""

    arrays: dict[str, list[Any]]
    """By name: dtype and shape."""
    crcs: list[int]
    """One for each row, or a single one for all rows."""


def write_sealed(
    path: Path, facts: Mapping[str, Any], parts: Mapping[str, Arrays], by_row: bool = True
) -> None:
    """Write a file, whole or not at all. `by_row`: a checksum for each row, or else one for each part.

    `facts` must be what JSON can hold. Raises OSError.
    """
    # safetensors writes wrong data for arrays that are not contiguous, without a word.
    whole = {
        part: {name: np.asarray(x, order="C") for name, x in arrays.items()}
        for part, arrays in parts.items()
    }
    described = {
        part: _Part(
            {name: [str(x.dtype), list(x.shape)] for name, x in arrays.items()},
            row_checksums(arrays) if by_row else [checksum(arrays)],
        )
        for part, arrays in whole.items()
    }
    index = json.dumps({"facts": facts, "parts": described, "by_row": by_row})
    # One entry: safetensors writes several in an order that changes, and equal files should have equal bytes.
    metadata = {"index": f"{zlib.crc32(index.encode()):08x} {index}"}
    tensors = {f"{part}/{name}": x for part, arrays in whole.items() for name, x in arrays.items()}
    try:
        with replacing(path) as aside:
            save_file(tensors, aside, metadata=metadata)
    except SafetensorError as error:
        raise OSError(f"{path}: {error}") from None


class Sealed:
    """A file that `write_sealed` wrote. Reads the index at once, arrays when they are asked for.

    Everything that is read is compared with its checksum first. Raises Damaged, or OSError.
    """

    def __init__(self, path: Path):
        self.path = path
        with _plain_errors():
            if path.is_dir():
                raise Damaged("is a directory, but must be a file")
            with safe_open(path, "numpy") as file:
                metadata = file.metadata() or {}
                names = set(file.keys())
            crc, _, text = metadata["index"].partition(" ")
            if zlib.crc32(text.encode()) != int(crc, 16):
                raise Damaged("is damaged (the checksum of its index does not agree)")
            index = json.loads(text)
            self.facts: dict[str, Any] = index["facts"]
            self._by_row: bool = index["by_row"]
            self._parts = {name: _Part(*part) for name, part in index["parts"].items()}
        if names != {f"{p}/{n}" for p, part in self._parts.items() for n in part.arrays}:
            raise Damaged("is damaged (its arrays are not those that were written)")

    @property
    def parts(self) -> list[str]:
        """Names of the parts."""
        return list(self._parts)

    def rows(self, part: str) -> int:
        """Number of rows of a part."""
        return len(self._parts[part].crcs)

    def names(self, part: str) -> list[str]:
        """Names of the arrays of a part."""
        return list(self._parts[part].arrays)

    def shape(self, part: str, name: str) -> tuple[int, ...]:
        """Shape of an array, the rows first."""
        return tuple(self._parts[part].arrays[name][1])

    def n_bytes(self) -> int:
        """Bytes of all arrays."""
        every = [x for part in self._parts.values() for x in part.arrays.values()]
        return sum(np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in every)

    def whole(self, part: str) -> dict[str, np.ndarray]:
        """All rows of a part, each compared with its checksum. Raises Damaged."""
        arrays = self._read(part)
        if not self._by_row:
            if [checksum(arrays)] != self._parts[part].crcs:
                raise Damaged(f"is damaged (the checksum of its {part} does not agree)")
        elif wrong := self._wrong_rows(part, arrays):
            raise Damaged(
                f"is damaged (the checksum of {len(wrong)} rows of its {part} does not agree)"
            )
        return arrays

    def sound(self, part: str) -> tuple[dict[str, np.ndarray], list[int]]:
        """All rows of a part, and which of them are damaged. Raises Damaged if nothing can be read."""
        arrays = self._read(part)
        return arrays, self._wrong_rows(part, arrays)

    def unchecked(self, part: str) -> dict[str, np.ndarray]:
        """All rows of a part as they are on disk, for those who have compared them just before. Raises Damaged."""
        return self._read(part)

    def row(self, part: str, row: int) -> dict[str, np.ndarray]:
        """One row of each array of a part. Raises Damaged."""
        arrays = self._read(part, slice(row, row + 1))
        if row_checksums(arrays) != [self._parts[part].crcs[row]]:
            raise Damaged(f"is damaged (the checksum of row {row} of its {part} does not agree)")
        return {name: np.asarray(x[0]) for name, x in arrays.items()}

    def _wrong_rows(self, part: str, arrays: Arrays) -> list[int]:
        now, then = row_checksums(arrays), self._parts[part].crcs
        return [row for row, pair in enumerate(zip(now, then, strict=True)) if len(set(pair)) > 1]

    def _read(self, part: str, rows: slice = slice(None)) -> dict[str, np.ndarray]:
        with _plain_errors(), safe_open(self.path, "numpy") as file:
            arrays = {}
            for name, (dtype, shape) in self._parts[part].arrays.items():
                there = file.get_slice(f"{part}/{name}")
                if there.get_shape() != shape:
                    raise Damaged(f"is damaged (its array {cut(name)} has another shape)")
                # safetensors cannot slice an array without elements.
                whole = rows == slice(None) or 0 in shape
                array = file.get_tensor(f"{part}/{name}") if whole else there[rows]
                arrays[name] = array[rows] if whole and shape else np.asarray(array)
                if str(arrays[name].dtype) != dtype:
                    raise Damaged(f"is damaged (its array {cut(name)} has another type)")
        return arrays
