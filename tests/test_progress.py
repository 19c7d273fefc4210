"""What a user sees while a grid trains: the table rendered to text, and the log lines."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from grokjax.driver.progress import MOST_ROWS, Display
from grokjax.driver.tally import LEVEL, Tally, level_of
from grokjax.experiment.config import Experiment
from grokjax.experiment.grid import Group, make_groups, make_runs
from grokjax.training import costs

EXPERIMENT = {
    "name": "x",
    "task": {"kind": "modular", "p": 5},
    "split": {"kind": "random"},
    "model": {"kind": "transformer", "d_model": 8, "n_heads": 2, "d_mlp": 8},
    "optimizer": {"kind": "adamw", "weight_decay": 1.0},
    "train": {"steps": 1000, "eval_every": 100},
}


def groups_of(axes: dict, **changes) -> list[Group]:
    return make_groups(
        make_runs(Experiment.model_validate({**EXPERIMENT, **changes, "axes": axes}))
    )


TWO = groups_of({"task.operation": ["x+y", "x*y"], "model.n_layers": [2], "seed": [0, 1, 2, 3]})
MANY = groups_of({"task.p": [*range(5, 22)], "seed": [0]})


def tally(group: str = "abcdef123456", **facts) -> Tally:
    base = {"n_runs": 10, "running": 4, "waiting": 3, "memorised": 6, "grokked": 2, "evaluations": 77,
            "run_steps": 5000, "train_seconds": 10.0, "steps_left": 60_000,
            "done": {"finished": 1, "stopped": 1, "diverged": 1}}  # fmt: skip
    return Tally(group, **{**base, **facts})


@pytest.fixture
def display():
    return Display([Group("abcdef123456", ())])


def lines_of(display: Display, caplog, *tallies: Tally) -> list[str]:
    display.interactive = False
    with caplog.at_level(logging.INFO, "grokjax"):
        for one in tallies:
            display(one)
    return caplog.messages


def text_of(display: Display) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(display.table())
    return console.file.getvalue()


def rows_of(display: Display) -> list[dict[str, str]]:
    """The table as a person reads it: heading -> cell, for each row below the headings."""
    lines = [
        [cell.strip() for cell in line.strip("┃│").replace("┃", "│").split("│")]
        for line in text_of(display).splitlines()
        if line.startswith(("┃", "│"))
    ]
    return [dict(zip(lines[0], cells, strict=True)) for cells in lines[1:]]


def test_a_line_tells_everything_where_the_output_is_no_terminal(display, caplog):
    # The second comes too soon after the first.
    (line,) = lines_of(display, caplog, tally(), tally())
    assert line == (
        "group 1/1 abcdef: runs 10, steps/s 500, evals 77, memorised at 0.99: 6, grokked at 0.99: 2, "
        "diverged 1, waiting 3, done 3, at most 2 min"
    )


def test_the_end_of_a_group_is_always_told(display, caplog):
    end = tally(done={"stopped": 10}, steps_left=0)
    told = lines_of(display, caplog, tally(), end, end)
    assert len(told) == 2 and told[-1].endswith("at most -")


def test_a_line_says_what_the_group_is_and_how_long_all_of_them_take(caplog):
    (line,) = lines_of(Display(TWO), caplog, tally(TWO[1].hash, n_runs=4, done={"stopped": 1}))
    assert line.startswith("group 2/2 x*y: runs 4, ")
    assert "; all 2 groups: done 1 of 8, at most 2 min" in line


def test_the_table_has_a_row_for_each_group_seen_and_one_for_all():
    display = Display(TWO)
    first = tally(
        TWO[0].hash, n_runs=4, waiting=0, done={"stopped": 3, "diverged": 1}, steps_left=0
    )
    display.tallies = {TWO[0].hash: first}
    assert rows_of(display) == [
        {"group": "1/2 x+y", "runs": "4", "steps/s": "500", "evals": "77", "memorised at 0.99": "6",
         "grokked at 0.99": "2", "diverged": "1", "waiting": "0", "done": "4", "at most": "-"},
        {"group": "all 2 groups", "runs": "8", "steps/s": "500", "evals": "77",
         "memorised at 0.99": "6", "grokked at 0.99": "2", "diverged": "1", "waiting": "4",
         "done": "4", "at most": "8 s"},
    ]  # fmt: skip


def test_one_group_needs_no_row_for_all(display):
    display.tallies = {"abcdef123456": tally()}
    assert [row["group"] for row in rows_of(display)] == ["1/1 abcdef"]


def test_a_long_table_shows_the_groups_that_train_now_and_says_so():
    display = Display(MANY)
    display.tallies = {group.hash: tally(group.hash) for group in MANY[:15]}
    names = [row["group"] for row in rows_of(display)]
    assert len(names) == MOST_ROWS + 1
    assert (names[-2], names[-1]) == ("15/17 p 19", "all 17 groups")
    assert "5 earlier groups are not shown" in text_of(display)


def test_groups_that_have_not_begun_are_estimated_by_their_operations():
    """A group with twice the operations a step takes twice as long a step, compilation added."""
    groups = groups_of({"model.d_mlp": [8, 512], "seed": [0, 1]})
    small, large = (costs.cost(group.first) for group in groups)
    display = Display(groups)
    display.tallies = {
        groups[0].hash: tally(groups[0].hash, run_steps=1000, train_seconds=100.0, steps_left=1000,
                              compile_seconds=50.0)
    }  # fmt: skip
    share = 11 / 1000  # evaluations a step
    slower = (large.step_flops + share * large.evaluation_flops) / (
        small.step_flops + share * small.evaluation_flops
    )
    assert slower > 5
    expected = 100 + 50 + 2000 * 0.1 * slower
    assert rows_of(display)[-1]["at most"] == costs.in_words(expected)
    assert rows_of(display)[0]["at most"] == costs.in_words(100.0)


def test_without_a_measured_speed_the_time_is_unknown():
    display = Display(TWO)
    display.tallies = {TWO[0].hash: tally(TWO[0].hash, run_steps=0, train_seconds=0.0)}
    assert [row["at most"] for row in rows_of(display)] == ["unknown", "unknown"]


def test_when_all_is_done_nothing_is_left():
    display = Display(TWO)
    ended = {"n_runs": 4, "done": {"stopped": 4}, "steps_left": 0, "waiting": 0}
    display.tallies = {group.hash: tally(group.hash, **ended) for group in TWO}
    assert [row["at most"] for row in rows_of(display)] == ["-", "-", "-"]


def test_runs_are_counted_at_the_level_of_the_stop_rule():
    stop = groups_of({"seed": [0]}, train={**EXPERIMENT["train"], "stop": {"val_accuracy": 0.95}})
    assert level_of(stop[0].first.settings.train.stop) == 0.95
    assert level_of(TWO[0].first.settings.train.stop) == LEVEL == 0.99
    counted = Tally("a", 3, level=0.95)
    counted.measured("one", 0.96, 0.94)
    counted.measured("two", 1.0, 0.9500000)
    # 19 of 20 rows as float32 says it, a little less than 0.95.
    counted.measured("three", 0.9, 0.949999988079071)
    assert (counted.memorised, counted.grokked) == (2, 2)


@pytest.mark.parametrize(
    ("levels", "heading"), [([0.95], "grokked at 0.95"), ([0.9, 0.95], "grokked at 0.9 to 0.95")]
)
def test_the_heading_says_the_level(levels, heading):
    display = Display(TWO)
    display.tallies = {
        group.hash: tally(group.hash, level=level)
        for group, level in zip(TWO, levels, strict=False)
    }
    assert heading in rows_of(display)[0]


def test_a_terminal_gets_one_table_however_often_there_is_news(display):
    console = Console(force_terminal=True, width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    display.live.console = console
    display.interactive = True
    for waiting in (3, 1, 0):
        display(tally(waiting=waiting))
    assert display.live.is_started
    display(tally(done={"stopped": 10}))
    display.close()
    display.close()
    assert not display.live.is_started
    console.file.close()
