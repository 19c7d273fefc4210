"""Which random numbers serve which purpose: a key of its own for each, from one of the run's seeds."""

from __future__ import annotations

import enum

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


class Purpose(enum.IntEnum):
    """Part of every result: a number is never given to another purpose."""

    INIT = 0
    """Initial parameters (init_seed)."""
    SPLIT = 1
    """Which rows train (split_seed)."""
    LABEL_NOISE = 2
    """Which labels are wrong, and how (noise_seed)."""
    ORDER = 3
    """The order of the rows in each epoch (order_seed)."""
    DRAWN_ROWS = 4
    """A Sample's own rows (split_seed)."""
    INTERVENTION = 5
    """The noise that an intervention adds (noise_seed)."""
    MEASUREMENT = 6
    """Random choices of a measurement (split_seed)."""
    TEST_ROWS = 7
    """A Sample's test rows (the task's test_seed)."""
    OPTIMIZER = 8
    """Noise on weights and updates, and on their decay (noise_seed)."""
    DROPOUT = 9
    """Which numbers dropout sets to 0 (noise_seed)."""
    TASK = 10
    """What all rows of a Sample have in common (the task's test_seed)."""


def key_for(purpose: Purpose, seed: ArrayLike) -> jax.Array:
    """The key of a purpose. threefry: the same numbers on every platform."""
    return jax.random.fold_in(jax.random.key(seed), int(purpose))


def order_of(scores: jax.Array) -> jax.Array:
    """argsort of numbers that must be 0 or more.

    Sorts their bits as whole numbers, which have the same order: a sort of floats is slow on CUDA (jax#27004).
    """
    return jnp.argsort(jax.lax.bitcast_convert_type(scores, jnp.int32))
