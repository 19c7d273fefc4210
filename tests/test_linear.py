"""Products whose gradients are written out, against JAX's own and against NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.models import linear


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def gradients(f, *inputs):
    """Of a loss that weighs every entry of the output differently."""

    def loss(*inputs):
        out = f(*inputs)
        return (out * jnp.cos(jnp.arange(out.size).reshape(out.shape))).sum()

    return jax.jit(jax.grad(loss, argnums=tuple(range(len(inputs)))))(*inputs)


@pytest.mark.parametrize("shape", [(7, 3), (2, 7, 3)])
@pytest.mark.parametrize("fan_out", [2, 5])
@pytest.mark.parametrize("bias", [True, False])
def test_affine_and_its_gradient(shape, fan_out, bias):
    x, W, b = normal(*shape), normal(shape[-1], fan_out, seed=1), normal(fan_out, seed=2)
    inputs = (x, W, b) if bias else (x, W)

    def ours(x, W, b=None):
        return linear.affine(x, (W, b))

    def plain(x, W, b=0.0):
        return x @ W + b

    np.testing.assert_allclose(ours(*inputs), np.asarray(plain(*inputs)), rtol=1e-6, atol=1e-6)
    for found, expected in zip(gradients(ours, *inputs), gradients(plain, *inputs), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(7, 3), (2, 7, 3)])
def test_stretch_and_its_gradient(shape):
    x, w = normal(*shape), normal(3, seed=1)
    np.testing.assert_array_equal(linear.stretch(x, w), x * w)
    for found, expected in zip(
        gradients(linear.stretch, x, w), gradients(jnp.multiply, x, w), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_sums_over_rows_and_columns():
    x = normal(3, 5, 4)
    np.testing.assert_allclose(linear.column_sums(x), np.asarray(x).sum((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(linear.row_sums(x), np.asarray(x).sum(-1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(linear.row_means(x), np.asarray(x).mean(-1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("ours", "plain"),
    [
        (linear.scale_rows, lambda x, f: x * f[:, None]),
        (linear.shift_rows, lambda x, f: x + f[:, None]),
    ],
)
def test_one_number_a_row_and_its_gradient(ours, plain):
    x, f = normal(7, 3), normal(7, seed=1)
    np.testing.assert_array_equal(ours(x, f), plain(x, f))
    for found, expected in zip(gradients(ours, x, f), gradients(plain, x, f), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_row_sum_does_not_depend_on_where_the_row_stands():
    """Bit for bit: a tile's rows are summed together, and a run must not notice its neighbours."""
    x = normal(13, 114)
    sums = jax.jit(jax.vmap(linear.row_sums))
    together = np.asarray(sums(jnp.stack([x, x + 1, x])))
    np.testing.assert_array_equal(together[0], together[2])


def test_head_columns():
    np.testing.assert_array_equal(
        linear.head_columns(2, 6), [[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]
    )
    np.testing.assert_array_equal(linear.head_columns(1, 3), [[1, 1, 1], [0, 0, 0]])
