"""Checkpoints of a group: the slots' state and which run sits where, through orbax, with a checksum of our own.

Orbax notices a truncated file but not a flipped byte, and lists an empty directory as a step; so every step is
verified when it is restored, and one that fails is moved out of the way (left in place, it would block later saves).
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import logging
import os
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from grokjax.quoting import cut, cut_path

log = logging.getLogger("grokjax")
# Orbax logs every failure with the tracebacks of all its threads; what matters of it is raised.
logging.getLogger("absl").setLevel(logging.CRITICAL)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """While a checkpoint is read. Where one array of it is damaged, orbax stops at once, and the threads that read the
    others each print a traceback, because their event loop is closed."""
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    except Exception:
        time.sleep(_LATE)
        raise
    finally:
        sys.unraisablehook = before


_LATE = 0.5
"""Seconds in which the other threads have ended."""


@contextlib.contextmanager
def _disk_errors(directory: Path) -> Iterator[None]:
    """Orbax reports a full disk as a ValueError of a background thread; turn it into an OSError."""
    try:
        yield
    except Exception as error:
        if "No space left" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory)) from None


@dataclasses.dataclass(frozen=True)
class Meta:
    """What a checkpoint contains besides the state."""

    chunk: int
    runs: list[str | None]
    """Run of each slot."""
    tile: int
    devices: int

    @property
    def slots(self) -> int:
        return len(self.runs)


def checksum(tree: Any) -> int:
    """CRC32 over all leaves, in order, with their shapes and dtypes."""
    crc = 0
    for leaf in jax.tree.leaves(tree):
        crc = zlib.crc32(f"{leaf.shape}{leaf.dtype}".encode(), crc)
        crc = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), crc)
    return crc


def _sum_of_checksums(tree: Any) -> int:
    """As `checksum`, but the same for every order of the leaves, which is another one where they come back as dicts."""
    return sum(checksum([np.asarray(leaf)]) for leaf in jax.tree.leaves(tree)) % 2**32


def _crc_of(facts: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(facts, sort_keys=True).encode())


def _checked(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts of a checkpoint, if they are those that were written. Raises ValueError."""
    crc = facts.pop("meta_crc", None)  # checkpoints of older versions have none
    if crc is not None and crc != _crc_of(facts):
        raise ValueError("the checksum of its facts does not agree")
    return facts


def damaged(directory: Path) -> list[str]:
    """A sentence for each checkpoint of a group that is damaged. Changes nothing."""
    if not directory.is_dir():
        return []
    sentences = []
    manager = ocp.CheckpointManager(
        directory.absolute(), options=ocp.CheckpointManagerOptions(read_only=True)
    )
    for step in manager.all_steps():
        try:
            read_meta = ocp.args.Composite(meta=ocp.args.JsonRestore())
            facts = _checked(dict(manager.restore(step, args=read_meta)["meta"]))
            total = facts.get("sum")
            read_state = ocp.args.Composite(state=ocp.args.StandardRestore())
            with _quiet():
                state = manager.restore(step, args=read_state)["state"]
            if total is not None and _sum_of_checksums(state) != total:
                raise ValueError("the checksum does not agree")
        except Exception as error:  # orbax raises whatever its layers raise on broken files
            why = _first_line(error)
            sentences.append(
                f"{cut_path(directory / str(step))}: this checkpoint is damaged ({why}); "
                "the next start uses another one"
            )
    manager.close()
    return sentences


def _first_line(error: Exception) -> str:
    return cut(str(error).splitlines()[0] if str(error) else type(error).__name__, 200)


Abstract = Callable[[int], Any]
"""Shapes of the state of so many slots."""


def _restore_step(
    manager: ocp.CheckpointManager, step: int, abstract: Abstract
) -> tuple[Any, Meta]:
    read_meta = ocp.args.Composite(meta=ocp.args.JsonRestore())
    facts = _checked(dict(manager.restore(step, args=read_meta)["meta"]))
    crc = facts.pop("crc")
    facts.pop("sum", None)  # checkpoints of older versions have none
    meta = Meta(**facts)
    read_state = ocp.args.Composite(state=ocp.args.StandardRestore(abstract(meta.slots)))
    with _quiet():
        restored = manager.restore(step, args=read_state)["state"]
    state = jax.tree.map(np.asarray, restored)
    if checksum(state) != crc:
        raise ValueError("the checksum does not agree")
    return state, meta


def look_into(directory: Path, abstract: Abstract) -> tuple[Any, Meta] | None:
    """The newest checkpoint in a directory that another process may write to, None if none can be read. Changes
    nothing there."""
    if not directory.is_dir():
        return None
    options = ocp.CheckpointManagerOptions(read_only=True)
    manager = ocp.CheckpointManager(directory.absolute(), options=options)
    try:
        for step in sorted(manager.all_steps(), reverse=True):
            try:
                return _restore_step(manager, step, abstract)
            except Exception as error:  # damaged, or deleted meanwhile for a newer one
                log.warning(
                    f"{cut_path(directory / str(step))}: this checkpoint cannot be read ({_first_line(error)}); "
                    "training continues without it"
                )
        return None
    finally:
        manager.close()


class Checkpoints:
    """The checkpoint directory of one group."""

    def __init__(self, directory: Path):
        self.directory = directory.absolute()
        self._manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        policy = ocp.checkpoint_managers.LatestN(2)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policy, cleanup_tmp_directories=True
        )
        return ocp.CheckpointManager(self.directory, options=options)

    def save(self, state: Any, meta: Meta) -> None:
        """Save NumPy arrays; returns while files are still being written. Raises OSError, also for an earlier save."""
        self._check_space(sum(x.nbytes for x in jax.tree.leaves(state)))
        facts = {
            **dataclasses.asdict(meta),
            "crc": checksum(state),
            "sum": _sum_of_checksums(state),
        }
        facts["meta_crc"] = _crc_of(facts)
        args = ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(facts))
        with _disk_errors(self.directory):
            if not self._manager.save(meta.chunk, args=args, force=True):
                raise OSError(f"{self.directory}: orbax did not write step {meta.chunk}")

    def _check_space(self, needed: int) -> None:
        """Notice a full disk before orbax does, whose threads then fail one by one, at length."""
        free = shutil.disk_usage(self.directory).free
        if free < needed:
            message = f"{os.strerror(errno.ENOSPC)} for a checkpoint ({needed >> 20} MiB, {free >> 20} MiB are free)"
            raise OSError(errno.ENOSPC, message, str(self.directory))

    def wait(self) -> None:
        """Wait until the last save is on disk; raises its errors."""
        with _disk_errors(self.directory):
            self._manager.wait_until_finished()

    def close(self) -> None:
        with _disk_errors(self.directory):
            self._manager.close()

    def remove(self) -> None:
        """Delete all checkpoints, after `close`."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def restore(self, abstract: Abstract) -> tuple[Any, Meta] | None:
        """The newest undamaged checkpoint, as NumPy; `abstract(slots)` gives its shapes. Moves damaged ones away."""
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                return _restore_step(self._manager, step, abstract)
            except Exception as error:  # orbax raises whatever its layers raise on broken files
                self._reject(step, error)
        return None

    def _reject(self, step: int, error: Exception) -> None:
        rejected = self.directory.parent / "rejected"
        rejected.mkdir(exist_ok=True)
        target = rejected / f"{self.directory.name}-{step}"
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(self.directory / str(step), target)
        log.warning(
            f"checkpoint {step} is damaged ({_first_line(error)}) and was moved to {target}; "
            "training continues without it"
        )
        self._manager.close()
        self._manager = self._open()
