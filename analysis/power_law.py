"""Exponents of power laws in the upper tail of positive numbers, such as eigenvalues.

After Clauset, Shalizi & Newman 2009 (SIAM Review 51, 661): the cut below which the law does not hold is the one that
brings the fitted and the empirical distribution closest. Own code, because it is a few lines and one use; the package
`powerlaw` 2.0, which source 004's authors use, gives the same numbers and brings three dependencies with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class PowerLaw:
    """Density proportional to x^-exponent above `lower`, where `n` values are; `distance` is Kolmogorov-Smirnov's."""

    exponent: float
    lower: float
    distance: float
    n: int


NO_FIT = PowerLaw(np.nan, np.nan, np.nan, 0)


def fit_power_law(values: ArrayLike) -> PowerLaw:
    """Maximum-likelihood exponent above the cut of smallest distance; NaN with fewer than three distinct values.

    Every value but the largest is tried as the cut. Values at or below 0 have no place in a power law and are left out.
    """
    x = np.sort(np.asarray(values, float))
    x = x[np.isfinite(x) & (x > 0)]
    cuts = np.unique(x)[:-1]
    if len(cuts) < 2:
        return NO_FIT
    return min((_above(x, cut) for cut in cuts), key=lambda fit: fit.distance)


def _above(x: np.ndarray, cut: float) -> PowerLaw:
    """The fit to sorted values from the cut up; the empirical share below the i-th is i/n, as in Clauset's code."""
    tail = x[np.searchsorted(x, cut) :]
    logs = np.log(tail / cut)
    exponent = 1 + len(tail) / logs.sum()
    fitted = 1 - np.exp(-(exponent - 1) * logs)
    distance = np.abs(fitted - np.arange(len(tail)) / len(tail)).max()
    return PowerLaw(float(exponent), float(cut), float(distance), len(tail))


def hill_exponent(values: ArrayLike, k: int) -> float:
    """Density exponent from the k largest values, relative to the next one (Hill 1975): the cut is fixed, not fitted.

    NaN where there are not more than k positive values.
    """
    x = np.sort(np.asarray(values, float))[::-1]
    x = x[np.isfinite(x) & (x > 0)]
    if len(x) <= k:
        return float("nan")
    logs = np.log(x[:k] / x[k])
    return float(1 + k / logs.sum()) if logs.any() else float("nan")
