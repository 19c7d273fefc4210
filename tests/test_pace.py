"""Chunk lengths on a clock that only moves when it is told to."""

from __future__ import annotations

import pytest

from grokjax.engine.pace import Pace, limits
from grokjax.experiment.config import Execution, Experiment
from grokjax.experiment.grid import make_groups, make_runs
from grokjax.training import runstate
from tests.test_training import configure


class Clock:
    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time

    def passes(self, seconds):
        self.time += seconds


def setup_of(**train):
    train = {"steps": 6400, "eval_every": 10, **train}
    (group,) = make_groups(make_runs(Experiment.model_validate(configure(train=train))))
    return runstate.make_setup(group)


def chunks(pace, clock, block, visit, n):
    """n chunks of pace.blocks blocks each, and visits of the host between them."""
    found = []
    for _ in range(n):
        length = pace.blocks
        pace.timed(clock.passes, length * block)
        clock.passes(visit)
        found.append((length, *pace.next()))
    return found


def test_chunks_grow_by_two_until_they_take_a_tenth_of_a_second():
    clock = Clock()
    pace = Pace(setup_of(), Execution(), clock)
    found = chunks(pace, clock, 0.005, 0.0001, 12)
    assert [length for length, *_ in found[:5]] == [1, 2, 4, 8, 16]
    assert 0.09 < found[-1][0] * 0.005 <= 0.101


def test_a_busy_host_gets_longer_chunks_up_to_a_second():
    clock = Clock()
    pace = Pace(setup_of(), Execution(), clock)
    found = chunks(pace, clock, 0.02, 0.02, 100)
    assert 0.34 < found[-1][0] * 0.02 < 0.42  # a visit is a twentieth of it
    found = chunks(pace, clock, 0.02, 0.2, 100)
    assert 0.75 < found[-1][0] * 0.02 <= 1.0


def test_the_device_has_what_was_waited_for_and_the_host_the_rest():
    clock = Clock()
    pace = Pace(setup_of(), Execution(), clock)
    ((_, took, waited),) = chunks(pace, clock, 0.3, 0.1, 1)
    assert took == pytest.approx(0.4)
    assert waited == pytest.approx(0.3)
    clock.passes(50.0)  # compiling
    pace.restart()
    ((length, took, waited),) = chunks(pace, clock, 0.3, 0.0, 1)
    assert took == waited == pytest.approx(length * 0.3)


def test_time_is_counted_where_a_call_fails():
    clock = Clock()
    pace = Pace(setup_of(), Execution(), clock)

    def fail():
        clock.passes(0.2)
        raise ValueError

    with pytest.raises(ValueError):
        pace.timed(fail)
    clock.passes(0.1)
    assert pace.next() == pytest.approx((0.3, 0.2))


def test_a_chunk_that_is_set_stays():
    clock = Clock()
    pace = Pace(setup_of(), Execution(chunk=7), clock)
    assert [length for length, *_ in chunks(pace, clock, 0.5, 0.1, 4)] == [1, 7, 7, 7]


@pytest.mark.parametrize(
    ("every", "lag", "expected"),
    [
        (None, 1, (1, 64)),
        (None, 0, (0, 64)),
        (1, 1, (0, 1)),
        (4, 1, (1, 2)),
        (4, 0, (0, 4)),
        (1000, 1, (1, 64)),
    ],
)
def test_no_chunk_reaches_from_one_snapshot_to_the_next(every, lag, expected):
    assert limits(setup_of(snapshot_every=every), Execution(lag=lag)) == expected
