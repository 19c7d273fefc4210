"""Files and directories that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

_UMASK = os.umask(0o022)
"""What new files are not allowed. It can only be read by setting it."""
os.umask(_UMASK)


@contextlib.contextmanager
def replacing(path: Path, aside: Path | None = None) -> Iterator[Path]:
    """Write to the path that this gives; when the block ends, what was written there takes the place of `path`.

    Where the block fails, `path` stays as it was and nothing is left beside it. What a killed process left at `aside`
    (default: `path` with `.new` added) is removed first. A reader finds the old content or the new one, or for a
    moment no directory; never half of one.
    """
    aside = aside or path.with_name(path.name + ".new")
    _remove(aside)
    try:
        yield aside
        if aside.is_file():
            # safetensors lets only the owner read its files, so that nobody else could analyse the results.
            with contextlib.suppress(OSError):  # a file system without modes
                aside.chmod(0o666 & ~_UMASK)
        _put(aside, path)
    except BaseException:
        _remove(aside)
        raise


def move_directory_away(path: Path) -> None:
    """If a directory is in the place of a file, rename it, so that the file can be written. Raises OSError."""
    if path.is_dir():
        os.replace(path, path.with_name(path.name + ".damaged"))


def own_name(path: Path) -> Path:
    """A hidden name beside `path` that only this process uses, for a file that several processes may write at once."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def _put(aside: Path, path: Path) -> None:
    if not (path.is_dir() and aside.is_dir()):
        os.replace(aside, path)
        return
    # A directory cannot replace another that is not empty.
    old = path.with_name(path.name + ".old")
    _remove(old)
    os.replace(path, old)
    try:
        os.replace(aside, path)
    except OSError:
        os.replace(old, path)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
