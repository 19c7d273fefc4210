"""Programs compiled ahead, and runs moved together at the end of a group."""

from __future__ import annotations

import threading
import time

import pytest

from grokjax.driver import session
from grokjax.driver.trainer import GroupTrainer, Interrupted
from grokjax.engine import devices
from grokjax.engine.compile_ahead import compiling_ahead
from grokjax.engine.program import Program
from grokjax.engine.slots import Slots
from grokjax.experiment.config import Execution
from grokjax.experiment.grid import make_groups, make_runs
from grokjax.experiment.loading import load_experiment, load_with_places
from grokjax.results.store import GroupStore
from tests.harness import assert_same, results, write_grid


def run(config, out, *overrides):
    experiment, places = load_with_places(config, [*overrides, f"execution.out={out}"])
    session.run_experiment(experiment, places=places, display=lambda tally: None)
    return results(out)


@pytest.mark.soak
def test_a_program_compiled_ahead_is_not_compiled_again(tmp_path):
    config = write_grid(tmp_path / "a.yaml", every=60)
    (group,) = make_groups(make_runs(load_experiment(config)))
    execution = Execution(slots=4, tile=2, devices=2)
    with compiling_ahead(execution, devices.make_mesh(2), enabled=True) as ahead:
        ahead.begin(group)
        program = ahead.program(group)
        assert program.traces == 1
        store = GroupStore(tmp_path / "out" / "groups" / group.hash)
        tally = GroupTrainer(group, store, execution, program).train()
    assert program.traces == 1 and tally.run_steps > 0
    assert_same(run(config, tmp_path / "plain"), results(tmp_path / "out"))


def test_what_has_not_begun_is_dropped_at_the_end(tmp_path, monkeypatch):
    config = write_grid(tmp_path / "a.yaml")
    (group,) = make_groups(make_runs(load_experiment(config)))
    begun, go_on = [], threading.Event()
    monkeypatch.setattr(Program, "compile", lambda self: (begun.append(self), go_on.wait(20)))
    with compiling_ahead(Execution(slots=4, tile=2), devices.make_mesh(2), enabled=True) as ahead:
        for _ in range(3):
            ahead.begin(group)
        while not begun:
            threading.Event().wait(0.01)
        threading.Timer(0.2, go_on.set).start()
    assert len(begun) == 1


def test_nothing_is_compiled_ahead_on_cpu(tmp_path, monkeypatch):
    config = write_grid(tmp_path / "a.yaml")
    (group,) = make_groups(make_runs(load_experiment(config)))
    monkeypatch.setattr(Program, "compile", lambda self: pytest.fail("compiled ahead"))
    with compiling_ahead(Execution(slots=4, tile=2), devices.make_mesh(2)) as ahead:
        ahead.begin(group)
        assert ahead.program(group).traces == 0


@pytest.mark.soak
def test_compaction_moves_runs_and_changes_no_bit(tmp_path, monkeypatch):
    """Nine runs of very different lengths, all in slots from the start: as they end, the rest is shared out anew."""
    config = write_grid(tmp_path / "a.yaml", every=60, steps=160)
    wide = ("execution.slots=12", "execution.tile=1", "execution.devices=4")
    moves, real = [], Slots.move
    monkeypatch.setattr(Slots, "compaction", lambda self: {})
    expected = run(config, tmp_path / "still", *wide)
    monkeypatch.undo()
    monkeypatch.setattr(Slots, "move", lambda self, a, b: (moves.append((a, b)), real(self, a, b)))
    found = run(config, tmp_path / "moved", *wide)
    assert moves
    assert_same(expected, found)


def test_an_interruption_does_not_wait_for_a_program_compiled_ahead(tmp_path, monkeypatch):
    config = write_grid(tmp_path / "a.yaml")
    (group,) = make_groups(make_runs(load_experiment(config)))
    begun, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(Program, "compile", lambda self: (begun.set(), go_on.wait(60)))
    began = time.monotonic()
    try:
        with (
            pytest.raises(Interrupted),
            compiling_ahead(
                Execution(slots=4, tile=2), devices.make_mesh(2), enabled=True
            ) as ahead,
        ):
            ahead.begin(group)
            assert begun.wait(50)
            began = time.monotonic()
            raise Interrupted
        assert time.monotonic() - began < 5
    finally:
        go_on.set()
