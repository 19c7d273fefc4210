"""What a forward pass costs, from counting. A model counts for itself, or is counted from its traced program."""

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
    """Rows at each depth: distinct ones first, the n rows last."""
    flops: float
    shared: int
    """Floats that the shared tables keep for the backward pass."""
    per_row: int
    """Floats that each of the n rows keeps beside them."""
    widest: int
    """Floats of a row's widest activation."""


def count_program(apply: Callable[[PyTree], jax.Array], params: PyTree, n: int) -> Forward:
    """For a model that does not count for itself: the lowered program of `apply(params)` over n rows.

    All that the program makes is taken to be kept for the backward pass, which is more than is kept.
    """
    flops = (jax.jit(apply).lower(params).cost_analysis() or {}).get("flops", 0.0)
    sizes = [math.prod(v.aval.shape) for v in _made(jax.make_jaxpr(apply)(params).jaxpr)]
    of_rows = [size // n for size in sizes if size >= n]
    return Forward([n], float(flops), 0, sum(of_rows), max(of_rows, default=1))


def _made(jaxpr: Any) -> list[Any]:
    """Every array that a traced program makes, those of inner programs in place of their call."""
    made = []
    for equation in jaxpr.eqns:
        inner = [p.jaxpr for p in equation.params.values() if hasattr(p, "jaxpr")]
        made += [v for program in inner for v in _made(program)] if inner else equation.outvars
    return made
