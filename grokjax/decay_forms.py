"""What weights decay towards. A form adds the decay to updates; `optim.decay` says which weights it acts on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

Numbers = dict[str, Any]
"""The optimiser's hyper settings as traced scalars, and `key`: a random key of the update."""
OptState = PyTree
"""Moments and counters of an optimiser, nested as in optax."""
Strength = float | jax.Array


def _to_zero(strength: Strength, n: Numbers, part: int) -> optax.GradientTransformation:
    return optax.add_decayed_weights(strength)


class InitialWeights(NamedTuple):
    """State of a decay towards them. It is no moment: `restart` keeps it."""

    weights: Any


def _to_initial(strength: Strength, n: Numbers, part: int) -> optax.GradientTransformation:
    def update(updates: Any, state: OptState, params: Any = None) -> tuple[Any, OptState]:
        pull = lambda u, w, initial: u + strength * (w - initial)  # noqa: E731
        return jax.tree.map(pull, updates, params, state.weights), state

    return optax.GradientTransformation(lambda params: InitialWeights(params), update)


def _jiggle(strength: Strength, n: Numbers, part: int) -> optax.GradientTransformation:
    """Published is a factor exp(-lr decay z) on weights; 1 - lr decay z differs from it by (lr decay z)²/2."""

    def update(updates: Any, state: OptState, params: Any = None) -> tuple[Any, OptState]:
        leaves, tree = jax.tree.flatten(params)
        drawn = jax.random.normal(jax.random.fold_in(n["key"], part), (len(leaves),))
        scaled = jax.tree.unflatten(
            tree, [strength * z * w for z, w in zip(drawn, leaves, strict=True)]
        )
        return jax.tree.map(jnp.add, updates, scaled), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


DECAY_FORMS: dict[str, Callable[[Strength, Numbers, int], optax.GradientTransformation]] = {
    "to_zero": _to_zero,
    "to_initial": _to_initial,
    "jiggle": _jiggle,
}
"""(strength, numbers, number of the part of the parameters) -> what adds the decay to updates."""
