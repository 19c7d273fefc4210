"""Rows of numbers that are zero nearly everywhere: only the others are read (docs/performance.md, workload H)."""

from __future__ import annotations

from typing import no_type_check

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int


@struct.dataclass
@no_type_check
class Nonzeros:
    """Of each row the numbers that are not zero, and their columns; filled up with zeros of the last column."""

    column_NK: Int[Array, "N K"]
    value_NK: Float[Array, "N K"]


def nonzeros_of(x_ND: Float[Array, "N D"], most: int) -> Nonzeros:
    """At most so many numbers of each row, the first ones. Without a sort: the k-th is where the count reaches k."""
    count_ND = jnp.cumsum((x_ND != 0).astype(jnp.int32), 1)
    find = jax.vmap(lambda count_D: jnp.searchsorted(count_D, jnp.arange(1, most + 1)))
    column_NK = jnp.minimum(find(count_ND), x_ND.shape[1] - 1).astype(jnp.int32)
    there_NK = jnp.arange(1, most + 1) <= count_ND[:, -1:]
    value_NK = jnp.where(there_NK, jnp.take_along_axis(x_ND, column_NK, 1), 0)
    return Nonzeros(column_NK, value_NK)


@jax.custom_vjp
def gathered_product(rows: Nonzeros, W_DM: Float[Array, "D M"]) -> Float[Array, "N M"]:
    """x W of the rows x."""
    return (rows.value_NK[..., None] * W_DM[rows.column_NK]).sum(1)


def _forward(
    rows: Nonzeros, W_DM: Float[Array, "D M"]
) -> tuple[Float[Array, "N M"], tuple[Nonzeros, Float[Array, "D M"]]]:
    return gathered_product(rows, W_DM), (rows, W_DM)


def _backward(
    saved: tuple[Nonzeros, Float[Array, "D M"]], g_NM: Float[Array, "N M"]
) -> tuple[None, Float[Array, "D M"]]:
    rows, W_DM = saved
    parts_NKM = rows.value_NK[..., None] * g_NM[:, None]
    at = rows.column_NK.reshape(-1)
    return None, jnp.zeros_like(W_DM).at[at].add(parts_NKM.reshape(len(at), -1))


gathered_product.defvjp(_forward, _backward)
