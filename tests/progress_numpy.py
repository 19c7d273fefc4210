"""Progress measures in NumPy float64, from their definitions: vectors over all pairs, dot products, loops."""

from __future__ import annotations

import math

import numpy as np

from tests import reference


def wave_vectors(angles: np.ndarray, k: int, p: int) -> list[np.ndarray]:
    """Cosine and sine of w_k times whole numbers, each of length 1; without the sine where it is 0."""
    both = [f(2 * np.pi * k * angles / p) for f in (np.cos, np.sin)]
    return [v / np.linalg.norm(v) for v in both if np.linalg.norm(v) > 1e-6]


def projected(x: np.ndarray, vectors: list[np.ndarray]) -> np.ndarray:
    """The part of the columns of x that is in the span of orthonormal vectors."""
    return sum((np.outer(v, v @ x) for v in vectors), np.zeros_like(x))


def norms(W: np.ndarray) -> list[list[float]]:
    """For the constant and for each frequency the norms of its components over the columns."""
    p = len(W)
    return [
        [np.linalg.norm(v @ W) for v in wave_vectors(np.arange(p), k, p)] for k in range(p // 2 + 1)
    ]


def key_frequencies(W: np.ndarray) -> list[int]:
    """Frequencies whose norm is above a quarter of the largest."""
    each = [math.hypot(*own) for own in norms(W)[1:]]
    return [k for k, norm in enumerate(each, 1) if norm > max(each) / 4]


def gini(x: np.ndarray) -> float:
    """Hurley & Rickard 2009: from the sorted numbers."""
    n = len(x)
    weighted = sum(c * (n - k + 0.5) / n for k, c in enumerate(np.sort(x), 1))
    return 1 - 2 * weighted / x.sum()


def gini_of_components(W: np.ndarray) -> float:
    return gini(np.array([norm for own in norms(W) for norm in own]))


def participation(W: np.ndarray) -> float:
    """Σ_k (|u_k| / |u|)⁴, mean over the columns."""
    total = 0.0
    for column in W.T:
        each = [math.hypot(*own) for own in norms(column[:, None])]
        total += sum((norm / np.linalg.norm(column)) ** 4 for norm in each)
    return total / W.shape[1]


class Measures:
    """Progress measures of logits N C of all pairs with the answers c, for some key frequencies."""

    def __init__(self, logits: np.ndarray, c: np.ndarray, p: int, key: list[int]):
        self.logits, self.c, self.p, self.key = logits.astype(np.float64), c, p, key
        self.vectors = [v for k in key for v in wave_vectors(c, k, p)]

    def restricted(self) -> tuple[float, float]:
        """Loss and accuracy over all pairs."""
        constant = wave_vectors(self.c, 0, self.p)
        return judged(projected(self.logits, [*constant, *self.vectors]), self.c)

    def excluded(self, labels: np.ndarray, train: np.ndarray) -> tuple[float, float]:
        """Loss and accuracy on the training pairs."""
        left = self.logits - projected(self.logits, self.vectors)
        return judged(left[train], labels[train])

    def excluded_each(self, labels: np.ndarray, train: np.ndarray) -> list[float]:
        frequencies = range(1, self.p // 2 + 1)
        alone = (Measures(self.logits, self.c, self.p, [k]) for k in frequencies)
        return [one.excluded(labels, train)[0] for one in alone]

    def fit(self) -> float:
        """By least squares on all numbers of the logits, with a constant."""
        y = self.logits[:, : self.p]
        distance = self.c[:, None] - np.arange(self.p)
        columns = [np.cos(2 * np.pi * k * distance / self.p).ravel() for k in self.key]
        X = np.stack([np.ones(y.size), *columns], 1)
        left = y.ravel() - X @ np.linalg.lstsq(X, y.ravel(), rcond=None)[0]
        return 1 - (left**2).sum() / ((y - y.mean()) ** 2).sum()


def judged(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Mean loss, and share of rows whose label has the largest logit."""
    others = np.where(np.eye(logits.shape[1], dtype=bool)[labels], -np.inf, logits)
    right = logits[np.arange(len(labels)), labels] > others.max(1)
    return reference.cross_entropy(logits, labels).mean(), right.mean()


def neuron_shares(hidden: np.ndarray, x: np.ndarray, y: np.ndarray, p: int) -> np.ndarray:
    """Share K F of each frequency in the variance of each neuron over all pairs."""
    shares = []
    for k in range(1, p // 2 + 1):
        of_x, of_y = wave_vectors(x, k, p), wave_vectors(y, k, p)
        products = [a * b for a in of_x for b in of_y]
        vectors = [*of_x, *of_y, *(v / np.linalg.norm(v) for v in products)]
        shares.append((projected(hidden, vectors) ** 2).sum(0))
    with np.errstate(invalid="ignore"):
        return np.array(shares) / ((hidden - hidden.mean(0)) ** 2).sum(0)
