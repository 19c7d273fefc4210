"""What an evaluation costs beside the training between two of them, at the default cadence of 50 steps."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.workloads import WORKLOADS, Workload
from grokjax.training import costs, one_run, runstate

CADENCE = 50
"""Steps between two evaluations."""


def compare(calls: int = 15) -> list[dict[str, Any]]:
    """Milliseconds of an evaluation and of a step of one run on one device, called in turn; medians."""
    return [_measure(WORKLOADS[name], calls) for name in ("A", "B", "C", "D")]


def _measure(workload: Workload, calls: int) -> dict[str, Any]:
    group = workload.group(1)
    setup = runstate.make_setup(group, costs.row_blocks(group.first, jax.default_backend()))
    data, hyper = runstate.make_data(setup), runstate.make_hyper(group.first)
    hyper = jax.tree.map(jnp.asarray, hyper)
    state = jax.jit(functools.partial(one_run.init_run, setup))(data, hyper)
    evaluate = jax.jit(lambda d, h, s: one_run.measure_run(setup, d, h, s, 1))
    train = jax.jit(functools.partial(one_run.train_block, setup))
    times = {f: [_seconds(f, data, hyper, state)] for f in (evaluate, train)}  # compiles
    for _ in range(calls):
        for f, found in times.items():
            found.append(_seconds(f, data, hyper, state))
    evaluation, block = (statistics.median(found[1:]) for found in times.values())
    step = block / setup.cadence.unit
    return {
        "workload": workload.name,
        "evaluation_ms": round(1e3 * evaluation, 2),
        "step_ms": round(1e3 * step, 3),
        "share": round(evaluation / (evaluation + CADENCE * step), 4),
    }


def _seconds(f: Callable, *arguments: Any) -> float:
    began = time.perf_counter()
    jax.block_until_ready(f(*arguments))
    return time.perf_counter() - began
