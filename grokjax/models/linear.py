"""x W + b, with the gradient written out: which of two equal forms it takes decides what it costs."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def affine(x: jax.Array, matrix: tuple[jax.Array, jax.Array | None]) -> jax.Array:
    """x W + b, with W of shape (fan_in, fan_out)."""
    W, b = matrix
    return product(x, W) if b is None else shift(product(x, W), b)


@jax.custom_vjp
def product(x: jax.Array, W: jax.Array) -> jax.Array:
    """x W, for x of shape (..., fan_in)."""
    return x @ W


def _forward(x: jax.Array, W: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return x @ W, (x, W)


def _backward(saved: tuple[jax.Array, jax.Array], g: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, W = saved
    return g @ W.T, weight_gradient(x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1]))


def weight_gradient(x_NI: jax.Array, g_NO: jax.Array) -> jax.Array:
    """xᵀ g, computed as (gᵀ x)ᵀ where that makes the output wide instead of tall.

    On CPU the tall form of 512 x 128 takes 2.6 times as long (9.0 against 3.5 ms for 3,840 rows on one core). The
    barrier keeps XLA from folding the transposition back into the product.
    """
    if x_NI.shape[1] <= g_NO.shape[1]:
        return x_NI.T @ g_NO
    return jax.lax.optimization_barrier(g_NO.T @ x_NI).T


product.defvjp(_forward, _backward)


@jax.custom_vjp
def shift(x: jax.Array, b: jax.Array) -> jax.Array:
    """x + b along the last axis."""
    return x + b


shift.defvjp(lambda x, b: (x + b, None), lambda _, g: (g, column_sums(g)))


@jax.custom_vjp
def stretch(x: jax.Array, w: jax.Array) -> jax.Array:
    """x * w along the last axis."""
    return x * w


stretch.defvjp(lambda x, w: (x * w, (x, w)), lambda xw, g: (g * xw[1], column_sums(g * xw[0])))


def column_sums(x: jax.Array) -> jax.Array:
    """Sum over all axes but the last, as a product: on CPU a reduction along the rows is several times slower.

    With two rows of ones: jax 0.10.1 takes a product with one for an element-wise loop, which it fuses with the making
    of x and runs through column by column (a step of two layers took a quarter longer).
    """
    rows = x.reshape(-1, x.shape[-1])
    return jnp.dot(jnp.ones((2, len(rows))), rows, precision="highest")[0]


def row_sums(x: jax.Array) -> jax.Array:
    """Sum over the last axis, as a product too.

    With two columns, because a product with one is a matrix times a vector: its last bits would depend on where a row
    stands among all rows of a tile, hence on a run's neighbours (tests/test_engine.py).
    """
    return jnp.dot(x, jnp.ones((x.shape[-1], 2)), precision="highest")[..., 0]


@jax.custom_vjp
def scale_rows(x: jax.Array, factor: jax.Array) -> jax.Array:
    """x * factor, one factor a row."""
    return x * factor[..., None]


scale_rows.defvjp(
    lambda x, f: (x * f[..., None], (x, f)),
    lambda xf, g: (g * xf[1][..., None], row_sums(g * xf[0])),
)


@jax.custom_vjp
def shift_rows(x: jax.Array, by: jax.Array) -> jax.Array:
    """x + by, one number a row."""
    return x + by[..., None]


shift_rows.defvjp(lambda x, by: (x + by[..., None], None), lambda _, g: (g, row_sums(g)))


def row_means(x: jax.Array) -> jax.Array:
    """Mean over the last axis."""
    return row_sums(x) / x.shape[-1]


def head_columns(n_heads: int, d_model: int) -> jax.Array:
    """0/1 matrix H D: which columns of a row belong to which head.

    A single head gets an empty second one beside it, for the reason that `row_sums` gives.
    """
    return jnp.repeat(jnp.eye(max(n_heads, 2), n_heads), d_model // n_heads, axis=1)
