"""Brackets and states on curves small enough to read, and against a loop over single values."""

from itertools import pairwise

import numpy as np
import pytest

from analysis.outcomes import Series, Sustain, delay, delay_ratio, first_hit

STEPS = np.array([0.0, 10.0, 20.0, 40.0, 80.0])


def make_series(rows, status="finished", done=None):
    value = np.array(rows, np.float32)
    done = np.full(len(value), value.shape[1]) if done is None else np.array(done)
    statuses = np.array([status] * len(value) if isinstance(status, str) else status)
    return Series(value, np.tile(STEPS[: value.shape[1]], (len(value), 1)), done, statuses)


def outcome_of_one(row, status="finished", done=None, level=0.9, sustain=None):
    found = first_hit(make_series([row], status, None if done is None else [done]), level, sustain)
    return str(found.state[0]), float(found.lower[0]), float(found.upper[0])


def test_a_hit_is_bracketed_by_the_evaluation_before():
    assert outcome_of_one([0, 0.5, 0.9, 1, 1]) == ("hit", 10, 20)
    assert outcome_of_one([0, 0.95, 0, 0, 0]) == ("hit", 0, 10)


def test_a_hit_at_the_first_evaluation_has_no_lower_limit():
    assert outcome_of_one([1, 1, 1, 1, 1]) == ("hit", -np.inf, 0)


def test_values_behind_the_last_evaluation_do_not_exist():
    assert outcome_of_one([0, 0, 1, 1, 1], "running", done=2) == ("censored", 10, np.inf)
    assert outcome_of_one([1, 1, 1, 1, 1], "waiting", done=0) == ("censored", -np.inf, np.inf)


def test_a_nan_inside_is_a_miss_and_the_next_hit_counts():
    assert outcome_of_one([0, 0, np.nan, 1, 1]) == ("hit", 20, 40)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("finished", ("censored", 80, np.inf)),
        ("running", ("censored", 80, np.inf)),
        ("stopped", ("not observed", 80, np.inf)),
        ("diverged", ("diverged", np.inf, np.inf)),
    ],
)
def test_the_state_without_a_hit_follows_from_how_the_run_ended(status, expected):
    assert outcome_of_one([0, 0, 0.5, 0.5, 0.5], status) == expected


def test_a_run_that_diverges_after_its_hit_keeps_the_hit():
    assert outcome_of_one([0, 1, 1, np.nan, np.nan], "diverged") == ("hit", 0, 10)


def test_a_level_above_the_stop_level_is_hit_or_not_observed_but_never_censored():
    rows = [[0, 0.5, 0.99, 0.992, 0.993], [0, 0.5, 0.99, 0.999, 0.999]]
    found = first_hit(make_series(rows, "stopped"), 0.995)
    assert found.state.tolist() == ["not observed", "hit"]
    assert found.time[1] == 40 and np.isnan(found.time[0])


def test_a_blip_is_no_lasting_hit():
    blip = [0, 1, 0, 1, 1]
    assert outcome_of_one(blip) == ("hit", 0, 10)
    assert outcome_of_one(blip, sustain=Sustain(1)) == ("hit", 20, 40)
    assert outcome_of_one([0, 1, 0.85, 1, 1], sustain=Sustain(2, floor=0.8)) == ("hit", 0, 10)


def test_where_too_few_evaluations_follow_only_the_stop_rule_vouches_for_them():
    row = [0, 0, 0, 1, 1]
    assert outcome_of_one(row, "stopped", sustain=Sustain(5)) == ("hit", 20, 40)
    cut = [0, 0, 1, 0, 0]
    assert outcome_of_one(cut, "stopped", done=3, sustain=Sustain(2)) == ("hit", 10, 20)
    assert outcome_of_one(row, "finished", sustain=Sustain(5)) == ("censored", 80, np.inf)
    assert outcome_of_one(row, "finished", sustain=Sustain(1)) == ("hit", 20, 40)


def slow_first_hit(values, steps, level, after):
    """(lower, upper) of the first value at the level that `after` further values keep, or None."""
    for i in range(len(values) - after):
        if all(values[j] >= level for j in range(i, i + after + 1)):
            return (steps[i - 1] if i else -np.inf), steps[i]
    return None


@pytest.mark.parametrize("after", [0, 1, 3])
def test_many_random_runs_agree_with_a_loop(after):
    random = np.random.default_rng(0)
    value = random.uniform(0.6, 1.0, (200, 12)).astype(np.float32)
    step = np.cumsum(random.integers(1, 9, (200, 12)), axis=1).astype(float)
    done = random.integers(0, 13, 200)
    found = first_hit(
        Series(value, step, done, np.full(200, "finished")), 0.75, Sustain(after) if after else None
    )
    for run in range(200):
        expected = slow_first_hit(value[run, : done[run]], step[run], 0.75, after)
        last = step[run, done[run] - 1] if done[run] else -np.inf
        assert (found.lower[run], found.upper[run]) == (expected or (last, np.inf))


def test_more_training_never_revokes_a_hit():
    random = np.random.default_rng(1)
    value = random.uniform(0.5, 1.0, (100, 30)).astype(np.float32)
    step = np.tile(np.arange(30.0), (100, 1))
    running, times = np.full(100, "running"), []
    for done in range(31):
        seen = first_hit(Series(value, step, np.full(100, done), running), 0.8, Sustain(2))
        times.append(np.where(seen.hit, seen.time, -1))
    for before, after in pairwise(times):
        assert np.array_equal(after[before >= 0], before[before >= 0])


def test_delay_and_ratio_need_both_hits():
    train = first_hit(make_series([[0, 1, 1, 1, 1], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1]]), 0.9)
    val = first_hit(make_series([[0, 0, 0, 0, 1], [0, 0, 0, 0, 0], [0, 1, 1, 1, 1]]), 0.9)
    np.testing.assert_array_equal(delay(train, val), [70, np.nan, 10])
    np.testing.assert_array_equal(delay_ratio(train, val), [8, np.nan, np.inf])
    np.testing.assert_array_equal(delay_ratio(train, train), [1, 1, 1])


def test_no_evaluations_at_all_are_censored():
    empty = Series(np.zeros((2, 0)), np.zeros((2, 0)), np.zeros(2, int), np.full(2, "waiting"))
    assert first_hit(empty, 0.9).state.tolist() == ["censored", "censored"]
    assert first_hit(empty, 0.9, Sustain(3)).state.tolist() == ["censored", "censored"]
