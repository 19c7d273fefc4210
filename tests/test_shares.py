"""How an experiment is divided, what a coordinator does with workers, and what becomes of their results."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
from grokjax.cluster import coordinator as module
from grokjax.cluster.coordinator import Coordinator
from grokjax.cluster.division import GroupPlan, divide, kept_shares, new_shares, share_size
from grokjax.cluster.placements import FROZEN_SECONDS
from grokjax.cluster.process import KILL, STOP, Outcome, Task
from grokjax.cluster.schedulers import Worker
from grokjax.driver.share_session import part_of
from grokjax.experiment.grid import Group, Run, make_runs
from grokjax.experiment.loading import load_with_places
from grokjax.experiment.places import ConfigError
from grokjax.results.collecting import copy_runs, remove_collected
from grokjax.results.running import Running, write_running
from grokjax.results.shares import Share, claimed, folder, read_share, write_share
from grokjax.results.store import GroupStore
from grokjax.results.writer import StoreWriter
from tests import synthetic
from tests.harness import ROOT
from tests.synthetic import Row, grid, write_store

# -- which runs are a share ----------------------------------------------------------------------------------------


@functools.cache
def grid_of(n: int) -> tuple[Run, ...]:
    words = ["axes.seed={range: 70}", "axes.optimizer.weight_decay=[0.1, 1, 4]"]
    experiment, places = load_with_places(ROOT / "configs" / "quickstart.yaml", words)
    return tuple(make_runs(experiment, places)[:n])


def some_runs(n: int) -> list[Run]:
    return list(grid_of(1000)[:n])


@settings(deadline=None)
@given(n=st.integers(1, 200), tiles=st.integers(1, 9), step=st.integers(1, 16))
def test_shares_are_whole_tiles_and_have_every_run_once(n: int, tiles: int, step: int) -> None:
    runs, size = some_runs(n), tiles * step
    parts = divide(runs, size, step)
    assert sorted(r.id for part in parts for r in part) == sorted(r.id for r in runs)
    assert all(0 < len(part) <= size for part in parts)
    assert sum(len(part) % step > 0 for part in parts) <= 1, "only the last tile is not full"
    assert max(map(len, parts)) - min(map(len, parts)) < 2 * step


def test_the_size_of_a_share() -> None:
    group = Group("g", tuple(some_runs(1000)))
    slow = GroupPlan(
        tile=4, devices=2, seconds=1000 * 30.0
    )  # ten minutes: 20 runs, 16 in whole tiles
    assert share_size(slow, group, 1000, 3, None) == 16
    assert share_size(slow._replace(seconds=1e6), group, 1000, 3, None) == 8, "at least one tile"
    assert share_size(slow, group, 30, 4, None) == 8, "every worker has some"
    assert share_size(slow, group, 1000, 3, 17) == 24, "what is asked for, in whole tiles"


def test_an_earlier_start_s_shares_keep_the_runs_that_are_left() -> None:
    plans = {"g": GroupPlan(2, 1, 60.0), "h": GroupPlan(4, 1, 60.0)}
    old = [
        Share("a", "g", ("1", "2"), 2, 1),
        Share("b", "g", ("2", "3"), 2, 1),
        Share("c", "g", ("4",), 2, 1),
        Share("d", "h", ("5",), 2, 1),
        Share("e", "gone", ("6",), 2, 1),
    ]
    kept = kept_shares(old, {"g": {"2", "3"}, "h": {"5"}}, plans)
    assert [(s.name, s.runs) for s in kept] == [("a", ("2",)), ("b", ("3",))]


def test_new_shares_have_names_of_their_own() -> None:
    group = Group("0123456789ab", tuple(some_runs(6)))
    made = new_shares(group, some_runs(6), 2, GroupPlan(2, 1, 1.0), ["01234567-001"])
    assert [s.name for s in made] == ["01234567-000", "01234567-002", "01234567-003"]


@pytest.mark.parametrize("word", ["3/3", "-1/2", "1/", "/2", "a/b", "1/2/3", "0/0", "1.0/2"])
def test_parts_that_are_none(word: str) -> None:
    with pytest.raises(ConfigError, match="must be I/N"):
        part_of(word)


def test_parts() -> None:
    assert part_of("0/1") == (0, 1) and part_of("7/8") == (7, 8) and part_of("abc-001") is None


# -- whose directory ------------------------------------------------------------------------------------------------


def test_a_worker_goes_on_where_its_share_was_unless_somebody_may_still_be_there(tmp_path) -> None:
    with claimed(tmp_path, "a") as first:
        assert first.name == "0"
        with claimed(tmp_path, "a") as second:
            assert second.name == "1"
    with claimed(tmp_path, "a") as again:
        assert again == second
    # A machine that was lost: whether its worker still writes cannot be known here.
    note = {"host": "another", "pid": 1, "since": "then"}
    (second / ".lock.json").write_text(json.dumps(note))
    with claimed(tmp_path, "a") as third:
        assert third.name == "2"
    assert json.loads((second / ".lock.json").read_text()) == note


def test_a_share_that_is_not_there_or_damaged_is_one_sentence(tmp_path) -> None:
    share = Share("a", "g", ("1", "2"), 2, 1)
    with pytest.raises(ConfigError, match="file system that all machines share"):
        read_share(tmp_path, "a")
    write_share(tmp_path, share)
    assert read_share(tmp_path, "a") == share
    (folder(tmp_path) / "a" / "share.json").write_text('{"name": "a"')
    with pytest.raises(ConfigError, match="is damaged"):
        read_share(tmp_path, "a")


# -- results --------------------------------------------------------------------------------------------------------

POINTS = grid({"optimizer.weight_decay": [0.1, 1.0], "seed": [0, 1, 2]})
STEP = np.arange(0, 401, 100)


def made_up_row(point: dict[str, Any], evaluations: int, status: str = "finished") -> Row:
    values = np.random.default_rng(point["seed"]).random((len(STEP), 4)).astype(np.float32)
    weights = {"W": values[:, :2] * point["optimizer.weight_decay"]}
    return Row(point, values[:evaluations], status, weights=weights)


def ids(rows: Iterable[Row]) -> list[str]:
    return [synthetic.run_id(row.point) for row in rows]


def test_what_workers_wrote_is_read_from_where_it_is_furthest(tmp_path) -> None:
    """Three workers have the same group: one is behind, one is far, one has ended."""
    whole = [made_up_row(p, 5) for p in POINTS]
    behind = [made_up_row(p, 2, "running") for p in POINTS]
    far = [made_up_row(p, 4, "running") for p in POINTS[2:]]
    axes = {"optimizer.weight_decay": [0.1, 1.0], "seed": [0, 1, 2]}
    synthetic.write_settings(tmp_path, axes, budget=400)
    for i, rows in enumerate((behind, far, whole[3:])):
        write_store(tmp_path / "shares" / "a" / str(i) / "groups" / "g", rows, STEP)
    dataset = analysis.load(tmp_path)
    done = dict(zip(dataset["id"].values.tolist(), dataset["evaluations_done"].values, strict=True))
    assert [done[i] for i in ids(whole)] == [2, 2, 4, 5, 5, 5]
    for row, run in zip(whole, ids(whole), strict=True):
        (place,) = np.flatnonzero(dataset["id"].values == run)
        read = dataset["value"].values[place, : done[run]]
        np.testing.assert_array_equal(read, row.value[: done[run]])


def test_runs_are_copied_with_all_that_is_kept_of_them_and_only_once(tmp_path) -> None:
    rows = [made_up_row(p, 5) for p in POINTS]
    write_store(tmp_path / "there", rows, STEP)
    taken = [(i, 100, row.weights) for i, row in zip(ids(rows), rows, strict=True)]
    StoreWriter(GroupStore(tmp_path / "there")).add_snapshots(taken)
    write_store(tmp_path / "here", [made_up_row(p, 1, "running") for p in POINTS], STEP)
    writer = StoreWriter(GroupStore(tmp_path / "here"))
    wanted = ids(rows)[1:4]
    assert copy_runs(GroupStore(tmp_path / "there"), writer, wanted) == wanted
    assert copy_runs(GroupStore(tmp_path / "there"), writer, wanted) == []
    here = GroupStore(tmp_path / "here")
    here.check_all()
    assert not here.losses and len(here.snapshots.newest) == 3
    for run, row in zip(wanted, rows[1:4], strict=True):
        np.testing.assert_array_equal(here.read(run, synthetic.PROBES, 5), row.value)
        np.testing.assert_array_equal(here.weights.read(run)["W"], row.weights["W"])
        np.testing.assert_array_equal(here.weights.read(run, 100)["W"], row.weights["W"])
    assert here.ended.find(ids(rows)[0]) is None


def test_a_damaged_row_of_a_worker_is_left_behind(tmp_path) -> None:
    rows = [made_up_row(p, 5) for p in POINTS[:2]]
    write_store(tmp_path / "there", rows, STEP)
    (pack,) = (tmp_path / "there" / "ended").glob("*.safetensors")
    data = bytearray(pack.read_bytes())
    at = data.index(rows[1].weights["W"].tobytes())
    data[at] ^= 1
    pack.write_bytes(data)
    writer, there = StoreWriter(GroupStore(tmp_path / "here")), GroupStore(tmp_path / "there")
    assert copy_runs(there, writer, ids(rows)) == ids(rows)[:1]
    assert [loss.runs for loss in there.losses] == [(ids(rows)[1],)]


def test_directories_go_when_everything_is_collected(tmp_path) -> None:
    ended = [made_up_row(p, 5) for p in POINTS]
    write_store(tmp_path / "groups" / "g", [*ended[:3], made_up_row(POINTS[3], 1, "running")], STEP)
    for name, rows in (("a", ended[:2]), ("b", ended[2:4])):
        write_store(tmp_path / "shares" / name / "0" / "groups" / "g", rows, STEP)
    remove_collected(tmp_path)
    assert [d.name for d in (tmp_path / "shares").iterdir()] == ["b"]
    copy_runs(
        GroupStore(tmp_path / "shares/b/0/groups/g"),
        StoreWriter(GroupStore(tmp_path / "groups" / "g")),
        ids(ended),
    )
    remove_collected(tmp_path)
    assert not (tmp_path / "shares").exists()


def test_histories_of_runs_in_training_are_taken_with_what_they_have(tmp_path) -> None:
    def values(n: int, fill: float) -> np.ndarray:
        return np.full((n, 2), fill, np.float32)

    own, other = tmp_path / "own", tmp_path / "other"
    write_running(own, [("a", 2, values(2, 1)), ("b", 3, values(3, 2))], ["x", "y"])
    write_running(other, [("c", 5, values(5, 3)), ("b", 4, values(4, 4))], ["x", "y"])
    running = Running(own)
    running.take(["b", "c"], Running(other))
    assert [running.evaluations(r) for r in "abc"] == [2, 4, 5]
    for run, (n, fill) in {"a": (2, 1), "b": (4, 4), "c": (5, 3)}.items():
        np.testing.assert_array_equal(running.values[running.row[run], :n], values(n, fill))
    empty = Running(tmp_path / "none")
    empty.take(["c"], Running(other))
    assert empty.evaluations("c") == 5 and empty.names == ["x", "y"]


# -- the coordinator ------------------------------------------------------------------------------------------------


class Told:
    """A scheduler that does what the test says."""

    worker = Worker(0, 1)

    def __init__(self) -> None:
        self.tasks: list[str] = []
        self.outcomes: list[Outcome] = []
        self.forgotten: list[str] = []
        self.most = 2

    def submit(self, tasks: list[Task]) -> None:
        self.tasks += [task.name for task in tasks]

    def ended(self) -> list[Outcome]:
        ended, self.outcomes = self.outcomes, []
        return ended

    def forget(self, name: str) -> None:
        self.forgotten.append(name)

    def most_workers(self) -> int:
        return self.most

    def check_shared(self, path: Path) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


class Cluster:
    """A coordinator with two shares of four runs on a scheduler that is told what happens."""

    def __init__(self, path: Path):
        self.path, self.scheduler = path, Told()
        runs = {run.id: run for run in some_runs(8)}
        task = Task("", [], "", "", "")
        self.coordinator = Coordinator(
            path,
            self.scheduler,
            lambda name: task._replace(name=name),
            runs,
            retries=2,  # type: ignore[arg-type]
        )
        names = list(runs)
        self.shares = [
            Share(n, "g", tuple(names[i : i + 4]), 1, 1) for n, i in (("a", 0), ("b", 4))
        ]
        self.coordinator.place(self.shares)

    def end(self, name: str, code: int | None) -> None:
        self.scheduler.outcomes.append(Outcome(name, code, "host"))
        self.coordinator.step()

    def say(self, name: str, beat: int, **tally: Any) -> None:
        directory = folder(self.path) / name / "0"
        directory.mkdir(parents=True, exist_ok=True)
        facts = {"beat": beat, "host": "host", "tally": tally}
        (directory / "progress.json").write_text(json.dumps(facts))

    def asked(self, name: str) -> str | None:
        file = folder(self.path) / name / "stop"
        return file.read_text() if file.exists() else None


def test_exit_75_is_scheduled_again_and_success_is_not(tmp_path, clock) -> None:
    cluster = Cluster(tmp_path)
    cluster.end("a", 75)
    cluster.end("b", 0)
    assert cluster.scheduler.tasks == ["a", "b", "a"]
    assert list(cluster.coordinator.placed) == ["a"]


@pytest.mark.parametrize("code", [-9, 1, None])
def test_dead_workers_are_placed_again_until_they_get_no_further(tmp_path, clock, code) -> None:
    cluster = Cluster(tmp_path)
    for _ in range(2):
        cluster.end("a", code)
        assert "a" in cluster.coordinator.placed and not cluster.coordinator.failed
    cluster.end("a", code)
    (sentence,) = cluster.coordinator.failed
    assert "a" not in cluster.coordinator.placed
    assert (
        sentence.startswith("share a: its worker ")
        and "3 times without getting further" in sentence
    )


def test_a_worker_that_gets_further_may_die_often(tmp_path, clock) -> None:
    cluster = Cluster(tmp_path)
    for beat in range(9):
        cluster.say("a", beat, steps_left=100 - beat)
        cluster.coordinator.step()
        cluster.end("a", -9)
    assert "a" in cluster.coordinator.placed and not cluster.coordinator.failed


def test_a_mistake_is_not_tried_again(tmp_path, clock) -> None:
    cluster = Cluster(tmp_path)
    (folder(tmp_path) / "a" / "log").write_text("something\nx: the disk is full\n")
    cluster.end("a", 2)
    cluster.scheduler.outcomes.append(Outcome("b", 2, "x: is not there on host"))
    cluster.coordinator.step()
    assert cluster.coordinator.failed == [
        "share a on host: x: the disk is full",
        "share b: x: is not there on host",
    ]
    assert cluster.scheduler.tasks == ["a", "b"]


def test_a_frozen_worker_is_killed_and_where_that_fails_its_share_is_placed_beside_it(
    tmp_path, clock
) -> None:
    cluster = Cluster(tmp_path)
    cluster.say("a", 1)
    cluster.coordinator.step()
    clock[0] += FROZEN_SECONDS - 1
    cluster.coordinator.step()
    assert cluster.asked("a") is None
    clock[0] += 2
    cluster.coordinator.step()
    assert cluster.asked("a") == KILL
    assert cluster.asked("b") is None, "it has not started, and may wait for a machine for days"
    clock[0] += module.UNREACHABLE_SECONDS + 1
    cluster.coordinator.step()
    assert cluster.scheduler.forgotten == ["a"] and cluster.scheduler.tasks == ["a", "b", "a"]
    assert cluster.asked("a") is None, "the new worker is not asked to end"


def test_a_worker_whose_clock_jumps_is_alive(tmp_path, clock) -> None:
    cluster = Cluster(tmp_path)
    for beat in range(10):
        cluster.say("a", -1000 * beat)
        clock[0] += FROZEN_SECONDS - 1
        cluster.coordinator.step()
    assert cluster.asked("a") is None


def test_when_workers_are_free_the_slowest_share_is_divided(tmp_path, clock) -> None:
    cluster = Cluster(tmp_path)
    cluster.scheduler.most = 3
    slow = {"run_steps": 10, "train_seconds": 10.0, "steps_left": 500, "running": 1, "waiting": 3}
    cluster.say("a", 1, **slow)
    cluster.coordinator.step()
    assert cluster.asked("a") is None, "b has not begun"
    cluster.say("b", 1, **(slow | {"steps_left": 130}))
    cluster.coordinator.step()
    assert (cluster.asked("a"), cluster.asked("b")) == (STOP, None)
    cluster.end("a", 75)
    parts = [p.share for n, p in cluster.coordinator.placed.items() if n != "b"]
    assert [len(p.runs) for p in parts] == [2, 2]
    assert sorted(r for p in parts for r in p.runs) == sorted(cluster.shares[0].runs)


def test_nothing_is_moved_for_seconds(tmp_path, clock) -> None:
    cluster = Cluster(tmp_path)
    cluster.scheduler.most = 3
    quick = {"run_steps": 10, "train_seconds": 1.0, "steps_left": 500, "running": 1, "waiting": 3}
    for name in "ab":
        cluster.say(name, 1, **quick)
    cluster.coordinator.step()
    assert cluster.asked("a") is None and cluster.asked("b") is None


def test_a_stop_asks_all_and_takes_back_what_waits(tmp_path, clock) -> None:
    cluster = Cluster(tmp_path)
    cluster.say("a", 1)
    cluster.coordinator.step()
    cluster.coordinator.stop()
    assert cluster.asked("a") == cluster.asked("b") == STOP
    clock[0] += module.UNREACHABLE_SECONDS + 1
    cluster.coordinator.step()
    assert cluster.scheduler.forgotten == ["b"] and list(cluster.coordinator.placed) == ["a"]
    cluster.end("a", 75)
    assert not cluster.coordinator.placed and cluster.scheduler.tasks == ["a", "b"]
