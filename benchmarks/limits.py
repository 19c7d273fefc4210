"""What a perfect machine would reach: the peak of its float32 product, over the operations that an algorithm needs."""

from __future__ import annotations

import itertools
import statistics
import time

import jax
import jax.numpy as jnp

from benchmarks.workloads import Workload
from grokjax.training import costs

SIZE = 2048


def peak(repeats: int = 10, size: int = SIZE) -> float:
    """Float32 operations per second of one large product on the whole machine (median)."""
    x = jnp.ones((size, size))
    product = jax.jit(lambda x: jnp.dot(x, x, precision="float32"))
    product(x).block_until_ready()
    rates = []
    for _ in range(repeats):
        began = time.perf_counter()
        product(x).block_until_ready()
        rates.append(2 * size**3 / (time.perf_counter() - began))
    return statistics.median(rates)


def naive_flops(workload: Workload) -> float:
    """Operations of a step's products when every row and position is computed (three times the forward pass)."""
    run = workload.group(1).first
    s, table = run.settings.model, run.table
    n, t = workload.batch or run.n_train, table.tokens_NT.shape[1]
    if s.kind == "mlp":
        widths = [t * s.d_model, *s.hidden, table.n_classes]
        return 3.0 * sum(2 * n * a * b for a, b in itertools.pairwise(widths))
    projections = 4 * s.d_model**2 + 2 * s.d_model * s.d_mlp
    attention = 2 * t * s.d_model
    unembedding = 2 * n * s.d_model * table.n_classes
    return 3.0 * (s.n_layers * 2 * n * t * (projections + attention) + unembedding)


def shared_flops(workload: Workload) -> float:
    """Operations of a step by the sharing plan, as `--plan` counts them."""
    return costs.cost(workload.group(1).first).step_flops
