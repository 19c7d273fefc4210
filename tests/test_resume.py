"""Killed at any moment, the same command again gives the bits of an uninterrupted run. Real processes."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from grokjax.results.store import GroupStore
from tests.crash import POINTS
from tests.harness import ROOT, assert_same, command, environment, results, start, train, write_grid

KILLED = -signal.SIGKILL


def also_in_soak(*values):
    marked = ((v if isinstance(v, tuple) else (v,)) for v in values)
    return [pytest.param(*value, marks=pytest.mark.soak) for value in marked]


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    # Two batches a epoch, the last one of 14 rows: order, masks and epochs are part of what must resume.
    return write_grid(
        tmp_path_factory.mktemp("config") / "small.yaml",
        batch=15,
        steps=72,
        snapshots=3,
        level=0.2,
        seeds=2,
    )


@pytest.fixture(scope="module")
def expected(config, tmp_path_factory) -> dict:
    out = tmp_path_factory.mktemp("whole") / "out"
    done = train(config, out)
    assert done.returncode == 0, done.stderr
    found = results(out)
    assert len(found) == 6
    assert {str(r["status"]) for r in found.values()} == {"finished", "stopped"}
    assert all("W_E@0" in r and "W_E@12" in r for r in found.values())
    return found


def crash(point: str, count: int, config: Path, out: Path) -> int:
    words = command(config, out)[2:]
    return subprocess.run(
        [sys.executable, str(ROOT / "tests" / "crash.py"), point, str(count), *words],
        env=environment(), capture_output=True, timeout=300, cwd=ROOT,
    ).returncode  # fmt: skip


def finish(config: Path, out: Path, expected: dict) -> str:
    done = train(config, out)
    assert done.returncode == 0, done.stderr
    assert_same(expected, results(out))
    return done.stderr


def crash_and_finish(point: str, count: int, config: Path, out: Path, expected: dict) -> None:
    assert crash(point, count, config, out) == KILLED, f"{point} was never reached {count} times"
    finish(config, out, expected)


@pytest.mark.parametrize("count", also_in_soak(1, 2))
def test_killed_after_a_state_was_kept_and_before_any_checkpoint(count, tmp_path):
    """The kept state is of the whole budget; without the run's status it must not be gone on from."""
    config = write_grid(tmp_path / "small.yaml", level=1.0, every=60)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(config, whole).returncode == 0
    expected = results(whole)
    assert {str(r["status"]) for r in expected.values()} == {"finished"}
    crash_and_finish("after the runs that ended", count, config, parts, expected)


VISITS = {
    **{point: [(point, 1), (point, 2)] for point in POINTS},
    "after an admission": [("after an admission", 1)],
    "after packs were merged": [("after packs were merged", 1)],
    "after a restore": [("after a save", 1), ("after a restore", 1)],
}
"""The points, and their visits, at which one start after the other is killed."""


@pytest.mark.soak
@pytest.mark.parametrize("point", sorted(POINTS))
def test_killed_at_every_named_point_of_one_start_after_the_other(
    point, config, expected, tmp_path
):
    out = tmp_path / "out"
    for name, count in VISITS[point]:
        assert crash(name, count, config, out) == KILLED, f"{name} was not reached {count} times"
    finish(config, out, expected)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(4))
def test_killed_again_and_again_at_random_moments(seed, config, expected, tmp_path):
    """Six kills a seed, early or late in what is left to do; a grid that got finished is begun anew."""
    moments, kills, grids = random.Random(seed), 0, 1
    while kills < 6:
        out = tmp_path / str(grids)
        process = start(config, out)
        try:
            process.communicate(timeout=moments.uniform(1.5, 6.0))
            assert_same(expected, results(out))
            grids += 1
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
    finish(config, tmp_path / str(grids), expected)


def newest_step(out: Path) -> Path:
    (group,) = (out / "groups").iterdir()
    steps = [p for p in (group / "checkpoints").iterdir() if p.name.isdigit()]
    return max(steps, key=lambda p: int(p.name))


def flip_a_byte(step: Path) -> None:
    """In the middle of the largest data file."""
    victim = max((p for p in step.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 0x10
    victim.write_bytes(bytes(data))


@pytest.mark.soak
def test_a_flipped_byte_is_noticed_and_later_saves_still_work(config, expected, tmp_path):
    out = tmp_path / "out"
    assert crash("after a save", 4, config, out) == KILLED
    broken = newest_step(out)
    flip_a_byte(broken)
    # Trains on past that step, saves again, and is killed again.
    assert crash("after a save", 6, config, out) == KILLED
    rejected = list(broken.parent.parent.glob("rejected/*"))
    assert [p.name for p in rejected] == [f"checkpoints-{broken.name}"]
    assert int(newest_step(out).name) > int(broken.name)
    finish(config, out, expected)


@pytest.mark.soak
def test_an_empty_or_truncated_step_is_passed_over(config, expected, tmp_path):
    out = tmp_path / "out"
    assert crash("after a save", 4, config, out) == KILLED
    last = newest_step(out)
    (last.parent / str(int(last.name) + 50)).mkdir()
    said = finish(config, out, expected)
    assert f"checkpoint {int(last.name) + 50} is damaged" in said


@pytest.mark.soak
@pytest.mark.parametrize("number", [signal.SIGTERM, *also_in_soak(signal.SIGINT, signal.SIGUSR1)])
def test_a_signal_saves_and_says_how_to_go_on(number, config, expected, tmp_path):
    out = tmp_path / "out"
    process = start(config, out, "train.steps=40000", "train.stop=null")
    deadline = time.monotonic() + 120
    while not list(out.glob("groups/*/checkpoints/[0-9]*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    began = time.monotonic()
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 75, said
    assert time.monotonic() - began < 30
    again = said.rpartition("Continue with: ")[2].split()
    assert again[2:] == command(config, out, "train.steps=40000", "train.stop=null")[2:]
    assert newest_step(out)


@pytest.mark.parametrize(("before", "after"), also_in_soak((4, 1), (1, 4)))
def test_saved_with_some_devices_resumes_with_others(before, after, config, tmp_path):
    """The restored state is exact; what follows differs only by rounding, and it says so."""
    out = tmp_path / "out"
    saved = command(config, out, f"execution.devices={before}", f"execution.slots={2 * before}")[2:]
    words = [sys.executable, str(ROOT / "tests" / "crash.py"), "after a save", "3", *saved]
    done = subprocess.run(words, env=environment(), capture_output=True, timeout=300, cwd=ROOT)
    assert done.returncode == KILLED
    so_far = results_so_far(out)
    assert any(n > 0 for n, _ in so_far.values())
    said = train(config, out, f"execution.devices={after}", f"execution.slots={2 * after}")
    assert said.returncode == 0, said.stderr
    assert "can differ in the last bits" in said.stderr
    found = results(out)
    for run, (n, values) in so_far.items():
        np.testing.assert_array_equal(found[run]["values"][:n], values[:n])
    starts = [json.loads(line) for line in (out / "provenance.jsonl").read_text().splitlines()]
    assert [s["devices"].split()[0] for s in starts] == [str(before), str(after)]


def results_so_far(out: Path) -> dict:
    """Rows that the checkpoint covers, by run."""
    (group,) = (out / "groups").iterdir()
    store = GroupStore(group)
    names = store.admissions[-1][1].names
    done = {run: store.progress(run).evaluations_done for run in store.runs}
    return {run: (n, store.read(run, names, n)) for run, n in done.items()}


@pytest.mark.soak
def test_interventions_and_accumulators_survive_kills_and_larger_budgets(tmp_path):
    config = write_grid(tmp_path / "small.yaml", batch=15, steps=80, level=0.99, seeds=2)
    when = "{kind: memorised, level: 0.3, wait: 2}"
    config.write_text(
        f"{config.read_text()}  intervention.armed: [false, true]\n"
        f"intervention: {{kind: add_noise, std: 0.3, when: {when}}}\n"
        "probes: [{kind: update_speed}, {kind: feature_change, every: 2}]\n"
    )
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(config, whole).returncode == 0
    expected = results(whole)
    (group,) = (whole / "groups").iterdir()
    column = GroupStore(group).admissions[0][1].names.index("intervened_at")
    fired = np.array([run["values"][-1, column] for run in expected.values()])
    assert np.isnan(fired).sum() >= 6 and np.isfinite(fired).any()
    assert train(config, parts, "train.steps=16").returncode == 0
    assert crash("after the runs that ended", 2, config, parts) == KILLED
    finish(config, parts, expected)
