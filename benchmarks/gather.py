"""The gradient of a row gather in three forms: scatter-add, product with a one-hot matrix, sorted segments."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

CASES = {"A: 3,840 rows of 113": (3840, 113), "B: 512 rows of 97": (512, 97)}
WIDTH = 128


def scatter(g_ND: jax.Array, rows_N: jax.Array, n: int) -> jax.Array:
    return jnp.zeros((n, g_ND.shape[1])).at[rows_N].add(g_ND)


def one_hot(g_ND: jax.Array, rows_N: jax.Array, n: int) -> jax.Array:
    return jnp.dot(jax.nn.one_hot(rows_N, n).T, g_ND, precision="highest")


def sorted_segments(g_ND: jax.Array, rows_N: jax.Array, n: int) -> jax.Array:
    order = jnp.argsort(rows_N)
    return jax.ops.segment_sum(g_ND[order], rows_N[order], n, indices_are_sorted=True)


FORMS = {"scatter-add": scatter, "one-hot product": one_hot, "sorted segments": sorted_segments}


def compare(inner: int = 50, repeats: int = 5) -> list[dict[str, Any]]:
    """Milliseconds of each form, and whether two executions agree bit for bit."""
    return [
        {"case": case, "form": name, **_measure(form, *sizes, inner, repeats)}
        for case, sizes in CASES.items()
        for name, form in FORMS.items()
    ]


def _measure(form: Callable, n_rows: int, n: int, inner: int, repeats: int) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    g = jnp.asarray(generator.normal(size=(n_rows, WIDTH)), jnp.float32)
    rows = jnp.asarray(generator.integers(n, size=n_rows), jnp.int32)

    def body(_: Any, total: jax.Array) -> jax.Array:
        # The input depends on the last result: nothing can be computed once and kept.
        return form(g + 1e-6 * total[0, 0], rows, n)

    many = jax.jit(lambda: jax.lax.fori_loop(0, inner, body, jnp.zeros((n, WIDTH))))
    first, times = np.asarray(many()), []
    for _ in range(repeats):
        began = time.perf_counter()
        again = np.asarray(many())
        times.append((time.perf_counter() - began) / inner)
    return {
        "milliseconds": round(1e3 * statistics.median(times), 4),
        "same_bits": bool((first == again).all()),
    }
