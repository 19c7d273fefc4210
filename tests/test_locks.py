"""One writer for a directory: with real processes."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from grokjax.results.locks import Locked, hold

ROOT = Path(__file__).parent.parent
HOLDER = """
import sys
from pathlib import Path
from grokjax.results.locks import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds tmp_path until it is told to go on."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def note_of(path: Path) -> Path:
    return path / ".lock.json"


def test_a_second_process_is_refused_and_told_who_holds(tmp_path: Path, holder) -> None:
    with pytest.raises(Locked) as refused, hold(tmp_path):
        pytest.fail("two writers")
    words = str(refused.value)
    assert str(tmp_path) in words and f"process {holder.pid} on {platform.node()}" in words
    assert json.loads(note_of(tmp_path).read_text())["pid"] == holder.pid, (
        "the note must survive a refusal"
    )


def test_after_a_normal_exit_the_note_is_gone(tmp_path: Path, holder) -> None:
    assert note_of(tmp_path).exists()
    holder.communicate("go on\n")
    assert holder.returncode == 0 and not note_of(tmp_path).exists()
    with hold(tmp_path):
        assert json.loads(note_of(tmp_path).read_text())["pid"] == os.getpid()
    assert not note_of(tmp_path).exists()


def test_a_killed_process_of_this_host_is_taken_over(tmp_path: Path, holder) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert json.loads(note_of(tmp_path).read_text())["pid"] == holder.pid
    with hold(tmp_path):
        assert json.loads(note_of(tmp_path).read_text())["pid"] == os.getpid()
    assert not note_of(tmp_path).exists()


def test_another_host_is_reported_and_never_broken(tmp_path: Path) -> None:
    note = note_of(tmp_path)
    note.write_text(json.dumps({"host": "elsewhere", "pid": 123, "since": "2026-01-01T00:00:00"}))
    with (
        pytest.raises(
            Locked, match=r"process 123 on elsewhere.*if that process no longer runs, delete"
        ),
        hold(tmp_path),
    ):
        pytest.fail("another host's lock was broken")
    assert json.loads(note.read_text())["host"] == "elsewhere"
    note.unlink()
    with hold(tmp_path):
        pass


def test_the_note_goes_after_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), hold(tmp_path):
        raise RuntimeError
    assert not note_of(tmp_path).exists()
    with hold(tmp_path), pytest.raises(Locked), hold(tmp_path):
        pytest.fail("held twice by one process")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_a_half_written_note_says_nothing(tmp_path: Path, text: str) -> None:
    note_of(tmp_path).write_text(text)
    with hold(tmp_path):
        pass
    assert not note_of(tmp_path).exists()
