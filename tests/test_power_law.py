"""Fitted exponents against samples of known exponent, and against brute force."""

import numpy as np
import pytest

from analysis.power_law import fit_power_law, hill_exponent


def pareto(exponent, n, lower, random):
    """A sample of density proportional to x^-exponent above `lower`, by inversion."""
    return lower * (1 - random.random(n)) ** (-1 / (exponent - 1))


@pytest.mark.parametrize("exponent", [1.5, 2.5, 4.0])
def test_the_exponent_of_a_large_sample_comes_back(exponent):
    sample = pareto(exponent, 3000, 2.0, np.random.default_rng(0))
    fit = fit_power_law(sample)
    # The maximum-likelihood estimate has a standard error of (exponent - 1) / sqrt(n).
    assert abs(fit.exponent - exponent) < 4 * (exponent - 1) / np.sqrt(fit.n)
    assert fit.n > 1000 and fit.distance < 0.04


def test_the_cut_is_found_below_which_the_law_does_not_hold():
    random = np.random.default_rng(1)
    sample = np.r_[pareto(2.5, 1000, 3.0, random), random.uniform(0, 3, 2000)]
    fit = fit_power_law(sample)
    assert 2.4 < fit.lower < 4.5 and fit.n == (sample >= fit.lower).sum()
    assert abs(fit.exponent - 2.5) < 0.2


def test_exponents_agree_with_a_grid_search_of_the_likelihood():
    sample = np.sort(np.random.default_rng(2).lognormal(0, 1, 40))
    fit = fit_power_law(sample)
    tail = sample[sample >= fit.lower]
    grid = np.linspace(1.01, 8, 69_901)
    likelihood = len(tail) * np.log((grid - 1) / fit.lower) - grid * np.log(tail / fit.lower).sum()
    assert fit.exponent == pytest.approx(grid[likelihood.argmax()], abs=1e-4)


def test_the_fit_is_the_one_of_smallest_distance():
    """Each cut by itself, by the formulas of Clauset et al. (3.1, 3.9)."""
    sample = np.random.default_rng(3).lognormal(0, 1, 30)
    best = (np.inf, np.nan, np.nan)
    for cut in sorted(sample)[:-1]:
        tail = sorted(x for x in sample if x >= cut)
        exponent = 1 + len(tail) / sum(np.log(x / cut) for x in tail)
        gaps = [abs(1 - (x / cut) ** (1 - exponent) - i / len(tail)) for i, x in enumerate(tail)]
        best = min(best, (max(gaps), exponent, cut))
    fit = fit_power_law(sample)
    np.testing.assert_allclose((fit.distance, fit.exponent, fit.lower), best)


def test_scale_does_not_matter_and_zeros_are_left_out():
    sample = np.random.default_rng(4).lognormal(0, 1, 60)
    one, other = fit_power_law(sample), fit_power_law(np.r_[0, -1, np.nan, 1e6 * sample])
    assert other.exponent == pytest.approx(one.exponent) and other.n == one.n
    assert other.lower == pytest.approx(1e6 * one.lower)


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0, 2.0], [1.0, 2.0], [0.0, -1.0]])
def test_too_few_values_give_no_fit(values):
    assert np.isnan(fit_power_law(values).exponent) and fit_power_law(values).n == 0


def test_hill_with_a_fixed_cut():
    # By hand: ln(8/2) + ln(4/2) = 3 ln 2.
    assert hill_exponent([8, 1, 4, 2], 2) == pytest.approx(1 + 2 / (3 * np.log(2)))
    sample = pareto(2.5, 20_000, 1.0, np.random.default_rng(5))
    assert hill_exponent(sample, 5000) == pytest.approx(2.5, abs=0.1)
    assert np.isnan(hill_exponent([3, 2, 1], 3)) and np.isnan(hill_exponent([2, 2, 2], 2))
