"""How far the neural tangent kernel has moved since the start (source 004)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import Array

from grokjax.measurements.saved import Measurement, Saved
from grokjax.models import Model, Params
from grokjax.settings import execution

MOST = 2**24
"""Entries of a block of gradients, 64 MiB; a few such blocks exist at a time."""


class NTK(Measurement):
    """Relative Frobenius distance between the Gram matrices of the gradients of the sum of logits, now and at step 0.

    On training rows drawn with a key of the run's split_seed; readout scale included. Two classes that share one
    output have logits that add up to 0: there the gradients are the output's.
    """

    kind: Literal["ntk"] = execution("ntk")
    n_rows: int = execution(256, ge=1)
    """Training rows drawn; all of them where there are fewer."""
    dims: ClassVar[dict[str, tuple[str, ...]]] = {"distance": (), "norm": (), "rows": ()}


def _summed(model: Model, logits_NAC: Array) -> Array:
    if model.settings.kind == "perceptron" and model.table.n_classes == 2:
        return (logits_NAC[..., 1] - logits_NAC[..., 0]).sum()
    return logits_NAC.sum()


def labels(s: NTK, model: Model) -> dict[str, Any]:
    return {}


def ntk(s: NTK, saved: Saved) -> dict[str, Array]:
    """distance, the Gram matrix's own Frobenius norm, and how many rows it is of."""
    rows_n, real_n = drawn_rows(s.n_rows, saved)
    now, start = (gram(saved, p, rows_n, real_n) for p in (saved.params, saved.view.init_params()))
    distance = jnp.linalg.norm(now - start) / jnp.linalg.norm(start)
    return {"distance": distance, "norm": jnp.linalg.norm(now), "rows": real_n.sum()}


def drawn_rows(n: int, saved: Saved) -> tuple[Array, Array]:
    """Table rows (n,), and which of them count: the bucket is filled up behind the training rows."""
    index_B = saved.view.rows.index_B
    score_B = jax.random.uniform(jax.random.fold_in(saved.key, 0), index_B.shape)
    order = jnp.argsort(jnp.where(saved.real_B, score_B, 2.0))[: min(n, len(index_B))]
    return index_B[order], saved.real_B[order]


def gram(saved: Saved, params: Params, rows_n: Array, real_n: Array) -> Array:
    """Inner products (n, n) of the rows' gradients, block by block so that few gradients exist at a time."""
    size = sum(w.size for w in jax.tree.leaves(params))
    width = max(1, min(len(rows_n), MOST // size))
    blocks = -(-len(rows_n) // width)
    missing = blocks * width - len(rows_n)
    rows, real = jnp.pad(rows_n, (0, missing)), jnp.pad(real_n, (0, missing))
    pieces = (rows.reshape(blocks, width), real.reshape(blocks, width))

    def row(piece: tuple[Array, Array]) -> Array:
        left = gradients(saved, params, *piece)
        return jax.lax.map(lambda other: left @ gradients(saved, params, *other).T, pieces)

    products = jax.lax.map(row, pieces).swapaxes(1, 2).reshape(blocks * width, -1)
    return products[: len(rows_n), : len(rows_n)]


def gradients(saved: Saved, params: Params, rows_n: Array, real_n: Array) -> Array:
    """Gradient of the sum of a row's logits by all parameters, (n, parameters); 0 for rows that do not count."""
    model = saved.view.model

    def total(params: Params, row: Array) -> Array:
        return _summed(model, model.dense(params, row[None])) * saved.scale

    each = jax.vmap(jax.grad(total), (None, 0))(params, saved.inputs[rows_n])
    flat = jnp.concatenate([g.reshape(len(rows_n), -1) for g in jax.tree.leaves(each)], 1)
    return jnp.where(real_n[:, None], flat, 0)
