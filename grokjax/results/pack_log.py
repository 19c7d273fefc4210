"""The log of a directory of packs. No JAX."""

from __future__ import annotations

import contextlib
import json
import zlib
from pathlib import Path
from typing import Any

from grokjax.atomic import move_directory_away
from grokjax.results.loss import Loss


class PackLog:
    """A file of lines: the runs of each pack, the packs that a merged one replaces, what is rejected."""

    def __init__(self, path: Path):
        self.path = path
        self._clear()

    def _clear(self) -> None:
        self.packs: dict[int, list[str]] = {}
        """Runs of each pack that was written and not replaced."""
        self.replaced: set[int] = set()
        self.rejected: list[tuple[int, list[str], str]] = []
        """Pack, runs whose rows in it are not used any more, and why."""
        self.losses: list[Loss] = []
        self._stamp: tuple[int, int] | None = None
        self._size = 0
        """Bytes up to the end of the last whole line."""

    def read(self) -> None:
        """Read the whole log again."""
        self._clear()
        self._stamp = self._stamp_now()
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            if any(self.path.parent.glob("*.safetensors")):
                self.lost("is missing")
            return
        except OSError as error:
            self.lost(f"cannot be read ({error.strerror})")
            return
        # A kill can tear the last line; the pack that it was about is there.
        *lines, torn = text.split(b"\n")
        self._size = len(text) - len(torn)
        for line in lines:
            with contextlib.suppress(ValueError):
                self._take(line)
                continue
            self.lost("is damaged")

    def lost(self, why: str) -> None:
        """Note that the log cannot be relied on."""
        told = f"{why}; without it, a lost file in its directory cannot be noticed"
        if not self.losses:
            self.losses.append(Loss(self.path, told))

    def _take(self, line: bytes) -> None:
        crc, _, text = line.partition(b" ")
        if int(crc, 16) != zlib.crc32(text):
            raise ValueError("the checksum does not agree")
        what = json.loads(text)
        if "rejected" in what:
            self.rejected.append((what["rejected"], what["runs"], what["why"]))
            return
        self.packs[what["pack"]] = what["runs"]
        for number in what.get("replaces", ()):
            self.packs.pop(number, None)
            self.replaced.add(number)

    def changed(self) -> bool:
        """Whether the log is another one than the one that was read."""
        return self._stamp != self._stamp_now()

    def _stamp_now(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns

    def append(self, **what: Any) -> None:
        """Add a line. Raises OSError."""
        text = json.dumps(what).encode()
        line = f"{zlib.crc32(text):08x} ".encode() + text + b"\n"
        with self.path.open("ab") as file:
            file.truncate(self._size)
            file.write(line)
        self._size += len(line)
        self._take(line[:-1])

    def begin_again(self) -> None:
        """Put an empty log in the place of a damaged one."""
        move_directory_away(self.path)
        self.path.unlink(missing_ok=True)
        self._clear()
