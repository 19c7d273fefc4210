"""Disks that are full or cannot be written to, clocks that jump, locks that nobody holds: one sentence, nothing lost.

Small disks are tmpfs mounts, for which root is needed; elsewhere these tests are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import ROOT, assert_same, command, environment, results, train, write_grid
from tests.test_cluster import IN_FAULTS, ended, on_local, same, training, until

pytestmark = [pytest.mark.soak, IN_FAULTS]


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    return write_grid(
        tmp_path_factory.mktemp("config") / "small.yaml",
        steps=1500, level=0.99, seeds=6, devices=1, every=0.5, snapshots=100,
    )  # fmt: skip


@pytest.fixture(scope="module")
def expected(config, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    done = train(config, out)
    assert done.returncode == 0, done.stderr
    return out


class Disk:
    """A tmpfs of so many MiB."""

    def __init__(self, path: Path, size: int):
        self.path = path
        path.mkdir()
        if os.geteuid() or self._mount("-t", "tmpfs", "-o", f"size={size}m", "tmpfs"):
            pytest.skip("SKIPPED: a small disk needs root and mount; nothing was tested")

    def _mount(self, *words: str) -> int:
        return subprocess.run(["mount", *words, str(self.path)], capture_output=True).returncode

    def read_only(self) -> None:
        assert not self._mount("-o", "remount,ro")

    def fill(self) -> None:
        """Leave no byte."""
        with open(self.path / "filler", "ab", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 4096)
            except OSError:
                pass

    def free(self) -> None:
        (self.path / "filler").unlink()

    def end(self) -> None:
        subprocess.run(["umount", "-l", str(self.path)], capture_output=True)


@pytest.fixture
def disk(tmp_path) -> Iterator[Disk]:
    small = Disk(tmp_path / "disk", 64)
    yield small
    small.end()


def sentence(text: str) -> str:
    """The last line; there is no traceback above it."""
    assert "Traceback" not in text, text
    return text.strip().splitlines()[-1]


def test_a_disk_that_is_full_at_the_start(config, disk) -> None:
    disk.fill()
    done = train(config, disk.path / "out")
    assert done.returncode == 2
    assert "the disk is full; free some space" in sentence(done.stderr)
    assert not (disk.path / "out").exists()


def test_a_read_only_disk(config, disk) -> None:
    disk.read_only()
    done = train(config, disk.path / "out")
    assert done.returncode == 2
    assert "is not writable; use another directory with --out" in sentence(done.stderr)


@pytest.mark.parametrize(("what", "every"), [("a checkpoint", "0"), ("the packs", "1000")])
def test_a_disk_that_gets_full(what, every, config, expected, disk) -> None:
    out = disk.path / "out"
    words = command(config, out, f"execution.checkpoint_seconds={every}")
    process = subprocess.Popen(
        words, text=True, env=environment(), stdout=-1, stderr=subprocess.STDOUT
    )
    until(process, lambda: any(out.glob("groups/*/snapshots/*.safetensors")))
    disk.fill()
    text = ended(process, 2)
    assert "No space left on device" in sentence(text) and "what was saved is kept" in text
    disk.free()
    done = train(config, out)
    assert done.returncode == 0, done.stderr
    assert_same(results(expected), results(out))


def test_a_disk_of_a_cluster_that_gets_full(config, expected, disk) -> None:
    out = disk.path / "out"
    process = on_local(config, out)
    until(process, training(out))
    disk.fill()
    text = ended(process, 2)
    assert "No space left on device" in sentence(text)
    disk.free()
    ended(on_local(config, out))
    same(expected, out)


def test_a_clock_that_jumps(config, expected, tmp_path) -> None:
    """orbax measures by the clock: a save in which it jumps forward can count as too late. Then one more start."""
    out = tmp_path / "out"
    words = command(config, out, "execution.checkpoint_seconds=0.5")[2:]
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-m", "tests.jumping_clock", *words],
            cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        if done.returncode == 0:
            break
        assert done.returncode == 2 and "timed out after" in done.stderr, done.stderr
        assert "what was saved is kept; solve this and run the same command again" in done.stderr
    assert done.returncode == 0, done.stderr
    assert_same(results(expected), results(out))


def test_a_lock_of_a_machine_that_is_gone(config, expected, tmp_path) -> None:
    out = tmp_path / "out"
    process = on_local(config, out)
    until(process, training(out))
    process.kill()
    process.communicate()
    time.sleep(5)  # the workers end
    note = {"host": "gone", "pid": 1, "since": "2026-01-01T00:00:00+00:00"}
    for place in (out, *out.glob("shares/*/*[0-9]")):
        (place / ".lock.json").write_text(json.dumps(note))
    told = sentence(ended(on_local(config, out), 2))
    assert "was locked by process 1 on gone" in told and "delete" in told
    (out / ".lock.json").unlink()  # as the sentence says; what workers left needs nobody's help
    ended(on_local(config, out))
    same(expected, out)
