"""Exponents of power laws in the upper tail of positive numbers, such as eigenvalues.

After Clauset, Shalizi & Newman 2009 (SIAM Review 51, 661): below a cut the law does not hold, and the cut is the value
for which the fitted and the empirical distribution are closest. This is own code, because it is short and used once.
The package `powerlaw` 2.0, which source 004's authors use, gives the same numbers, but has three dependencies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class PowerLaw:
    """Density proportional to x^-exponent from `lower` on, for `n` values; `distance` is that of Kolmogorov-Smirnov."""

    exponent: float
    lower: float
    distance: float
    n: int


NO_FIT = PowerLaw(np.nan, np.nan, np.nan, 0)


def fit_power_law(values: ArrayLike) -> PowerLaw:
    """Maximum-likelihood exponent above the cut of smallest distance; NaN with fewer than three distinct values.

    Every value except the largest is tried as the cut. Values at or below 0 are left out, because a power law has none.
    """
    x = np.sort(np.asarray(values, float))
    x = x[np.isfinite(x) & (x > 0)]
    cuts = np.unique(x)[:-1]
    if len(cuts) < 2:
        return NO_FIT
    return min((_above(x, cut) for cut in cuts), key=lambda fit: fit.distance)


def _above(x: np.ndarray, cut: float) -> PowerLaw:
    """The fit to the sorted values from the cut on. The empirical share below value i is i/n, as in Clauset's code."""
    tail = x[np.searchsorted(x, cut) :]
    logs = np.log(tail / cut)
    exponent = 1 + len(tail) / logs.sum()
    fitted = 1 - np.exp(-(exponent - 1) * logs)
    distance = np.abs(fitted - np.arange(len(tail)) / len(tail)).max()
    return PowerLaw(float(exponent), float(cut), float(distance), len(tail))


def hill_exponent(values: ArrayLike, k: int) -> float:
    """Density exponent from the k largest values, relative to the next one (Hill 1975): the cut is fixed, not fitted.

    NaN if there are at most k positive values.
    """
    x = np.sort(np.asarray(values, float))[::-1]
    x = x[np.isfinite(x) & (x > 0)]
    if len(x) <= k:
        return float("nan")
    logs = np.log(x[:k] / x[k])
    return float(1 + k / logs.sum()) if logs.any() else float("nan")
