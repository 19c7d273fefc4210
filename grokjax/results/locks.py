"""Only one process may write to a directory: a file lock, and a note that says which process holds it."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import filelock

from grokjax import signals
from grokjax.quoting import cut_path


class Locked(Exception):
    """Another process works in this directory. The message names it."""


@contextlib.contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Be the only writer in `directory` (which exists). Raises Locked."""
    lock, note = filelock.FileLock(directory / ".lock"), directory / ".lock.json"
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise Locked(
            f"{cut_path(directory)}: is in use by {_holder(note)}; wait until it ends, or stop it"
        ) from None
    try:
        _refuse_other_host(note, directory)
        # Another machine would believe the note and refuse to go on.
        with signals.removed_at_end(note):
            note.write_text(json.dumps(_me()))
            yield
    finally:
        if _is_mine(_read(note)):  # another host's stays
            note.unlink(missing_ok=True)
        lock.release()


def holder(directory: Path) -> str | None:
    """Who works in a directory now, in words; None if nobody does, or if it cannot be asked."""
    if not (directory / ".lock").is_file():
        return None
    lock = filelock.FileLock(directory / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return _holder(directory / ".lock.json")
    except OSError:
        return None
    lock.release()
    return None


def _me() -> dict:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"host": platform.node(), "pid": os.getpid(), "since": now}


def _read(note: Path) -> dict:
    """Who holds the lock; empty if there is no note or an incomplete one."""
    try:
        who = json.loads(note.read_text())
    except (OSError, ValueError):
        return {}
    return who if isinstance(who, dict) and {"host", "pid", "since"} <= who.keys() else {}


def _is_mine(who: dict) -> bool:
    return (who.get("host"), who.get("pid")) == (platform.node(), os.getpid())


def _holder(note: Path) -> str:
    who = _read(note)
    if not who:
        return "another process"
    return f"process {who['pid']} on {who['host']}, since {who['since']}"


def _refuse_other_host(note: Path, directory: Path) -> None:
    """File locks do not work on every network file system, so a note from another machine is always respected."""
    who = _read(note)
    if who and who["host"] != platform.node():
        raise Locked(
            f"{cut_path(directory)}: was locked by {_holder(note)}; "
            f"if that process no longer runs, delete {cut_path(note)}"
        )
