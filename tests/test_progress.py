"""What a user sees while a grid trains."""

from __future__ import annotations

import logging

import pytest
from rich.console import Console

from grokjax.grid import Group
from grokjax.progress import Display
from grokjax.tally import Tally


def tally(**facts) -> Tally:
    base = {"n_runs": 10, "running": 4, "waiting": 3, "memorised": 6, "grokked": 2, "evaluations": 77,
            "run_steps": 5000, "train_seconds": 10.0, "steps_left": 60_000,
            "done": {"finished": 1, "stopped": 1, "diverged": 1}}  # fmt: skip
    return Tally("abcdef123456", **{**base, **facts})


@pytest.fixture
def display():
    return Display([Group("abcdef123456", ())])


def test_a_line_tells_everything_where_the_output_is_no_terminal(display, caplog):
    display.interactive = False
    with caplog.at_level(logging.INFO, "grokjax"):
        display(tally())
        display(tally())
    (line,) = caplog.messages  # the second comes too soon after the first
    for part in ("1/1 abcdef", "runs 10", "steps/s 500", "evals 77", "memorised 6", "grokked 2",
                 "diverged 1", "waiting 3", "done 3", "at most 2 min"):  # fmt: skip
        assert part in line


def test_the_end_of_a_group_is_always_told(display, caplog):
    display.interactive = False
    with caplog.at_level(logging.INFO, "grokjax"):
        display(tally())
        display(tally(done={"stopped": 10}, steps_left=0))
        display(tally(done={"stopped": 10}, steps_left=0))
    assert len(caplog.messages) == 2
    assert "at most -" in caplog.messages[-1]


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
