"""Which rows exist at each depth of a transformer, if equal activations are computed only once (sharing.py does it).

The rows of an algorithmic task have many parts in common. An activation at position t depends only on the tokens that
it attends to. So for each depth and position the plan lists the distinct contexts of the table (the rows of a `Block`)
and, for each of them, the rows of the depth below that it attends to. The result is that of the dense forward pass, up
to the order of float sums.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from grokjax.tasks.table import Table


@struct.dataclass
@no_type_check
class Scores:
    """The P distinct (query row, key row) pairs of one block and one of its inputs, if fewer than the block's rows."""

    query_P: jax.Array
    key_P: jax.Array
    codes: jax.Array
    """Number of the pair of each row of the block (size,), or of each table row if the block has a row per example."""


@struct.dataclass
@no_type_check
class BlockInput:
    """What a block reads from one block of the depth below."""

    block: int = struct.field(pytree_node=False)
    rows: jax.Array | None
    """For each row of the reading block, or of the table, the row that it reads. None: example i reads example i."""
    scores: Scores | None


@struct.dataclass
@no_type_check
class Block:
    """The rows that exist for one position at one depth."""

    position: int = struct.field(pytree_node=False)
    size: int | None = struct.field(pytree_node=False)
    """Number of distinct rows; None: one row per executed example."""
    own: int = struct.field(pytree_node=False)
    """Index in `inputs` of the input at the same position, which is the residual stream."""
    inputs: tuple[BlockInput, ...]
    """Empty at depth 0."""
    tokens: jax.Array | None
    """Depth 0: the token of each distinct row, or of each table row. None at other depths."""
    codes_M: jax.Array | None
    """For each table row its row of the block; None if the block is not shared."""


Blocks = tuple[Block, ...]
Plan = tuple[Blocks, ...]
"""One tuple of blocks for the embedding and one for the output of each layer."""


def make_plan(
    table: Table, n_layers: int, causal: bool, n_executed: int, share: bool = True
) -> Plan:
    """The plan for executing `n_executed` rows of the table (a traced selection, or all of them).

    Blocks with fewer distinct rows than `n_executed` are shared (with `share` false: none). In the last layer only the
    answer positions exist.
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
    """The distinct contexts of one position, as NumPy arrays on the host. A Block is made from them."""

    def __init__(self, position: int, codes_M: np.ndarray | None, first: np.ndarray | None):
        self.position, self.codes_M, self.first = position, codes_M, first

    @property
    def size(self) -> int | None:
        return None if self.first is None else len(self.first)


def _distinct(
    tokens_MT: np.ndarray, context: Sequence[int], position: int, limit: int
) -> _Contexts:
    first, codes = _distinct_rows(tokens_MT[:, list(context)])
    if len(first) >= limit:
        return _Contexts(position, None, None)
    return _Contexts(position, codes.astype(np.int32), first.astype(np.int32))


def _distinct_rows(rows_NK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows of whole numbers from 0 on, in lexical order: where each is first; for each row which it is.

    np.unique(axis=0) says the same and takes several times as long.
    """
    first, codes = np.zeros(1, int), np.zeros(len(rows_NK), int)
    for column in rows_NK.T:
        keys = codes * (int(column.max()) + 1) + column
        _, first, codes = np.unique(keys, return_index=True, return_inverse=True)
    return first, codes


def _embedding_block(c: _Contexts, tokens_MT: np.ndarray) -> Block:
    column = tokens_MT[:, c.position]
    tokens = column if c.first is None else column[c.first]
    return Block(c.position, c.size, 0, (), jnp.asarray(tokens, jnp.int32), _array(c.codes_M))


def _layer_block(c: _Contexts, below: list[_Contexts], causal: bool, n_executed: int) -> Block:
    visible = [i for i, b in enumerate(below) if not causal or b.position <= c.position]
    own = next(i for i in visible if below[i].position == c.position)
    inputs = tuple(_input_of(c, below, i, below[own], n_executed) for i in visible)
    return Block(c.position, c.size, visible.index(own), inputs, None, _array(c.codes_M))


def _input_of(
    c: _Contexts, below: list[_Contexts], i: int, own: _Contexts, n_executed: int
) -> BlockInput:
    rows, query_rows = _rows_of(below[i], c), _rows_of(own, c)
    if rows is None or query_rows is None:
        return BlockInput(i, _array(rows), None)
    first, codes = _distinct_rows(np.stack([query_rows, rows], 1))
    if len(first) >= (c.size or n_executed):
        return BlockInput(i, _array(rows), None)
    scores = (query_rows[first], rows[first], codes)
    return BlockInput(i, _array(rows), Scores(*(jnp.asarray(x, jnp.int32) for x in scores)))


def _rows_of(below: _Contexts, reader: _Contexts) -> np.ndarray | None:
    """For each row of `reader` (each table row, if it is not shared) its row of `below`; None if that is not shared."""
    if below.codes_M is None:
        return None
    return below.codes_M if reader.first is None else below.codes_M[reader.first]


def _array(x: np.ndarray | None) -> jax.Array | None:
    return None if x is None else jnp.asarray(x, jnp.int32)


def n_rows_executed(plan: Plan, n_executed: int) -> list[int]:
    """Number of rows at each depth. `--plan` prints them, and the costs are counted from them."""
    return [sum(b.size or n_executed for b in depth) for depth in plan]
