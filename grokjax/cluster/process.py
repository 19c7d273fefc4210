"""Runs a command as a process of its own, on whichever machine the scheduler calls this. Imports no JAX."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import psutil

from grokjax.signals import INTERRUPTED, PARENT

STOP, KILL = "stop", "kill"
"""Words of the file that asks for an end."""

GRACE_SECONDS = 120.0
"""Time to finish a chunk and save; after it, the process is killed."""

_POLL_SECONDS = 0.2


class Task(NamedTuple):
    """What a scheduler places on a machine: the command that trains a share, or that plans."""

    name: str
    command: list[str]
    directory: str
    """In which the command runs."""
    log: str
    """File to which its output is appended. Its folder must be on every machine."""
    stop: str
    """A file that may appear while it runs, with one of the words above."""


class Outcome(NamedTuple):
    """How a task ended."""

    name: str
    code: int | None
    """Exit code; negative: the number of the signal that killed it; None: the machine was lost."""
    told: str
    """Where it ran, or what is known of the loss."""


def run_process(task: Task) -> Outcome:
    """Start the command, wait for it, and pass SIGTERM on to it, so that it saves and ends with 75."""
    host = platform.node()
    if not Path(task.log).parent.is_dir():
        return Outcome(task.name, 2, without_directory(Path(task.log).parent, host))
    with open(task.log, "ab") as log:
        child = subprocess.Popen(
            task.command, cwd=task.directory, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            env={**os.environ, **local_cache(), PARENT: str(os.getpid())}, start_new_session=True,
        )  # fmt: skip
    try:
        return Outcome(task.name, _wait(child, Path(task.stop)), host)
    except BaseException:  # how schedulers interrupt a task: SystemExit, KeyboardInterrupt
        code = end(child)
        return Outcome(task.name, INTERRUPTED if code == -signal.SIGTERM else code, host)


def without_directory(folder: Path, host: str) -> str:
    """What is said where a machine does not see the results."""
    return (
        f"{folder}: is not there on {host}; the results directory must be on a file system that all machines share; "
        "give one with --out"
    )


_SHARED = ("nfs", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb", "afs", "fuse", "9p")
"""How the types of file systems of many machines begin."""


def local_cache() -> dict[str, str]:
    """Environment variables that put compiled programs on a disk of this machine, where they would be on a shared one:
    many machines would write the same files there."""
    usual = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")).absolute()
    mounts = {Path(p.mountpoint): p.fstype for p in psutil.disk_partitions(all=True)}
    nearest = next((p for p in (usual, *usual.parents) if p in mounts), None)
    if nearest is None or not mounts[nearest].startswith(_SHARED):
        return {}
    return {"XDG_CACHE_HOME": str(Path(tempfile.gettempdir()) / f"grokjax-{os.getuid()}")}


def _wait(child: subprocess.Popen[bytes], stop: Path) -> int:
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(_POLL_SECONDS)
        with contextlib.suppress(OSError):
            word = stop.read_text()
            if word == KILL:
                child.kill()
            elif word == STOP:
                return end(child)


def end(child: subprocess.Popen[bytes], grace: float = GRACE_SECONDS) -> int:
    """Let a process save and end; kill it if it does not. Returns its exit code."""
    child.terminate()
    try:
        return child.wait(grace)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()
