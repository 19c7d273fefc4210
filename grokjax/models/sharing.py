"""The forward pass of a transformer that computes equal activations only once, along a plan (sharing_plan.py).

What examples share is computed once per step in tables; the rest reads them. The result is that of the dense forward
pass, up to the order of float sums; `tests/test_sharing.py` compares the two, gradients included.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from grokjax.models.linear import rows_of
from grokjax.models.sharing_plan import Block, BlockInput, Blocks, Plan
from grokjax.models.transformer import TransformerBlock, TransformerModule

Made = list[Any]
"""For each of some blocks its array; None: not computed yet."""


@struct.dataclass
@no_type_check
class Layer:
    """Arrays of a layer. `queries`, `keys`, `values`: for each block below; `pairs`, `made`: for each of its blocks."""

    queries: Made
    keys: Made
    values: Made
    pairs: list[Made]
    """Scores of distinct pairs: for each block, for each of its inputs."""
    made: Made
    """Residual stream after the layer."""


@struct.dataclass
@no_type_check
class Tables:
    """Arrays of the blocks that examples share, for one run's parameters.

    They are computed once per step, and values of rows are looked up in them.
    """

    embedded: Made
    layers: list[Layer]
    logits: Made


def make_tables(module: TransformerModule, plan: Plan) -> Tables:
    """The shared part of the forward pass. `module`: a bound `TransformerModule`."""
    return _forward(module, plan, _nothing(plan), None, shared=True)


def read_rows(
    module: TransformerModule, plan: Plan, tables: Tables, index_N: jax.Array | None
) -> jax.Array:
    """Logits N A C of the table's rows `index_N` (None: all), by the part of the forward pass that is not shared."""
    return _by_answer(plan, _forward(module, plan, tables, index_N, shared=False).logits, index_N)


def read_features(
    module: TransformerModule, plan: Plan, tables: Tables, index_N: jax.Array | None
) -> jax.Array:
    """Features N A D of the table's rows `index_N` (None: all): what the unembedding is multiplied with."""
    made = _forward(module, plan, tables, index_N, shared=False).layers[-1].made
    return module.normalise(_by_answer(plan, made, index_N))


def _by_answer(plan: Plan, made: list, index_N: jax.Array | None) -> jax.Array:
    """The blocks of the last depth, one for each answer, as an array N A ... of the table's rows `index_N`."""
    rows = [
        look_up(x, _select(b.codes_M, False, index_N)) for b, x in zip(plan[-1], made, strict=True)
    ]
    return jnp.stack(rows, axis=1)


def _nothing(plan: Plan) -> Tables:
    layers = []
    for below, blocks in itertools.pairwise(plan):
        unread: list = [None] * len(below)
        pairs: list = [[None] * len(b.inputs) for b in blocks]
        layers.append(Layer(unread, unread, unread, pairs, [None] * len(blocks)))
    return Tables([None] * len(plan[0]), layers, [None] * len(plan[-1]))


def _forward(
    module: TransformerModule, plan: Plan, known: Tables, index_N: jax.Array | None, shared: bool
) -> Tables:
    """The known arrays, and those of the blocks that are shared (`shared`) or have one row per example (else)."""
    wanted = [[i for i, b in enumerate(d) if (b.size is not None) == shared] for d in plan]
    x, layers = list(known.embedded), []
    for i in wanted[0]:
        b = plan[0][i]
        tokens = _select(b.tokens, shared, index_N)
        assert tokens is not None, "of the embedding"
        x[i] = module.embed_tokens(tokens, b.position)
    embedded = x
    for depth, block in enumerate(module.blocks):
        blocks, layer = plan[depth + 1], known.layers[depth]
        layer = _project(block, blocks, layer, x, wanted[depth])
        if shared:
            layer = layer.replace(  # type: ignore[attr-defined]
                pairs=[_pairs(block, b, layer) for b in blocks]
            )
        layer = _mix_and_finish(block, blocks, layer, x, wanted[depth + 1], index_N)
        layers.append(layer)
        x = layer.made
    return Tables(embedded, layers, _fill(module.unembed, known.logits, wanted[-1], x))


def _fill(f: Callable, known: list, wanted: list[int], *inputs: list) -> list:
    """The known entries, and the wanted ones from one call of f on all their rows.

    One large product is faster than many small ones.
    """
    if not wanted:
        return known
    together = [jnp.concatenate([x[i] for i in wanted]) for x in inputs]
    bounds = np.cumsum([len(inputs[0][i]) for i in wanted])[:-1].tolist()
    made = dict(zip(wanted, jnp.split(f(*together), bounds), strict=True))
    return [made.get(i, x) for i, x in enumerate(known)]


def _project(
    block: TransformerBlock, blocks: Blocks, layer: Layer, x: list, wanted: list[int]
) -> Layer:
    """Keys and values of the wanted blocks below, and queries of those that are the residual stream of a block."""
    owners = {b.inputs[b.own].block for b in blocks}
    return layer.replace(  # type: ignore[attr-defined]
        queries=_fill(block.queries, layer.queries, [i for i in wanted if i in owners], x),
        keys=_fill(block.keys, layer.keys, wanted, x),
        values=_fill(block.values, layer.values, wanted, x),
    )


def _mix_and_finish(
    block: TransformerBlock,
    blocks: Blocks,
    layer: Layer,
    x: list,
    wanted: list[int],
    index_N: jax.Array | None,
) -> Layer:
    z: list = [None] * len(blocks)
    resid: list = [None] * len(blocks)
    for i in wanted:
        b = blocks[i]
        own = b.inputs[b.own]
        z[i] = _attend(block, b, layer, layer.pairs[i], index_N)
        resid_pre = look_up(x[own.block], _read(b, own, index_N))
        resid[i] = jnp.broadcast_to(resid_pre, (len(z[i]), resid_pre.shape[-1]))
    return layer.replace(made=_fill(block.finish, layer.made, wanted, resid, z))  # type: ignore[attr-defined]


def _read(b: Block, below: BlockInput, index_N: jax.Array | None) -> jax.Array | None:
    return _select(below.rows, b.size is not None, index_N)


def _attend(
    block: TransformerBlock, b: Block, layer: Layer, pairs: list, index_N: jax.Array | None
) -> jax.Array:
    """Values N D of one block, mixed by attention."""
    own = b.inputs[b.own]
    q = layer.queries[own.block]
    scores = []
    for s, known in zip(b.inputs, pairs, strict=True):
        if known is None or s.scores is None:
            k_ND = look_up(layer.keys[s.block], _read(b, s, index_N))
            scores.append(_dot(block, look_up(q, _read(b, own, index_N)), k_ND))
        else:
            scores.append(look_up(known, _select(s.scores.codes, b.size is not None, index_N)))
    mixed = [
        _mix(block, pattern_NH, layer.values[s.block], _read(b, s, index_N))
        for pattern_NH, s in zip(softmax_of_list(scores), b.inputs, strict=True)
    ]
    return sum(mixed[1:], mixed[0])


def _pairs(block: TransformerBlock, b: Block, layer: Layer) -> list:
    """For each input of a block the scores of its distinct (query row, key row) pairs; None if `scores` is None."""
    q = layer.queries[b.inputs[b.own].block]
    return [
        None
        if s.scores is None
        else _dot(block, look_up(q, s.scores.query_P), look_up(layer.keys[s.block], s.scores.key_P))
        for s in b.inputs
    ]


def _dot(block: TransformerBlock, q_ND: jax.Array, k_ND: jax.Array) -> jax.Array:
    """Scores N H."""
    return (q_ND * k_ND) @ block.heads_HD.T


def softmax_of_list(scores: list[jax.Array]) -> list[jax.Array]:
    """Softmax over the entries of a list. It works element by element; a stacked axis would need three reductions."""
    top = functools.reduce(jnp.maximum, [jax.lax.stop_gradient(s) for s in scores])
    weights = [jnp.exp(s - top) for s in scores]
    total = sum(weights[1:], weights[0])
    return [w / total for w in weights]


def _mix(
    block: TransformerBlock, pattern_NH: jax.Array, v: jax.Array, rows: jax.Array | None
) -> jax.Array:
    """Each head's attention weight times its columns of the values, N D.

    A product with `heads_HD` repeats the weight over the columns of a head, so that its gradient is a product too.
    Otherwise the gradient is a sum over a narrow axis, which took 2 ms of a 40 ms step (p = 113, one CPU core).
    """
    if len(v) == 1:  # one row for all: the gradient of this product includes the sum over rows
        return pattern_NH @ (block.heads_HD * v)
    return (pattern_NH @ block.heads_HD) * look_up(v, rows)


def _select(rows: jax.Array | None, shared: bool, index_N: jax.Array | None) -> jax.Array | None:
    """The entries of `rows` for the executed table rows; all of them if the block is shared."""
    return rows if rows is None or shared or index_N is None else rows[index_N]


def look_up(x: jax.Array, rows: jax.Array | None) -> jax.Array:
    """Rows of x by number. None: x itself. If x has a single row, it is returned and broadcast later."""
    if rows is None or x.shape[0] == 1:
        return x
    return rows_of(x, rows)
