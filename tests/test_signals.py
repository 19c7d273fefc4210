"""Signals end a command within seconds and with exit code 75, whatever it is doing. Real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import NamedTuple

import pytest

from grokjax import signals
from grokjax.driver import session
from grokjax.driver.stop_signal import StopSignal
from grokjax.driver.trainer import GroupTrainer, Interrupted
from grokjax.experiment.loading import load_with_places
from tests.harness import ROOT, assert_same, command, environment, results, train, write_grid

TWO_GROUPS = "axes.model.d_mlp=[32, 16]"
ENDLESS = ("train.steps=40000", "train.stop=null")
SOON = 5.0
"""Seconds in which a process ends that has nothing to save."""


# -- what a signal asks for ----------------------------------------------------------------------------------------


class Heard(NamedTuple):
    watch: signals.Watch
    clock: list[float]
    said: list[str]


@pytest.fixture
def heard(monkeypatch) -> Heard:
    """A watch with a clock of its own; where it would end the process, it raises SystemExit."""
    clock, said = [100.0], []

    def leave(code: int) -> None:
        raise SystemExit(code)

    fake = types.SimpleNamespace(monotonic=lambda: clock[0])
    monkeypatch.setattr(signals, "time", fake)
    monkeypatch.setattr(signals, "say", said.append)
    monkeypatch.setattr(signals.os, "_exit", leave)
    return Heard(signals.Watch(), clock, said)


def test_with_nothing_unsaved_the_first_signal_ends(heard, tmp_path):
    note = tmp_path / ".lock.json"
    note.touch()
    heard.watch.notes.append(note)
    with pytest.raises(SystemExit, match="75"):
        heard.watch.hear(signal.SIGTERM)
    assert not note.exists()
    (line,) = heard.said
    assert line.startswith(
        "SIGTERM: ended at once, because there was nothing to save. Continue with: python "
    )


def test_what_is_unsaved_is_saved_first_and_a_second_signal_ends(heard):
    heard.watch.unsaved = lambda: True
    heard.watch.hear(signal.SIGINT)
    assert heard.watch.received == signal.SIGINT
    assert heard.said == [
        "SIGINT: ending after this chunk, once everything is saved; a second signal ends without saving"
    ]
    heard.clock[0] += 1.5
    with pytest.raises(SystemExit, match="75"):
        heard.watch.hear(signal.SIGTERM)
    assert heard.said[1].startswith(
        "SIGTERM: ended at once without saving; the last checkpoint is kept. Continue with"
    )


def test_the_same_signal_passed_on_by_make_is_no_second_one(heard):
    heard.watch.unsaved = lambda: True
    heard.watch.hear(signal.SIGINT)
    heard.clock[0] += 0.1
    heard.watch.hear(signal.SIGTERM)
    assert len(heard.said) == 1


@pytest.mark.soak
def test_a_signal_during_the_last_chunk_of_a_group_ends_before_the_next_one(tmp_path, monkeypatch):
    config = write_grid(tmp_path / "a.yaml", every=60)
    words = [TWO_GROUPS, f"execution.out={tmp_path / 'out'}"]
    experiment, places = load_with_places(config, words)
    finish, stopped = GroupTrainer._finish, []
    monkeypatch.setattr(GroupTrainer, "_finish", lambda self: (finish(self), stopped.append(1)))
    monkeypatch.setattr(StopSignal, "__call__", lambda self: bool(stopped))
    with pytest.raises(Interrupted):
        session.run_experiment(experiment, places=places, display=lambda tally: None)
    assert len(list(tmp_path.glob("out/groups/*/admitted/*.safetensors"))) == 1


# -- processes -----------------------------------------------------------------------------------------------------


class Started(NamedTuple):
    process: subprocess.Popen
    stderr: Path

    def said(self) -> str:
        return self.stderr.read_text()

    def until(self, words: str, seconds: float = 120) -> None:
        """Wait for words on stderr."""
        deadline = time.monotonic() + seconds
        while words not in self.said():
            assert self.process.poll() is None and time.monotonic() < deadline, self.said()
            time.sleep(0.02)

    def end(self, number: int, within: float = SOON) -> str:
        """Signal; the process has to end in time, with the exit code. Returns what it said after that."""
        before, began = len(self.said()), time.monotonic()
        self.process.send_signal(number)
        self.process.wait(60)
        took, said = time.monotonic() - began, self.said()[before:]
        assert self.process.returncode == signals.INTERRUPTED, said
        assert took < within, f"{took:.1f} s: {said}"
        print(f"ended {took:.2f} s after the signal")
        assert "Traceback" not in said
        return said


@pytest.fixture
def begin(tmp_path):
    """Start a process; whatever happens, it does not outlive the test."""
    processes = []

    def started(words: list[str], **extra: str) -> Started:
        file = tmp_path / f"stderr{len(processes)}"
        with file.open("w") as stderr:
            process = subprocess.Popen(
                words, stdout=subprocess.DEVNULL, stderr=stderr, cwd=ROOT,
                env={**environment(), **extra},
            )  # fmt: skip
        processes.append(process)
        return Started(process, file)

    yield started
    for process in processes:
        process.kill()
        process.wait()


def halted(begin, place: str, count: int, words: list[str]) -> Started:
    """The command line, standing still at a place of tests/halt.py."""
    started = begin([sys.executable, str(ROOT / "tests" / "halt.py"), place, str(count), *words])
    started.until("standing still")
    return started


def no_lock_is_left(out: Path) -> bool:
    return not list(out.rglob(".lock.json"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("module", "words"),
    [("pydantic", ["run.py", "configs/quickstart.yaml"]), ("xarray", ["-m", "analysis", "results/x"])],
)  # fmt: skip
def test_a_signal_while_libraries_are_imported_is_one_line(module, words, number, begin, tmp_path):
    stub = tmp_path / "stub" / f"{module}.py"
    stub.parent.mkdir()
    stub.write_text("from tests.halt import stand_still\nstand_still()\n")
    path = os.pathsep.join([str(stub.parent), str(ROOT)])
    started = begin([sys.executable, *words], PYTHONPATH=path)
    started.until("standing still")
    said = started.end(number)
    assert said.count("\n") == 1
    assert said.endswith(f"Continue with: python {' '.join(words)}\n")


def test_a_signal_before_the_first_chunk_ends_at_once(begin, tmp_path):
    out = tmp_path / "out"
    words = command(write_grid(tmp_path / "a.yaml"), out)[2:]
    started = halted(begin, "before a chunk", 1, words)
    assert started.end(signal.SIGTERM).count("\n") == 1
    assert no_lock_is_left(out)


@pytest.fixture(scope="module")
def two_groups(tmp_path_factory) -> tuple[Path, Path]:
    """(configuration, results) of a grid that nothing interrupted."""
    folder = tmp_path_factory.mktemp("two")
    config, whole = write_grid(folder / "a.yaml"), folder / "whole"
    assert train(config, whole, TWO_GROUPS).returncode == 0
    return config, whole


@pytest.mark.soak
@pytest.mark.parametrize(
    ("group", "number"), [(1, signal.SIGTERM), (2, signal.SIGINT), (2, signal.SIGUSR1)]
)
def test_ended_before_a_group_is_trained_the_same_command_goes_on(
    group, number, two_groups, begin, tmp_path
):
    """The second group waits while the results of the first are on disk."""
    (config, whole), out = two_groups, tmp_path / "out"
    started = halted(begin, "before a group", group, command(config, out, TWO_GROUPS)[2:])
    started.end(number)
    assert no_lock_is_left(out)
    done = train(config, out, TWO_GROUPS)
    assert done.returncode == 0, done.stderr
    assert_same(results(whole), results(out))


@pytest.mark.soak
def test_a_real_compilation_is_left_within_seconds_and_the_same_command_goes_on(begin, tmp_path):
    """With a cold cache, a second after the program began to compile."""
    config, out, whole = write_grid(tmp_path / "a.yaml"), tmp_path / "out", tmp_path / "whole"
    big = ("model.n_layers=4", "model.d_model=64", "model.d_mlp=256")
    cold = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cold"), "JAX_LOG_COMPILES": "1"}
    started = begin(command(config, out, *big), **cold)
    started.until("Compiling jit(_advance_device)")
    time.sleep(1)
    said = started.end(signal.SIGTERM)
    assert "nothing to save" in said
    assert no_lock_is_left(out)
    done = train(config, out, *big)
    assert done.returncode == 0, done.stderr
    assert train(config, whole, *big).returncode == 0
    assert_same(results(whole), results(out))


@pytest.mark.soak
def test_a_program_compiled_ahead_does_not_keep_an_interrupted_process(begin, tmp_path):
    out = tmp_path / "out"
    words = command(write_grid(tmp_path / "a.yaml"), out, TWO_GROUPS, *ENDLESS)[2:]
    started = halted(begin, "before a program ahead", 1, words)
    wait_for_a_checkpoint(out)
    said = started.end(signal.SIGTERM, within=15)
    assert "SIGTERM: ending after this chunk" in said and "everything is saved" in said
    assert no_lock_is_left(out)


@pytest.mark.soak
def test_a_second_signal_ends_without_saving(begin, tmp_path):
    out = tmp_path / "out"
    words = command(write_grid(tmp_path / "a.yaml"), out, *ENDLESS)[2:]
    started = halted(begin, "before a checkpoint", 3, words)
    started.process.send_signal(signal.SIGTERM)
    started.until("ending after this chunk")
    time.sleep(signals.REPEAT_SECONDS + 0.5)
    assert started.process.poll() is None
    assert "the last checkpoint is kept" in started.end(signal.SIGTERM)
    assert no_lock_is_left(out)


@pytest.mark.soak
def test_plans_measurements_and_figures_end_at_once(begin, tmp_path):
    config, out = write_grid(tmp_path / "a.yaml"), tmp_path / "out"
    assert train(config, out).returncode == 0
    kept = results(out)
    figures = [w for w in command(config, out)[2:] if w != "--no-figures"]
    for place, words in {
        "in a plan": [str(config), "--plan"],
        "in a measurement": ["--measure", str(out), "measurements=[{kind: pruning}]"],
        "before figures": figures,
    }.items():
        said = halted(begin, place, 1, words).end(signal.SIGTERM)
        assert said.count("\n") == 1, place
        assert no_lock_is_left(out)
    assert_same(kept, results(out))


def wait_for_a_checkpoint(out: Path) -> None:
    deadline = time.monotonic() + 60
    while not any(p.name.isdigit() for p in out.glob("groups/*/checkpoints/*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
