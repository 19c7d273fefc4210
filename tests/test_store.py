"""What is on disk are the arrays that were given, however these lie in memory."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file

from grokjax.results import pack_log
from grokjax.results.status import Progress
from grokjax.results.store import GroupStore
from grokjax.results.weights import save_weights
from grokjax.results.writer import Ended, StoreWriter

BASE = np.arange(24, dtype=np.float32).reshape(4, 6)
ARRAYS = {
    "plain": BASE,
    "transposed": BASE.T,
    "every other column": BASE[:, ::2],
    "one column": BASE[:, 1],
    "backwards": BASE[::-1],
    "scalar": np.float32(3.5),
    "of a scalar": np.array(7, np.int32),
}


def ended(run: str, weights=None, state=None, done=3, status="finished") -> Ended:
    values = np.arange(done, dtype=np.float32)[:, None] + ord(run[0])
    return Ended(run, Progress(status, done, -1), 10 * done, values, weights or {"w": BASE}, state)


def written(path, *rows: Ended) -> GroupStore:
    """The store after each of these runs was written in a file of its own."""
    writer = StoreWriter(GroupStore(path))
    for row in rows:
        writer.add_ended([row], ["loss"])
    return GroupStore(path)


@pytest.mark.parametrize("name", ARRAYS)
def test_weights_come_back_as_they_were(name, tmp_path):
    store = written(tmp_path, ended("a", {"w": np.asarray(ARRAYS[name])}))
    read = store.weights.read("a")["w"]
    np.testing.assert_array_equal(read, ARRAYS[name])
    assert read.shape == np.shape(ARRAYS[name]) and read.dtype == np.asarray(ARRAYS[name]).dtype


def test_states_come_back_in_order(tmp_path):
    leaves = [np.asarray(x) for x in ARRAYS.values()]
    store = written(tmp_path, ended("a", state=leaves, done=4), ended("b"))
    state = store.weights.state("a")
    assert state is not None and store.weights.state_evaluations("a") == 4
    for x, y in zip(state, ARRAYS.values(), strict=True):
        np.testing.assert_array_equal(x, y)
    assert store.weights.state("b") is None and store.weights.state_evaluations("b") == 0


def test_what_was_written_does_not_change_with_the_array(tmp_path):
    x = BASE.copy()
    store = written(tmp_path, ended("a", {"w": x}))
    x[:] = 0
    np.testing.assert_array_equal(store.weights.read("a")["w"], BASE)


def test_weights_of_one_run_are_exported_in_one_call(tmp_path):
    store = written(tmp_path / "x", ended("a"), ended("b", {"w": BASE + 1}))
    file = save_weights(store.weights, "b", tmp_path / "b.safetensors")
    np.testing.assert_array_equal(load_file(file)["w"], BASE + 1)


# -- many files become few ---------------------------------------------------------------------------------------------


def files_of(store: GroupStore) -> list[str]:
    return sorted(p.name for p in (store.directory / "ended").glob("*.safetensors"))


def test_many_small_packs_are_merged_and_nothing_changes(tmp_path):
    runs = [f"{letter}{i}" for letter in "abcdefgh" for i in range(8)]
    kept = {r: [np.full(2, i)] if i % 3 == 0 else None for i, r in enumerate(runs)}
    rows = [
        ended(r, {"w": np.full((2, 2), i, np.float32)}, kept[r], done=1 + i % 4)
        for i, r in enumerate(runs)
    ]
    store = written(tmp_path, *rows)
    assert len(files_of(store)) < 40, "32 small ones were merged"
    StoreWriter(store).finish()
    store = GroupStore(tmp_path)
    assert len(files_of(store)) <= 2 and not store.ended.losses  # with a state, and without one
    for row, state in zip(rows, kept.values(), strict=True):
        assert store.progress(row.run) == row.progress
        np.testing.assert_array_equal(store.read(row.run, ["loss"], len(row.values)), row.values)
        np.testing.assert_array_equal(store.weights.read(row.run)["w"], row.weights["w"])
        back = store.weights.state(row.run)
        assert (back is None) == (state is None) and (state is None or (back[0] == state[0]).all())


def test_of_several_results_of_a_run_the_newest_counts_also_when_merged(tmp_path):
    store = written(tmp_path, ended("a", done=2), ended("b"), ended("a", {"w": BASE + 5}, done=5))
    for merged in (False, True):
        if merged:
            StoreWriter(store).finish()
            store = GroupStore(tmp_path)
            assert len(files_of(store)) == 1
        assert store.progress("a").evaluations_done == 5
        np.testing.assert_array_equal(store.weights.read("a")["w"], BASE + 5)
        assert store.read("a", ["loss"], 5)[4, 0] == 4 + ord("a")


def test_packs_of_other_columns_are_not_merged_with_each_other(tmp_path):
    store = written(tmp_path, ended("a"), ended("b"))
    writer = StoreWriter(store)
    for run in "cd":
        writer.add_ended([ended(run)], ["accuracy"])
    writer.finish()
    store = GroupStore(tmp_path)
    assert len(files_of(store)) == 2
    assert np.isnan(store.read("a", ["accuracy"], 3)).all()
    assert store.read("c", ["loss", "accuracy"], 3)[2, 1] == 2 + ord("c")


def test_large_packs_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("grokjax.results.merging.SMALL_BYTES", 10)
    store = written(tmp_path, ended("a"), ended("b"))
    StoreWriter(store).finish()
    assert len(files_of(store)) == 2


def test_merged_packs_have_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("grokjax.results.merging.MOST_BYTES", 250)  # two of 96 + 12 bytes
    store = written(tmp_path, *(ended(run) for run in "abcde"))
    StoreWriter(store).finish()
    assert len(files_of(store)) == 3 and GroupStore(tmp_path).progress("e").status == "finished"


def test_a_reader_that_comes_while_packs_are_merged_misses_nothing(tmp_path, monkeypatch):
    """Its log is of before, the files are of after."""
    store = written(tmp_path, ended("a"), ended("b"))
    real, calls = pack_log.PackLog.read, []

    def read_and_merge(log):
        real(log)
        if log.path.parent.name == "ended" and not calls:
            calls.append(1)
            StoreWriter(store).finish()

    monkeypatch.setattr(pack_log.PackLog, "read", read_and_merge)
    late = GroupStore(tmp_path)
    assert calls and not late.ended.losses
    assert [late.progress(run).status for run in "ab"] == ["finished"] * 2


def test_snapshots_of_a_run_have_their_steps(tmp_path):
    writer = StoreWriter(GroupStore(tmp_path))
    for step in (10, 20):
        writer.add_snapshots([(run, step, {"w": BASE + step + ord(run)}) for run in "ab"])
    writer.finish()
    store = GroupStore(tmp_path)
    assert store.weights.snapshots("a") == [10, 20] and store.weights.snapshots("c") == []
    np.testing.assert_array_equal(store.weights.read("b", 20)["w"], BASE + 20 + ord("b"))
    with pytest.raises(KeyError):
        store.weights.read("b", 30)


def test_packs_are_not_merged_if_their_weights_differ_in_shape(tmp_path):
    store = written(tmp_path, ended("a"), ended("b", {"w": BASE[:2]}))
    StoreWriter(store).finish()
    store = GroupStore(tmp_path)
    assert len(files_of(store)) == 2 and not store.ended.losses
    np.testing.assert_array_equal(store.weights.read("b")["w"], BASE[:2])


def test_what_has_no_elements_comes_back(tmp_path):
    """A checkpoint can come when no run is in training; a run can end without a value."""
    store = written(tmp_path, ended("a", done=0), ended("b"))
    StoreWriter(store).write_running([], ["loss"])
    store = GroupStore(tmp_path)
    store.check_all()
    assert not store.running.losses and not store.ended.losses
    assert store.read("a", ["loss"], 0).shape == (0, 1)
    StoreWriter(store).finish()
    assert GroupStore(tmp_path).progress("a") == Progress("finished", 0, -1)
