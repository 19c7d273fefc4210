"""x W + b, and sums over rows and columns, with their gradients written out.

Several forms give the same gradient up to rounding, but one can be several times slower than another.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from grokjax.models import forms


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
    """xᵀ g (I, O), computed as (gᵀ x)ᵀ if I > O, so that the result of the product is wide instead of tall.

    On CPU the tall form of 512 x 128 takes 2.6 times as long (9.0 ms instead of 3.5 ms for 3,840 rows on one core). The
    barrier prevents XLA from merging the transposition into the product.
    """
    if x_NI.shape[1] <= g_NO.shape[1] or not forms.current().wide_gradients:
        return _over_rows(x_NI, g_NO)
    return jax.lax.optimization_barrier(g_NO.T @ x_NI).T


product.defvjp(_forward, _backward)


def _over_rows(x_NI: jax.Array, g_NO: jax.Array, precision: str | None = None) -> jax.Array:
    """xᵀ g (I, O), in parts of at most `product_rows` rows, so that few outputs are work for a whole GPU.

    The barrier prevents XLA from making one product of them again.
    """
    n, most = len(x_NI), forms.current().product_rows
    if most is None or n <= most:
        return jnp.dot(x_NI.T, g_NO, precision=precision)
    parts = -(-n // most)
    size = -(-n // parts)
    x, g = (
        jnp.pad(a, ((0, parts * size - n), (0, 0))).reshape(parts, size, -1) for a in (x_NI, g_NO)
    )
    each_PIO = jnp.einsum("pri,pro->pio", x, g, precision=precision)
    return jax.lax.optimization_barrier(each_PIO).sum(0)


NARROW = 4
"""Up to so many numbers, `widen` adds up multiples of columns, which XLA fuses with what follows."""


@jax.custom_vjp
def widen(h_NM: jax.Array, W_CM: jax.Array, b_C: jax.Array) -> jax.Array:
    """h W^T + b, from few numbers M to many outputs C.

    The gradients of W and b are one product, and none has the shape of a tall matrix transposed, which is slow on CPU
    (docs/performance.md, workload H).
    """
    if h_NM.shape[1] > NARROW or not forms.current().wide_gradients:
        return h_NM @ W_CM.T + b_C
    columns = (h_NM[:, i, None] * W_CM[:, i] for i in range(h_NM.shape[1]))
    return sum(columns, start=b_C)


def _widen_backward(
    saved: tuple[jax.Array, jax.Array], g_NC: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    h_NM, W_CM = saved
    with_one = jnp.concatenate([h_NM, jnp.ones((len(h_NM), 1), h_NM.dtype)], 1)
    both = jax.lax.optimization_barrier(with_one.T @ g_NC)
    return g_NC @ W_CM, both[:-1].T, both[-1]


widen.defvjp(lambda h, W, b: (widen(h, W, b), (h, W)), _widen_backward)


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
    """Sum over all axes except the last, as a product, because on CPU a reduction over rows is several times slower.

    The product has two rows of ones. With one row, jax 0.10.1 makes an element-wise loop, fuses it with the computation
    of x and runs it column by column (a step of two layers took a quarter longer).
    """
    rows = x.reshape(-1, x.shape[-1])
    if forms.current().sums == "reductions":
        return rows.sum(0)
    return jnp.dot(jnp.ones((2, len(rows))), rows, precision="highest")[0]


def row_sums(x: jax.Array) -> jax.Array:
    """Sum over the last axis, also as a product.

    The product has two columns of ones. With one column it is a matrix times a vector, whose last bits depend on the
    position of a row among all rows of a tile, and so on the other runs (tests/test_engine.py).
    """
    if forms.current().sums == "reductions":
        return x.sum(-1)
    return jnp.dot(x, jnp.ones((x.shape[-1], 2)), precision="highest")[..., 0]


def rows_of(x: jax.Array, rows: jax.Array) -> jax.Array:
    """Rows of x by number: x[rows]."""
    if forms.current().gather_gradient == "scatter":
        return x[rows]
    return _looked_up(x, rows, x.shape[0])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _looked_up(x: jax.Array, rows: jax.Array, n: int) -> jax.Array:
    return x[rows]


def _add_rows(n: int, rows: jax.Array, g: jax.Array) -> tuple[jax.Array, None]:
    """The gradient of `_looked_up` by x, of n rows, as a product, which has the same bits every time on a GPU, too."""
    one_hot_MN = jax.nn.one_hot(rows.reshape(-1), n, dtype=g.dtype)
    each = g.reshape(one_hot_MN.shape[0], -1)
    total = _over_rows(one_hot_MN, each, "highest")
    return total.reshape(n, *g.shape[rows.ndim :]), None


_looked_up.defvjp(lambda x, rows, n: (x[rows], rows), _add_rows)


@jax.custom_vjp
def scale_rows(x: jax.Array, factor: jax.Array) -> jax.Array:
    """x * factor, with one factor for each row."""
    return x * factor[..., None]


scale_rows.defvjp(
    lambda x, f: (x * f[..., None], (x, f)),
    lambda xf, g: (g * xf[1][..., None], row_sums(g * xf[0])),
)


@jax.custom_vjp
def shift_rows(x: jax.Array, by: jax.Array) -> jax.Array:
    """x + by, with one number for each row."""
    return x + by[..., None]


shift_rows.defvjp(lambda x, by: (x + by[..., None], None), lambda _, g: (g, row_sums(g)))


def row_means(x: jax.Array) -> jax.Array:
    """Mean over the last axis."""
    return row_sums(x) / x.shape[-1]


def head_columns(n_heads: int, d_model: int) -> jax.Array:
    """Matrix H D with 1 where a column belongs to a head, else 0.

    A single head gets a second row of zeros, so that a product with the matrix is not one with a vector (`row_sums`).
    """
    return jnp.repeat(jnp.eye(max(n_heads, 2), n_heads), d_model // n_heads, axis=1)
