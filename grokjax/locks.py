"""One writer for a directory: a file lock, and beside it a note of who holds it."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import filelock


class Locked(Exception):
    """Another process works in this directory. The message names it."""


@contextlib.contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Be the only writer in `directory` (which exists). Raises Locked."""
    lock, note = filelock.FileLock(directory / ".lock"), directory / ".lock.json"
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise Locked(f"{directory}: is in use by {_holder(note)}; wait for it or stop it") from None
    try:
        _refuse_other_host(note, directory)
        note.write_text(json.dumps(_me()))
        yield
        note.unlink(missing_ok=True)
    finally:
        # After an error the note goes too, unless it is another host's.
        if note.exists() and _read(note).get("pid") == os.getpid():
            note.unlink(missing_ok=True)
        lock.release()


def _me() -> dict:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"host": platform.node(), "pid": os.getpid(), "since": now}


def _read(note: Path) -> dict:
    try:
        return json.loads(note.read_text())
    except (OSError, ValueError):
        return {}


def _holder(note: Path) -> str:
    who = _read(note)
    if not who:
        return "another process"
    return f"process {who['pid']} on {who['host']}, since {who['since']}"


def _refuse_other_host(note: Path, directory: Path) -> None:
    """File locks do not reach across every network file system: a note from elsewhere is believed, never broken."""
    who = _read(note)
    if who and who["host"] != platform.node():
        raise Locked(
            f"{directory}: was locked by {_holder(note)}; if that process is gone, delete {note}"
        )
