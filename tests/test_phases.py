"""The phase of every combination of times and endings, and probabilities over seeds."""

import itertools

import numpy as np
import pytest

from analysis.outcomes import STATES, FirstHit
from analysis.phases import PHASES, PhaseRule, classify, most_probable, probabilities


def outcome(time, status):
    """One run that hits 0.9 at `time`, or (None) never does."""
    state = {"diverged": "diverged", "stopped": "not observed"}.get(status, "censored")
    hit = time is not None
    upper = np.array([float(time) if hit else np.inf])
    return FirstHit(0.9, np.array([0.0]), upper, np.array(["hit" if hit else state]))


def phase(train, val, status="finished", **rule):
    found = classify(
        outcome(train, status), outcome(val, status), np.array([status]), PhaseRule(**rule)
    )
    return str(found[0])


def liu(train, val, budget=100_000):
    """The rule of the paper's code, None where it leaves a case open."""
    if train < budget and val < budget:
        late = val - train
        return None if late == 1000 else "grokking" if late > 1000 else "comprehension"
    if val < budget:
        return None
    return "memorisation" if train < budget else "confusion"


def test_agrees_with_the_paper_wherever_the_paper_decides():
    times, decided = (100, 900, 1100, 1101, 5000, 100_000), 0
    for train, val in itertools.product(times, times):
        expected = liu(train, val)
        if expected is not None:
            decided += 1
            found = phase(*(None if time == 100_000 else time for time in (train, val)))
            assert found == expected, (train, val)
    assert decided == 30


def test_what_the_paper_leaves_open():
    assert phase(100, 1100) == "grokking"
    assert phase(None, 500) == "comprehension"


def test_a_ratio_replaces_the_fixed_delay():
    assert phase(50, 500, delay_ratio=10.0) == "grokking"
    assert phase(50, 499, delay_ratio=10.0) == "comprehension"
    assert phase(50, 500) == "comprehension"
    assert phase(5000, 9000) == "grokking"
    assert phase(5000, 9000, delay_ratio=10.0) == "comprehension"


@pytest.mark.parametrize("status", ["running", "waiting"])
def test_a_run_in_training_is_undecided_until_validation_is_reached(status):
    assert phase(None, None, status) == phase(100, None, status) == "undecided"
    assert phase(100, 200, status) == "comprehension"
    assert phase(100, 5000, status) == "grokking"


def test_divergence_is_a_class_of_its_own_unless_the_phase_was_clear_before():
    assert phase(None, None, "diverged") == phase(100, None, "diverged") == "diverged"
    assert phase(100, 5000, "diverged") == "grokking"


def test_a_stop_below_the_level_decides_nothing():
    assert phase(100, None, "stopped") == "undecided"
    assert phase(100, 5000, "stopped") == "grokking"


def test_the_rule_is_total():
    combinations = list(
        itertools.product(STATES, STATES, ["running", "finished", "stopped", "diverged"])
    )
    train, val, status = (np.array(column) for column in zip(*combinations, strict=True))
    lower, upper = np.zeros(len(train)), np.full(len(train), 50.0)
    found = classify(
        FirstHit(0.9, lower, np.where(train == "hit", upper, np.inf), train),
        FirstHit(0.9, lower, np.where(val == "hit", upper, np.inf), val),
        status,
        PhaseRule(),
    )
    assert set(found) <= set(PHASES) and len(found) == 64


def test_probabilities_add_up_and_the_most_probable_phase_ignores_the_undecided():
    seeds = np.array(["undecided"] * 5 + ["grokking"] * 2 + ["memorisation"])
    shares = probabilities(seeds)
    assert shares["grokking"] == 0.25 and shares["undecided"] == 0.625
    assert sum(shares.values()) == pytest.approx(1)
    assert most_probable(seeds) == "grokking"
    assert most_probable(np.array(["undecided"])) == "undecided"
    assert most_probable(np.array(["confusion", "grokking"])) == "grokking"
