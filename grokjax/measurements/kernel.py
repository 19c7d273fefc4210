"""Change of the neural tangent kernel since step 0 (source 004)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import Array

from grokjax.keys import order_of
from grokjax.measurements.saved import Measurement, Saved
from grokjax.models import Model, Params
from grokjax.settings import execution
from grokjax.tasks import Sequences

MOST = 2**24
"""Largest number of entries of one block of gradients (64 MiB). A few such blocks exist at the same time."""


class NTK(Measurement):
    """Frobenius distance between the Gram matrices of gradients, at these weights and at step 0, divided by the norm of
    the latter.

    The gradients are those of the sum of a row's logits, readout scale included, for training rows drawn with a key
    made from the run's split_seed. If two classes share one output, their logits add up to 0; then the gradients are
    those of the output.
    """

    kind: Literal["ntk"] = execution("ntk")
    n_rows: int = execution(256, ge=1)
    """Number of training rows that are drawn; all of them if there are fewer."""
    dims: ClassVar[dict[str, tuple[str, ...]]] = {"distance": (), "norm": (), "rows": ()}


def _summed(model: Model, logits_NAC: Array) -> Array:
    table = model.table
    if model.settings.kind == "perceptron" and table.answers == "classes" and table.n_classes == 2:
        return (logits_NAC[..., 1] - logits_NAC[..., 0]).sum()
    return logits_NAC.sum()


def labels(s: NTK, model: Model) -> dict[str, Any]:
    return {}


def ntk(s: NTK, saved: Saved) -> dict[str, Array]:
    """`distance`, `norm` (Frobenius norm of the Gram matrix at these weights) and `rows` (number of its rows)."""
    rows_n, real_n = drawn_rows(s.n_rows, saved)
    now, start = (gram(saved, p, rows_n, real_n) for p in (saved.params, saved.view.init_params()))
    distance = jnp.linalg.norm(now - start) / jnp.linalg.norm(start)
    return {"distance": distance, "norm": jnp.linalg.norm(now), "rows": real_n.sum()}


def drawn_rows(n: int, saved: Saved) -> tuple[Array, Array]:
    """Numbers (n,) of table rows, and a mask of the training rows among them; the others are padding of the bucket."""
    index_B = saved.view.rows.index_B
    score_B = jax.random.uniform(jax.random.fold_in(saved.key, 0), index_B.shape)
    order = order_of(jnp.where(saved.real_B, score_B, 2.0))[: min(n, len(index_B))]
    return index_B[order], saved.real_B[order]


def gram(saved: Saved, params: Params, rows_n: Array, real_n: Array) -> Array:
    """Inner products (n, n) of the rows' gradients, computed in blocks so that few gradients exist at the same time."""
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
    """Gradient (n, parameters) of the sum of each row's logits with respect to all parameters; 0 for padding."""
    model = saved.view.model

    def total(params: Params, row: Array | Sequences) -> Array:
        alone = jax.tree.map(lambda x: x[None], row)
        return _summed(model, model.dense(params, alone)) * saved.scale

    inputs = jax.tree.map(lambda x: x[rows_n], saved.inputs)
    each = jax.vmap(jax.grad(total), (None, 0))(params, inputs)
    flat = jnp.concatenate([g.reshape(len(rows_n), -1) for g in jax.tree.leaves(each)], 1)
    return jnp.where(real_n[:, None], flat, 0)
