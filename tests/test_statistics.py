"""Medians against exact fractions, limits against the textbook formula, published shares."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import spearmanr

from analysis.outcomes import FirstHit
from analysis.statistics import (
    Interval,
    bootstrap,
    kaplan_meier_median,
    median_interval,
    median_time,
    rank_correlation,
    summarise,
    wilson,
)


def exact_curve(times, events):
    """[(time, survival, sum of d / (n (n - d)))], exact (Kaplan, Meier 1958; Greenwood 1926)."""
    survival, variance, curve = Fraction(1), Fraction(0), []
    for time in sorted(set(times)):
        at_risk = sum(other >= time for other in times)
        deaths = sum(event for other, event in zip(times, events, strict=True) if other == time)
        survival *= 1 - Fraction(deaths, at_risk)
        if deaths < at_risk:
            variance += Fraction(deaths, at_risk * (at_risk - deaths))
        curve.append((time, survival, variance))
    return curve


def exact_median(times, events):
    return next((t for t, s, _ in exact_curve(times, events) if s <= Fraction(1, 2)), math.inf)


def textbook_limits(times, events):
    """First times where S^exp(+-1.96 se) is at most one half (Brookmeyer and Crowley 1982)."""
    low = high = math.inf
    for time, survival, variance in exact_curve(times, events):
        s = float(survival)
        if s == 1:
            continue
        width = 1.959963984540054 * math.sqrt(variance) / math.log(s) if s else 0.0
        if s == 0 or s ** math.exp(-width) <= 0.5:
            low = min(low, time)
        if s and s ** math.exp(width) <= 0.5:
            high = min(high, time)
    return low, high


def random_sample(seed):
    random = np.random.default_rng(seed)
    n = int(random.integers(1, 50))
    times = random.integers(1, 30, n)
    return [int(t) for t in times], [bool(e) for e in random.random(n) < random.uniform(0.2, 1)]


@pytest.mark.parametrize("block", range(5))
def test_medians_and_limits_agree_with_exact_fractions(block):
    for seed in range(40 * block, 40 * block + 40):
        times, events = random_sample(seed)
        found = kaplan_meier_median(times, events)
        assert found.estimate == exact_median(times, events), seed
        assert (found.low, found.high) == textbook_limits(times, events), seed


@pytest.mark.parametrize("n", [2, 24, 38, 44, 48, 56, 100])
def test_the_median_of_uncensored_times_is_not_one_event_late(n):
    assert kaplan_meier_median(np.arange(1, n + 1), np.ones(n)).estimate == n // 2


def test_a_textbook_sample():
    """6-MP arm of Freireich et al. 1963: median 23 weeks, interval from 13 without upper limit."""
    events = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    censored = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    found = kaplan_meier_median(events + censored, [True] * 9 + [False] * 12)
    assert (found.estimate, found.low, found.high) == (23, 13, math.inf)


def test_without_a_single_event_nothing_is_bounded():
    found = kaplan_meier_median([5, 5, 7], [False] * 3)
    assert (found.estimate, found.low, found.high) == (math.inf,) * 3


def test_wilson_limits_are_published_ones():
    """15 of 148 and 0 of 20 (Newcombe 1998, table I)."""
    assert wilson(15, 148).low == pytest.approx(0.0624, abs=5e-5)
    assert wilson(15, 148).high == pytest.approx(0.1605, abs=5e-5)
    assert wilson(0, 20).low == 0 and wilson(0, 20).high == pytest.approx(0.1611, abs=5e-5)
    assert wilson(20, 20).high == 1 and math.isnan(wilson(0, 0).estimate)


def test_wilson_limits_at_the_ends_are_exact():
    for n in range(1, 100):
        assert wilson(0, n).low == 0 and wilson(n, n).high == 1


def test_wilson_limits_solve_the_score_equation():
    for k, n in ((1, 3), (7, 9), (30, 90)):
        found = wilson(k, n)
        for p in (found.low, found.high):
            assert abs(k / n - p) == pytest.approx(1.959964 * math.sqrt(p * (1 - p) / n), rel=1e-5)


def outcome(*runs):
    """From (state, step) pairs; the step is of the hit or of the last look."""
    state = np.array([state for state, _ in runs])
    at = np.array([step for _, step in runs], float)
    lower = np.where(state == "hit", at - 1, np.where(state == "diverged", np.inf, at))
    return FirstHit(0.99, lower, np.where(state == "hit", at, np.inf), state)


def test_a_diverged_run_counts_as_never_not_as_censored():
    hits = [("hit", 10), ("hit", 20), ("hit", 30)]
    assert median_time(outcome(*hits)).estimate == 20
    assert median_time(outcome(*hits, ("diverged", 2), ("diverged", 2))).estimate == 30
    assert median_time(outcome(*hits, *[("diverged", 2)] * 4)).estimate == math.inf
    censored_early = [("censored", 2)] * 4
    assert median_time(outcome(*hits, *censored_early)).estimate == 20


def test_a_median_with_unobserved_runs_is_not_given():
    assert math.isnan(median_time(outcome(("hit", 10), ("not observed", 90))).estimate)


def test_the_summary_counts_every_run_once():
    runs = [("hit", 10), ("censored", 90), ("censored", 40), ("diverged", 5), ("hit", 20)]
    status = np.array(["stopped", "finished", "running", "diverged", "running"])
    found = summarise(outcome(*runs), status)
    assert (found.n, found.hits, found.censored, found.diverged) == (5, 2, 2, 1)
    assert (found.undecided, found.not_observed) == (1, 0)
    assert found.share.estimate == 2 / 5


def test_runs_that_wait_do_not_move_the_median():
    hits = [("hit", 10), ("hit", 20), ("hit", 30)]
    assert median_time(outcome(*hits, *[("censored", -np.inf)] * 9)).estimate == 20
    assert median_time(outcome(("censored", -np.inf))).estimate == math.inf
    assert median_time(outcome(("diverged", 3))).estimate == math.inf


@pytest.mark.parametrize(("n", "k"), [(6, 1), (8, 1), (9, 2), (16, 4), (32, 10), (100, 40)])
def test_order_statistics_of_the_median_are_those_of_the_tables(n, k):
    """Nonparametric 95 % limits of a median, k-th value from either end (Conover 1999, table A3)."""
    found = median_interval(np.arange(1, n + 1)[::-1])
    assert (found.low, found.high) == (k, n + 1 - k) and found.estimate == (n + 1) / 2


def test_a_median_of_fewer_than_six_values_has_no_limits():
    assert median_interval([3, 1, 2, np.nan, 4, 5]) == Interval(3, -math.inf, math.inf)
    assert math.isnan(median_interval([]).estimate)
    assert median_interval([1, 2, 3, math.inf, math.inf, math.inf]).estimate == math.inf


def test_the_limits_of_a_median_cover_it():
    random = np.random.default_rng(0)
    found = [median_interval(random.exponential(size=16)) for _ in range(1000)]
    covered = np.mean([f.low <= math.log(2) <= f.high for f in found])
    assert covered == pytest.approx(0.979, abs=0.015)


def test_the_bootstrap_of_a_mean_has_its_standard_error():
    values = np.random.default_rng(1).normal(size=200)
    found = bootstrap(lambda runs: float(values[runs].mean()), 200)
    assert found.estimate == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 200**0.5, rel=0.1)
    assert found == bootstrap(lambda runs: float(values[runs].mean()), 200)


def test_the_bootstrap_of_five_of_many_is_wider():
    values = np.random.default_rng(2).normal(size=50)
    many = bootstrap(lambda runs: float(values[runs].mean()), 50)
    five = bootstrap(lambda runs: float(values[runs].mean()), 50, 5)
    assert five.high - five.low > 2 * (many.high - many.low)


def test_rank_correlation_is_scipys_and_takes_times_beyond_the_budget():
    random = np.random.default_rng(3)
    x, y = random.random((2, 12))
    assert rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert rank_correlation([1, 2, math.inf, math.inf], [1, 2, 3, 3]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3, math.nan], [3, 2, 1, 9]) == pytest.approx(-1)
    assert math.isnan(rank_correlation([1, 2], [1, 2])) and math.isnan(
        rank_correlation([1, 1, 1], [1, 2, 3])
    )
