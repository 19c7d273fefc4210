"""Sparse parity: whether the product of a few of many random signs is positive.

Source: Barak et al. 2022 (arXiv:2207.08799). The form with a finite sample, which networks grok, is that of Merrill,
Tsilivis & Shukla 2023 (arXiv:2303.11873).
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from pydantic import model_validator

from grokjax.settings import SettingError, Settings, shape
from grokjax.tasks.sample import Sample
from grokjax.tasks.size import Size


class SparseParity(Settings):
    """Inputs of random signs ±1; the class is 1 where the product of the first k is 1, else 0 (Merrill et al. 2023)."""

    kind: Literal["sparse_parity"] = shape("sparse_parity")
    n_bits: int = shape(40, ge=1)
    """Number of signs in a row."""
    k: int = shape(3, ge=1)
    """Number of signs that decide the class: the first k of a row."""
    n_train: int = shape(1000, ge=1)
    """Number of training rows, drawn for each run with its split_seed."""
    n_test: int = shape(100, ge=1)
    """Number of validation rows, the same for all runs. With few bits, some can be training rows too."""
    test_seed: int = shape(0, ge=0, lt=2**31)
    """Seed of the validation rows."""

    @model_validator(mode="after")
    def _bits_suffice(self) -> SparseParity:
        if self.k > self.n_bits:
            raise SettingError(
                "k",
                f"{self.k} is more than n_bits = {self.n_bits}; use at most {self.n_bits}",
            )
        return self


def sparse_parity_size(settings: SparseParity) -> Size:
    """Size of the sample: n_bits signs and one class for each row."""
    rows = settings.n_train + settings.n_test
    larger = "n_train" if settings.n_train >= settings.n_test else "n_test"
    return Size(rows, settings.n_bits + 1, "n_bits" if settings.n_bits > rows else larger)


def sparse_parity_sample(settings: SparseParity) -> Sample:
    """The sample of these settings."""

    def draw_rows(key: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
        signs_ND = jax.random.rademacher(key, (n, settings.n_bits), jnp.float32)
        positive_N = signs_ND[:, : settings.k].prod(-1) > 0
        return signs_ND, positive_N.astype(jnp.int32)[:, None]

    return Sample(
        draw_rows=draw_rows,
        n_train=settings.n_train,
        n_test=settings.n_test,
        test_seed=settings.test_seed,
        n_inputs=settings.n_bits,
        n_classes=2,
        n_answers=2,
    )
