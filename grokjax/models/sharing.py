"""Compute every distinct thing once: the plan of which rows exist at each depth of a transformer.

A dataset of algorithmic tasks repeats itself. An activation at position t depends only on the tokens it has seen, so
for each depth and position the plan lists the distinct contexts of the table ('rows of a block') and, for each of
them, which rows of the depth below it attends to. Executing the plan gives the dense forward pass exactly, up to the
order of float sums; `tests/test_sharing.py` holds the two equal, gradients included.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from grokjax.tasks.table import Table


@struct.dataclass
class Scores:
    """Distinct (query row, key row) pairs of one block and one source, when fewer than the block's rows."""

    query_P: Any
    key_P: Any
    codes: Any
    """The pair of each row: of the block (P' = size), or of the table where the block has one row per example."""


@struct.dataclass
class Source:
    """What a block reads of one block of the depth below."""

    block: int = struct.field(pytree_node=False)
    rows: Any
    """Row of the source for each row of the block, or of the table. None: example i reads example i."""
    scores: Any


@struct.dataclass
class Block:
    """The rows that exist for one position at one depth."""

    position: int = struct.field(pytree_node=False)
    size: int | None = struct.field(pytree_node=False)
    """Number of distinct rows; None: one row per executed example."""
    own: int = struct.field(pytree_node=False)
    """Index in `sources` of the block of the same position (its residual stream)."""
    sources: Any
    """In depth 0 empty."""
    tokens: Any
    """Depth 0: the token of each distinct row, or of each table row."""
    codes_M: Any
    """Row of the block for each row of the table, where shared."""


Plan = tuple[tuple[Block, ...], ...]
"""One tuple of blocks for the embedding and one for the output of each layer."""


def make_plan(
    table: Table, n_layers: int, causal: bool, n_executed: int, share: bool = True
) -> Plan:
    """The plan for executing `n_executed` rows of the table (a traced selection, or all of them).

    Blocks with fewer distinct rows than `n_executed` are shared. In the last layer only the answer positions exist.
    """
    tokens_MT = table.tokens_NT
    n_positions = tokens_MT.shape[1]
    limit = n_executed if share else 0
    depths = [[_distinct(tokens_MT, [t], t, limit) for t in range(n_positions)]]
    for layer in range(n_layers):
        positions = range(n_positions) if layer < n_layers - 1 else table.answer_positions
        context = lambda t: range(t + 1 if causal else n_positions)  # noqa: E731
        depths.append([_distinct(tokens_MT, context(t), t, limit) for t in positions])
    embedding = tuple(_embedding_block(c, tokens_MT) for c in depths[0])
    layers = [
        tuple(_layer_block(c, below, causal, n_executed) for c in blocks)
        for below, blocks in itertools.pairwise(depths)
    ]
    return (embedding, *layers)


class _Contexts:
    """Distinct contexts of one position: host-side numbers from which a Block is made."""

    def __init__(self, position: int, codes_M: np.ndarray | None, first: np.ndarray | None):
        self.position, self.codes_M, self.first = position, codes_M, first

    @property
    def size(self) -> int | None:
        return None if self.first is None else len(self.first)


def _distinct(
    tokens_MT: np.ndarray, context: Sequence[int], position: int, limit: int
) -> _Contexts:
    _, first, codes = np.unique(
        tokens_MT[:, list(context)], axis=0, return_index=True, return_inverse=True
    )
    if len(first) >= limit:
        return _Contexts(position, None, None)
    return _Contexts(position, codes.reshape(-1).astype(np.int32), first.astype(np.int32))


def _embedding_block(c: _Contexts, tokens_MT: np.ndarray) -> Block:
    column = tokens_MT[:, c.position]
    tokens = column if c.first is None else column[c.first]
    return Block(c.position, c.size, 0, (), jnp.asarray(tokens, jnp.int32), _array(c.codes_M))


def _layer_block(c: _Contexts, below: list[_Contexts], causal: bool, n_executed: int) -> Block:
    visible = [i for i, b in enumerate(below) if not causal or b.position <= c.position]
    own = next(i for i in visible if below[i].position == c.position)
    sources = tuple(_source(c, below, i, below[own], n_executed) for i in visible)
    return Block(c.position, c.size, visible.index(own), sources, None, _array(c.codes_M))


def _source(
    c: _Contexts, below: list[_Contexts], i: int, own: _Contexts, n_executed: int
) -> Source:
    rows, query_rows = _rows_of(below[i], c), _rows_of(own, c)
    if rows is None or query_rows is None:
        return Source(i, _array(rows), None)
    pairs, codes = np.unique(np.stack([query_rows, rows], 1), axis=0, return_inverse=True)
    if len(pairs) >= (c.size or n_executed):
        return Source(i, _array(rows), None)
    pair_of = jnp.asarray(codes.reshape(-1), jnp.int32)
    return Source(i, _array(rows), Scores(_array(pairs[:, 0]), _array(pairs[:, 1]), pair_of))


def _rows_of(source: _Contexts, reader: _Contexts) -> np.ndarray | None:
    """Row of `source` for each row of `reader` (or of the table, where the reader is not shared)."""
    if source.codes_M is None:
        return None
    return source.codes_M if reader.first is None else source.codes_M[reader.first]


def _array(x: np.ndarray | None) -> jax.Array | None:
    return None if x is None else jnp.asarray(x, jnp.int32)


def _select(rows: jax.Array | None, shared: bool, index_N: jax.Array | None) -> jax.Array | None:
    """A stored map as seen by the rows that are executed."""
    return rows if rows is None or shared or index_N is None else rows[index_N]


def look_up(x: jax.Array, rows: jax.Array | None) -> jax.Array:
    """Rows of x by number; a single row is left to broadcasting; None is the identity."""
    if rows is None or x.shape[0] == 1:
        return x
    return x[rows]


def n_rows_executed(plan: Plan, n_executed: int) -> list[int]:
    """Rows at each depth: what `--plan` prints, and what the estimates of cost count."""
    return [sum(b.size or n_executed for b in depth) for depth in plan]


def execute(module, plan: Plan, index_N: jax.Array | None) -> jax.Array:
    """Run a bound `TransformerModule` over a plan. index_N: table rows to execute, None: all. Returns logits N A C."""
    x = _embed(module, plan[0], index_N)
    for block, below, blocks in zip(module.blocks, plan, plan[1:], strict=False):
        x = _layer(block, x, below, blocks, index_N)
    logits = [
        look_up(y, _final_rows(b, index_N)) for b, y in zip(plan[-1], module.read(x), strict=True)
    ]
    return jnp.stack(logits, axis=1)


def _final_rows(block: Block, index_N: jax.Array | None) -> jax.Array | None:
    return _select(block.codes_M, False, index_N)


def _embed(module, blocks: tuple[Block, ...], index_N: jax.Array | None) -> list[jax.Array]:
    return [
        module.embed_tokens(_select(b.tokens, b.size is not None, index_N), b.position)
        for b in blocks
    ]


def _by_rows(f, xs: list[jax.Array]) -> list[jax.Array]:
    """Apply a row-wise function once to all blocks together: few large products instead of many small ones."""
    bounds = np.cumsum([len(x) for x in xs])[:-1].tolist()
    return jnp.split(f(jnp.concatenate(xs)), bounds) if len(xs) > 1 else [f(xs[0])]


def _layer(block, x: list[jax.Array], below, blocks, index_N) -> list[jax.Array]:
    keys, values = _by_rows(block.keys, x), _by_rows(block.values, x)
    owners = [b.sources[b.own].block for b in blocks]
    queries = _by_rows(block.queries, [x[i] for i in owners])
    z, resid = [], []
    for b, own, q in zip(blocks, owners, queries, strict=True):
        z.append(_attend(b, q, keys, values, index_N))
        resid.append(_expand(b, look_up(x[own], _read(b, b.sources[b.own], index_N)), z[-1]))
    return _finish(block, resid, z)


def _finish(block, resid: list[jax.Array], z: list[jax.Array]) -> list[jax.Array]:
    sizes = np.cumsum([len(r) for r in resid])[:-1].tolist()
    if not sizes:
        return [block.finish(resid[0], z[0])]
    return jnp.split(block.finish(jnp.concatenate(resid), jnp.concatenate(z)), sizes)


def _expand(b: Block, x: jax.Array, like: jax.Array) -> jax.Array:
    return jnp.broadcast_to(x, (len(like), *x.shape[1:]))


def _read(b: Block, source: Source, index_N: jax.Array | None) -> jax.Array | None:
    return _select(source.rows, b.size is not None, index_N)


def _attend(b: Block, q, keys, values, index_N) -> jax.Array:
    """Mixed values N H K of one block. q: the block's own source rows, H, K."""
    own_rows = _read(b, b.sources[b.own], index_N)
    scores = [_score(b, s, q, keys[s.block], own_rows, index_N) for s in b.sources]
    n = max(len(s) for s in scores)
    scores_NHS = jnp.stack([jnp.broadcast_to(s, (n, s.shape[1])) for s in scores], -1)
    pattern_NHS = jax.nn.softmax(scores_NHS, -1)
    mixed = [
        pattern_NHS[..., j, None] * look_up(values[s.block], _read(b, s, index_N))
        for j, s in enumerate(b.sources)
    ]
    return sum(mixed[1:], mixed[0])


def _score(b: Block, s: Source, q, k, own_rows, index_N) -> jax.Array:
    """Attention scores N H of a block towards one source, on distinct pairs where there are fewer of them."""
    if s.scores is None:
        return (look_up(q, own_rows) * look_up(k, _read(b, s, index_N))).sum(-1)
    pairs = (look_up(q, s.scores.query_P) * look_up(k, s.scores.key_P)).sum(-1)
    return look_up(pairs, _select(s.scores.codes, b.size is not None, index_N))
