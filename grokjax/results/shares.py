"""The shares of an experiment: runs of one group that a worker trains in a directory of its own. No JAX.

    shares/<name>/share.json    its group and runs, and with which tile and on how many devices they are trained
    shares/<name>/<k>/          what the k-th worker of the share wrote: groups/ and provenance.jsonl

A worker continues in the newest directory of its share if no other process holds it, and begins a new one otherwise: a
machine that was lost may come back, and its worker must not meet another one. So no two processes write the same files,
whether or not locks work on the file system; runs that two workers trained have the same bits.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from grokjax.atomic import replacing
from grokjax.experiment.places import ConfigError
from grokjax.quoting import cut, cut_path
from grokjax.results.locks import Locked, hold
from grokjax.results.store import GroupStore, group_stores

_FILE = "share.json"


class Share(NamedTuple):
    """Runs of one group, and how they are trained, so that every machine gives the same bits."""

    name: str
    group: str
    runs: tuple[str, ...]
    tile: int
    devices: int


def folder(path: Path) -> Path:
    """Where the shares of an experiment are."""
    return path / "shares"


def write_share(path: Path, share: Share) -> None:
    """Note a share in a results directory. Raises OSError."""
    directory = folder(path) / share.name
    directory.mkdir(parents=True, exist_ok=True)
    with replacing(directory / _FILE) as aside:
        aside.write_text(json.dumps(share._asdict()) + "\n")


def read_share(path: Path, name: str) -> Share:
    """Raises ConfigError for a share that is not there, or whose file is damaged."""
    file = folder(path) / name / _FILE
    try:
        data = json.loads(file.read_text())
        return Share(**{**data, "runs": tuple(data["runs"])})
    except OSError as error:
        raise ConfigError(
            f"--share {cut(name)}: {cut_path(file)} cannot be read ({error.strerror}); the results directory must be "
            "on a file system that all machines share"
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"{cut_path(file)}: is damaged ({cut(error, 100)}); start the command with --on again"
        ) from None


def worker_directories(path: Path) -> list[Path]:
    """The directories of all workers of all shares, the oldest of a share first."""
    found = [d for d in folder(path).glob("*/*") if d.name.isdigit() and d.is_dir()]
    return sorted(found, key=lambda d: (d.parent.name, int(d.name)))


def worker_stores(path: Path, group: str) -> list[GroupStore]:
    """What workers have of a group."""
    found = (d / "groups" / group for d in worker_directories(path))
    return [GroupStore(directory) for directory in found if directory.is_dir()]


def all_stores(path: Path) -> Iterator[tuple[str, GroupStore]]:
    """The stores of a results directory by the hashes of their groups; then those of its workers."""
    yield from group_stores(path)
    for directory in worker_directories(path):
        yield from group_stores(directory)


@contextlib.contextmanager
def claimed(path: Path, name: str) -> Iterator[Path]:
    """A directory of the share that no other process uses: the newest one, or else a new one."""
    own = folder(path) / name
    numbers = [int(d.name) for d in own.iterdir() if d.name.isdigit()] if own.is_dir() else []
    with contextlib.ExitStack() as held:
        directory = _try_hold(held, own / str(max(numbers))) if numbers else None
        number = max(numbers, default=-1)
        while directory is None:
            number += 1
            with contextlib.suppress(FileExistsError):  # another worker made it at the same time
                (own / str(number)).mkdir(parents=True)
                directory = _try_hold(held, own / str(number))
        yield directory


def _try_hold(held: contextlib.ExitStack, directory: Path) -> Path | None:
    try:
        held.enter_context(hold(directory))
    except Locked:
        return None
    return directory
