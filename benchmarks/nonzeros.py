"""`python -m benchmarks.nonzeros`: is a bottleneck's step faster if it gathers only inputs that are not zero?

Gradients of the loss of workload H on one core, written by hand: over all inputs; the same in parts of 512 rows, as
grokjax has it; with only the inputs that are not zero where they are read; and where they are read and compared. The
last two are not part of grokjax.
"""

from __future__ import annotations

import os

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from grokjax.tasks.sparse_features import SparseFeatures, sparse_features_sample

Weights = tuple[Array, Array]
"""W (features, 2) and b (features)."""
Gradient = Callable[[Weights], tuple[Array, Weights]]
STEPS, REPEATS, N_FEATURES, PART = 100, 5, 1000, 512
_apart = jax.lax.optimization_barrier


def _outputs(h_N2: Array, W_C2: Array, b_C: Array) -> Array:
    return jax.nn.relu(h_N2[:, :1] * W_C2[:, 0] + h_N2[:, 1:] * W_C2[:, 1] + b_C)


def _with_one(h_N2: Array) -> Array:
    return jnp.concatenate([h_N2, jnp.ones((len(h_N2), 1))], 1)


def dense(x_NC: Array) -> Gradient:
    """Loss and gradient over all inputs."""
    share_2N = jnp.full((2, len(x_NC)), 1 / len(x_NC))

    def gradient(weights: Weights) -> tuple[Array, Weights]:
        W, b = weights
        h = x_NC @ W
        out = _outputs(h, W, b)
        error = out - x_NC
        d = _apart(jnp.where(out > 0, error * (2 / len(x_NC)), 0))
        both = _apart(_with_one(h).T @ d)
        read = _apart((d @ W).T @ x_NC)
        return (share_2N @ error**2)[0].sum(), ((both[:2] + read).T, both[2])

    return gradient


def in_parts(x_NC: Array) -> Gradient:
    """The same in parts of 512 rows, one after the other."""
    parts_PNC = x_NC.reshape(-1, PART, x_NC.shape[1])

    def gradient(weights: Weights) -> tuple[Array, Weights]:
        def add(total, part_NC):
            return jax.tree.map(jnp.add, total, dense(part_NC)(weights)), None

        zero = jnp.zeros(()), jax.tree.map(jnp.zeros_like, weights)
        total, _ = jax.lax.scan(add, zero, parts_PNC)
        return jax.tree.map(lambda g: g / len(parts_PNC), total)

    return gradient


def read_gathered(x_NC: Array) -> Gradient:
    """The inputs that are not zero where the hidden numbers are made, all of them where outputs are compared."""
    n = len(x_NC)
    index, value = _nonzeros(np.asarray(x_NC))
    share_2N = jnp.full((2, n), 1 / n)

    def gradient(weights: Weights) -> tuple[Array, Weights]:
        W, b = weights
        h = (value[..., None] * W[index]).sum(1)
        out = _outputs(h, W, b)
        error = out - x_NC
        d = _apart(jnp.where(out > 0, error * (2 / n), 0))
        both = _apart(_with_one(h).T @ d)
        read = (d @ W)[:, None] * value[..., None]
        gW = both[:2].T.at[index.reshape(-1)].add(read.reshape(-1, 2))
        return (share_2N @ error**2)[0].sum(), (gW, both[2])

    return gradient


def gathered(x_NC: Array) -> Gradient:
    """The same, from the inputs that are not zero: the outputs stay dense, their targets do not."""
    n = len(x_NC)
    index, value = _nonzeros(np.asarray(x_NC))
    share_2N = jnp.full((2, n), 1 / n)

    def gradient(weights: Weights) -> tuple[Array, Weights]:
        W, b = weights
        h = (value[..., None] * W[index]).sum(1)
        out = _outputs(h, W, b)
        there = jax.nn.relu((h[:, None] * W[index]).sum(-1) + b[index])
        there = jnp.where(value != 0, there, 0)
        loss = (share_2N @ out**2)[0].sum() + ((value - 2 * there) * value).sum() / n
        d, missing = _apart(out * (2 / n)), jnp.where(there > 0, -2 * value / n, 0)
        dh = d @ W + (missing[..., None] * W[index]).sum(1)
        read = jnp.concatenate([dh, jnp.zeros((n, 1))], 1)[:, None] * value[..., None]
        added = missing[..., None] * _with_one(h)[:, None] + read
        both = _apart(_with_one(h).T @ d).T.at[index.reshape(-1)].add(added.reshape(-1, 3))
        return loss, (both[:, :2], both[:, 2])

    return gradient


def _nonzeros(x_NC: np.ndarray) -> tuple[Array, Array]:
    """Places and values of each row's numbers that are not zero, padded with zeros."""
    most = int((x_NC != 0).sum(1).max())
    index = np.argsort(x_NC == 0, axis=1, kind="stable")[:, :most]
    return jnp.asarray(index), jnp.asarray(np.take_along_axis(x_NC, index, 1))


def milliseconds(gradient: Gradient, weights: Weights) -> float:
    """Median time of a step of gradient descent."""

    def step(_: int, w: Weights) -> Weights:
        return jax.tree.map(lambda a, g: a - 1e-3 * g, w, gradient(w)[1])

    train = jax.jit(lambda w: jax.lax.fori_loop(0, STEPS, step, w))
    jax.block_until_ready(train(weights))
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        jax.block_until_ready(train(weights))
        seconds.append(time.perf_counter() - began)
    return 1e3 * statistics.median(seconds) / STEPS


def main() -> None:
    for rows in (512, 2048):
        draw = sparse_features_sample(SparseFeatures(n_train=rows)).draw_rows
        x_NC = draw(jax.random.key(0), rows)[0]
        W = 0.3 + 0.1 * jax.random.normal(jax.random.key(1), (N_FEATURES, 2))
        weights = W, jnp.full(N_FEATURES, 0.01)
        forms = {
            "all inputs": dense(x_NC),
            f"in parts of {PART} rows": in_parts(x_NC),
            "read where not zero": read_gathered(x_NC),
            "read and compared where not zero": gathered(x_NC),
        }
        flat = [jnp.concatenate([g.reshape(-1) for g in f(weights)[1]]) for f in forms.values()]
        apart = max(float(jnp.abs(flat[0] - g).max() / jnp.abs(flat[0]).max()) for g in flat)
        told = [f"{name} {milliseconds(f, weights):.2f} ms" for name, f in forms.items()]
        print(f"{rows} rows: {', '.join(told)}; gradients differ by {apart:.0e} of the largest")


if __name__ == "__main__":
    main()
