"""Grids, tasks and numbers that are too large: refused by counting, before anything is made of them."""

from __future__ import annotations

# ruff: noqa: E501 - a sentence is read as a whole
import pytest

from grokjax.driver import session
from grokjax.experiment import grid, rows
from grokjax.experiment.axes import expand_axes
from grokjax.experiment.places import Places
from grokjax.tasks import TASKS, unfit
from tests import test_bad_input

told = test_bad_input.told

# -- too much ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither tables nor runs."""
    monkeypatch.setattr(rows, "make_table", lambda _: pytest.fail("made a table"))
    monkeypatch.setattr(grid, "resolve", lambda *_: pytest.fail("made a run"))


@pytest.mark.usefixtures("nothing_is_made")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["axes.seed={range: 1000000}"], "axes.seed: has 1,000,000 values; use at most 200,000"),
        (["axes.seed={range: [0, 1000000000000000000000, 1]}"], "axes.seed: has about 10^21 values; use at most 200,000"),
        (["axes.optimizer.eps={linspace: [0, 1, 1000000000]}"], "axes.optimizer.eps: has 1,000,000,000 values; use at most 200,000"),
        (["axes.seed={range: 1000}", "axes.init_seed={range: 1000}"], "axes: would make 1,000,000 runs; use at most 200,000"),
        (["axes.seed={range: 1000}", "axes.init_seed={range: 1000}", "axes.split_seed={range: 1000}"], "axes: would make 1,000,000,000 runs; use at most 200,000"),
        (["task.p=4096"], "task.p: 4096 makes 16,777,216 rows of 4,096 numbers, 256.0 GiB in each evaluation; at most 16.0 GiB are available, and at most 100,000,000 rows are possible; use at most 1625"),
        (["axes.task.p=[4096]"], "axes.task.p: 4096 makes 16,777,216 rows of "),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_too_large_is_refused_before_it_is_made(
    told, monkeypatch: pytest.MonkeyPatch, words: list[str], sentence: str
) -> None:
    monkeypatch.setattr(session.devices, "memory_limit", lambda platform: 2**34)
    error = told(*words)
    assert sentence in error and "\n" not in error


@pytest.mark.usefixtures("nothing_is_made")
@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("n_test", 2**31, "must be below 2147483648, got 2147483648"),
        ("n_test", 2**31 - 1, "makes 2,147,484,647 rows of 41 numbers, "),
        ("n_train", 10**9, "makes 1,000,000,100 rows of 41 numbers, "),
        ("n_bits", 2**31 - 1, "makes 1,100 rows of 2,147,483,648 numbers, "),
        ("n_bits", 10**100, "must be below 2147483648, got 1000"),
    ],
)
def test_samples_that_are_too_large(
    told, monkeypatch: pytest.MonkeyPatch, setting: str, value: int, sentence: str
) -> None:
    monkeypatch.setattr(session.devices, "memory_limit", lambda platform: 2**34)
    words = ["task={kind: sparse_parity}", "split={kind: drawn}", "model={kind: perceptron}"]
    error = told(*words, f"task.{setting}={value}")
    assert f"task.{setting}: " in error and sentence in error and "\n" not in error


def test_grids_of_a_hundred_thousand_runs_are_allowed() -> None:
    axes = {"seed": {"range": 100_000}, "optimizer.eps": {"linspace": [1e-8, 1e-7, 2]}}
    assert len(expand_axes(axes, Places("x.yaml"))["seed"]) == 100_000


def test_what_would_be_right_is_right() -> None:
    modular = TASKS["modular"].settings
    for room in (2**31, 2**33, 2**36):
        error = unfit(modular(p=4096), lambda room=room: room)
        assert error is not None and error.name == "p"
        most = int(error.why.rpartition("at most ")[2].split()[0])
        assert unfit(modular(p=most), lambda room=room: room) is None
        assert unfit(modular(p=most + 1), lambda room=room: room) is not None


def test_ordinary_tasks_need_not_ask_for_the_memory() -> None:
    def ask() -> int:
        raise AssertionError("asked")

    assert unfit(TASKS["modular"].settings(p=499), ask) is None
    assert unfit(TASKS["permutation"].settings(group="S5"), ask) is None
    assert unfit(TASKS["sparse_parity"].settings(), ask) is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train.steps=1000000000000"], "train.steps: must be below 2147483648, got 1000000000000"),
        (["train.steps={epochs: 2147483647}", "train.batch_size=40", "train.eval_every={epochs: 2147483647}"], "train.steps: 6442450941 steps are too many; use at most 2147483647"),
        (["train.steps=2000000000", "train.eval_every=1"], "train.steps: 2000000000 steps would be evaluated 2,000,000,001 times, and at most 10,000,000 are possible; use a larger train.eval_every"),
        (["optimizer.warmup=2147483648"], "optimizer.warmup: must be below 2147483648, got 2147483648"),
        (["model={kind: mlp, hidden: [2147483648]}"], "model.hidden: must be below 2147483648, got 2147483648"),
        (["model={kind: mlp, hidden: [" + "8, " * 1000 + "8]}"], "model.hidden: must have at most 1000 entries, got [8, 8,"),
        (["name=" + "a" * 300], "name: must have at most 200 characters, got 'aaa"),
    ],
    ids=lambda words: str(words)[:30],
)  # fmt: skip
def test_numbers_that_no_device_counts_to(told, words: list[str], sentence: str) -> None:
    error = told(*words)
    assert sentence in error and "\n" not in error
