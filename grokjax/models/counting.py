"""The costs of a forward pass. A model counts them itself, or they are counted on its traced program."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import PyTree


@dataclasses.dataclass(frozen=True)
class Forward:
    """Operations and activations of a forward pass over n rows."""

    rows: list[int]
    """Number of rows that are computed at each depth. Rows that examples share count once."""
    flops: float
    shared: int
    """Floats that the shared tables keep for the backward pass."""
    per_row: int
    """Floats that each of the n rows keeps in addition."""
    widest: int
    """Number of floats in the widest activation of a row."""


def count_program(apply: Callable[[PyTree], jax.Array], params: PyTree, n: int) -> Forward:
    """Costs of a model that does not count them itself, from the lowered program of `apply(params)` over n rows.

    It assumes that every array of the program is kept for the backward pass. In fact fewer are kept.
    """
    flops = (jax.jit(apply).lower(params).cost_analysis() or {}).get("flops", 0.0)
    sizes = [math.prod(v.aval.shape) for v in _made(jax.make_jaxpr(apply)(params).jaxpr)]
    of_rows = [size // n for size in sizes if size >= n]
    return Forward([n], float(flops), 0, sum(of_rows), max(of_rows, default=1))


def _made(jaxpr: Any) -> list[Any]:
    """All arrays that a traced program computes. For the call of an inner program: the arrays inside it."""
    made = []
    for equation in jaxpr.eqns:
        inner = [p.jaxpr for p in equation.params.values() if hasattr(p, "jaxpr")]
        made += [v for program in inner for v in _made(program)] if inner else equation.outvars
    return made
