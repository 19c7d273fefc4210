"""Sparse features: vectors that are zero almost everywhere, to be reconstructed from few dimensions.

Source: Elhage et al. 2022, Toy Models of Superposition (fresh rows in every step), and Henighan et al. 2023,
Superposition, Memorization, and Double Descent (a finite sample of rows of unit length).
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field, model_validator

from grokjax.keys import Purpose, key_for
from grokjax.settings import SettingError, shape
from grokjax.tasks.numbers import NumbersSettings, numbers_sample, numbers_size
from grokjax.tasks.sample import Sample
from grokjax.tasks.size import Size

RARE = 1e-18
"""Chance that a row has more numbers than `most_of_a_row` says. A model that gathers takes the rest for zeros."""
WORTH = 12
"""Gathering pays where rows have so many times as many numbers as are gathered (docs/performance.md, workload H)."""
Factors = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(strict=False)]


class SparseFeatures(NumbersSettings):
    """Rows of features, each zero with probability `sparsity`, else uniform; the answer is the row itself."""

    kind: Literal["sparse_features"] = shape("sparse_features")
    n_features: int = shape(1000, ge=1)
    """Number of features."""
    sparsity: float = shape(0.99, ge=0, lt=1)
    """Probability that a feature is zero. The others are uniform between 0 and 1."""
    unit_length: bool = shape(True)
    """Scale every row to length 1 (a row of zeros stays)."""
    importance: float | Factors = shape(1.0)
    """Factor of each feature in the loss: a list, or r for r**i of feature i = 0, 1, ... (1: all alike)."""
    target: Literal["features", "absolute"] = shape("features")
    """features: the row itself. absolute: features are between -1 and 1, and the answer is their absolute value."""
    n_read: Annotated[int, Field(ge=1)] | None = shape(None)
    """null: the model reads the features; d: it reads d numbers, which are random sums of the features, the same for
    all runs."""

    @model_validator(mode="after")
    def _importance_fits(self) -> SparseFeatures:
        if isinstance(self.importance, tuple) and len(self.importance) != self.n_features:
            raise SettingError(
                "importance",
                f"has {len(self.importance)} factors, but there are n_features = {self.n_features}; "
                "give one for each feature, or one number r for r**i",
            )
        if isinstance(self.importance, tuple) and not any(self.importance):
            raise SettingError("importance", "is 0 for every feature; give one that is above 0")
        if isinstance(self.importance, float) and not 0 < self.importance <= 1:
            raise SettingError(
                "importance",
                f"{self.importance} must be above 0 and at most 1; use 1 for all alike",
            )
        return self

    @property
    def importance_C(self) -> np.ndarray:
        """The factor of each feature."""
        if isinstance(self.importance, tuple):
            return np.array(self.importance, np.float32)
        return (self.importance ** np.arange(self.n_features)).astype(np.float32)


def sparse_features_size(s: SparseFeatures) -> Size:
    """Size of the rows and of their answers."""
    n_read = s.n_read or s.n_features
    return numbers_size(
        s, s.n_features + n_read, "n_read" if n_read > s.n_features else "n_features"
    )


def sparse_features_sample(s: SparseFeatures) -> Sample:
    """The sample, or the stream, of these settings."""

    def draw_rows(key: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
        active_key, value_key = jax.random.split(key)
        size = (n, s.n_features)
        active_NC = jax.random.uniform(active_key, size) >= s.sparsity
        least = -1.0 if s.target == "absolute" else 0.0
        features_NC = jnp.where(active_NC, jax.random.uniform(value_key, size, minval=least), 0)
        if s.unit_length:
            length_N1 = jnp.sqrt((features_NC**2).sum(1, keepdims=True))
            features_NC = features_NC / jnp.where(length_N1 > 0, length_N1, 1)
        answers_NC = jnp.abs(features_NC) if s.target == "absolute" else features_NC
        return _read(s, features_NC), answers_NC[:, None]

    return numbers_sample(
        s,
        draw_rows,
        n_inputs=s.n_read or s.n_features,
        n_classes=s.n_features,
        importance_C=s.importance_C,
        reconstructs=s.n_read is None and s.target == "features",
        most_nonzero=most_of_a_row(s.n_features, 1 - s.sparsity) if s.n_read is None else None,
    )


def most_of_a_row(n: int, chance: float) -> int | None:
    """How many numbers a row of n can have that are not zero, each with this chance; None if gathering does not pay.

    The bound is Chernoff's: a row has k or more with a chance of at most exp(-n KL(k/n, chance)).
    """
    for k in range(math.ceil(n * chance) + 1, n // WORTH + 1):
        share = k / n
        divergence = share * math.log(share / chance)
        divergence += (1 - share) * math.log((1 - share) / (1 - chance))
        if n * divergence >= -math.log(RARE):
            return k
    return None


def _read(s: SparseFeatures, features_NC: jax.Array) -> jax.Array:
    """What the model reads of the features (N, D): these, or random sums of about the same length."""
    if s.n_read is None:
        return features_NC
    normal_CD = jax.random.normal(key_for(Purpose.TASK, s.test_seed), (s.n_features, s.n_read))
    return jnp.dot(features_NC, normal_CD / math.sqrt(s.n_read), precision="highest")
