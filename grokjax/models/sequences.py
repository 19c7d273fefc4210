"""The forward pass of a transformer over sequences that a run draws: no plan can say what they have in common.

Two identities of docs/design.md, section 6, hold for all sequences: in the last layer only the positions that are read
are computed, and keys and values of the first layer depend on position and token only, so with fewer tokens than rows
they are computed once for all rows. `TransformerModule.dense` is the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, no_type_check

import jax
import jax.numpy as jnp
from flax import struct

from grokjax.models import forms
from grokjax.models.linear import rows_of
from grokjax.models.transformer import TransformerBlock, TransformerModule
from grokjax.tasks import Sequences


@struct.dataclass
@no_type_check
class FirstLayer:
    """What the first layer makes of every token at every position, (T * V, ...): row t * V + v is token v at t."""

    embedded: jax.Array
    queries: jax.Array | None
    """None if the first layer is also the last, which computes queries only where it is read."""
    keys: jax.Array
    values: jax.Array


def or_else(of_sequences: Callable, of_plans: Callable) -> Callable:
    """One function for both: the first where the plan is Sequences, the other where it is a plan of a Table."""

    def either(module: TransformerModule, plan: Any, *rest: Any) -> Any:
        return (of_sequences if isinstance(plan, Sequences) else of_plans)(module, plan, *rest)

    return either


def make_tables(module: TransformerModule, rows: Sequences) -> FirstLayer | None:
    """The first layer of every token at every position; None if that is not less than all positions of all rows."""
    if module.n_vocab >= rows.executed:
        return None
    block, n_vocab = module.blocks[0], module.n_vocab
    x_TVD = jnp.stack(
        [module.embed_tokens(jnp.arange(n_vocab), t) for t in range(module.n_positions)]
    )
    x_MD = x_TVD.reshape(-1, x_TVD.shape[-1])
    only = len(module.blocks) == 1
    queries = None if only else block.queries(x_MD)
    return FirstLayer(x_MD, queries, block.keys(x_MD), block.values(x_MD))


def read_rows(
    module: TransformerModule, rows: Sequences, tables: FirstLayer | None, index_N: jax.Array | None
) -> jax.Array:
    """Logits N A C of the rows `index_N` (None: all)."""
    return module.unembed(_last_residuals(module, rows, tables, index_N))


def read_features(
    module: TransformerModule, rows: Sequences, tables: FirstLayer | None, index_N: jax.Array | None
) -> jax.Array:
    """Features N A D of the rows `index_N` (None: all): what the unembedding is multiplied with."""
    return module.normalise(_last_residuals(module, rows, tables, index_N))


def _last_residuals(
    module: TransformerModule, rows: Sequences, tables: FirstLayer | None, index_N: jax.Array | None
) -> jax.Array:
    """The residual stream N A D after the last layer, at the positions that are read."""
    tokens_NT, at_NA = rows.tokens_NT, rows.at_NA
    if index_N is not None:
        tokens_NT, at_NA = tokens_NT[index_N], at_NA[index_N]
    place_NT = tokens_NT + module.n_vocab * jnp.arange(tokens_NT.shape[1])
    x_NTD = (
        module.embed_sequences(tokens_NT) if tables is None else rows_of(tables.embedded, place_NT)
    )
    everywhere_NT = jnp.broadcast_to(jnp.arange(tokens_NT.shape[1]), tokens_NT.shape)
    for depth, block in enumerate(module.blocks):
        last = depth == len(module.blocks) - 1
        resid_NAD = _at(x_NTD, at_NA) if last else x_NTD
        if depth == 0 and tables is not None:
            q = None if tables.queries is None else rows_of(tables.queries, place_NT)
            k, v = rows_of(tables.keys, place_NT), rows_of(tables.values, place_NT)
        else:
            q, k, v = None, block.keys(x_NTD), block.values(x_NTD)
        q = block.queries(resid_NAD) if q is None else q
        query_at_NA = at_NA if last else everywhere_NT
        x_NTD = block.finish(resid_NAD, attend(block, q, k, v, query_at_NA, module.s.causal))
    return x_NTD


def _at(x_NTD: jax.Array, at_NA: jax.Array) -> jax.Array:
    """Each row at its own positions, N A D."""
    n, length, width = x_NTD.shape
    return rows_of(x_NTD.reshape(n * length, width), at_NA + length * jnp.arange(n)[:, None])


def attend(
    block: TransformerBlock,
    q_NAC: jax.Array,
    k_NTC: jax.Array,
    v_NTC: jax.Array,
    query_at_NA: jax.Array,
    causal: bool,
) -> jax.Array:
    """Values N A C of all heads, mixed by attention of the queries, which are at the positions `query_at_NA`."""
    if q_NAC.shape[1] == 1:
        # A product with a single query would be one of a matrix and a vector, which must be avoided (linear.row_sums).
        twice = [jnp.concatenate([x, x], 1) for x in (q_NAC, query_at_NA)]
        return attend(block, twice[0], k_NTC, v_NTC, twice[1], causal)[:, :1]
    seen_NAT = query_at_NA[..., None] >= jnp.arange(k_NTC.shape[1]) if causal else None
    if forms.current().heads == "one by one":
        heads = (jnp.split(x, block.s.n_heads, -1) for x in (q_NAC, k_NTC, v_NTC))
        mixed = [_one_head(q, k, v, seen_NAT) for q, k, v in zip(*heads, strict=True)]
        return jnp.concatenate(mixed, -1)
    q, k, v = (x.reshape(*x.shape[:2], block.s.n_heads, -1) for x in (q_NAC, k_NTC, v_NTC))
    scores_NHAT = jnp.einsum("nahc,nthc->nhat", q, k)
    if seen_NAT is not None:
        scores_NHAT = jnp.where(seen_NAT[:, None], scores_NHAT, -jnp.inf)
    pattern_NHAT = jax.nn.softmax(scores_NHAT, -1)
    return jnp.einsum("nhat,nthc->nahc", pattern_NHAT, v).reshape(q_NAC.shape)


def _one_head(
    q_NAK: jax.Array, k_NTK: jax.Array, v_NTK: jax.Array, seen_NAT: jax.Array | None
) -> jax.Array:
    """Values N A K mixed by one head. The sum of the weights is one more column of the product with the values."""
    scores_NAT = q_NAK @ k_NTK.swapaxes(1, 2)
    if seen_NAT is not None:
        scores_NAT = jnp.where(seen_NAT, scores_NAT, -jnp.inf)
    weights_NAT = jnp.exp(scores_NAT - jax.lax.stop_gradient(scores_NAT.max(-1, keepdims=True)))
    ones_NT2 = jnp.ones((*v_NTK.shape[:2], 2))  # two, for the reason that row_sums has
    mixed = weights_NAT @ jnp.concatenate([v_NTK, ones_NT2], -1)
    width = v_NTK.shape[-1]
    return mixed[..., :width] / mixed[..., width : width + 1]
