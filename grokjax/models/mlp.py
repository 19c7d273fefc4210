"""An MLP on concatenated token embeddings, for one run (source 002)."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal, no_type_check

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from pydantic import Field

from grokjax.models.counting import Forward
from grokjax.models.init import SCHEMES, Part
from grokjax.models.linear import affine, product, rows_of
from grokjax.settings import Settings, hyper, shape
from grokjax.tasks.table import Table


class MLPSettings(Settings):
    """MLP on the concatenated embeddings of the tokens of a row (enerrio/grokking-mlp)."""

    kind: Literal["mlp"] = shape("mlp")
    d_model: int = shape(128, ge=1)
    """Width of a token's embedding."""
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = shape(
        (128,), strict=False, min_length=1, max_length=1000
    )
    """Widths of the hidden layers."""
    activation: Literal["relu", "gelu"] = shape("relu")
    """Non-linearity of the hidden layers (gelu: the exact form with erf)."""
    bias: bool = shape(True)
    """Biases of all linear layers."""
    init: Literal[tuple(SCHEMES)] = shape("grokking-mlp")  # type: ignore[valid-type]
    """Initialisation scheme, named after what it reproduces."""
    init_scale: float = hyper(1.0, gt=0)
    """Factor on every weight matrix and embedding at initialisation."""
    readout_scale: float = hyper(1.0, gt=0)
    """Factor on the logits."""


@struct.dataclass
@no_type_check
class ColumnPlan:
    """For each position: the distinct tokens, and for each of the M table rows which of them it has."""

    tokens: tuple[jax.Array, ...]
    codes_M: tuple[jax.Array, ...]


def make_column_plan(table: Table) -> ColumnPlan:
    """The plan of a table.

    The first linear layer on a concatenation is a sum over positions. The term of a position is a row of a small table,
    which has one row for each distinct token.
    """
    # NumPy, not JAX: the number of distinct tokens is the shape of an array, so it must be known before tracing.
    columns = [np.unique(c, return_inverse=True) for c in table.tokens_NT.T]
    return ColumnPlan(
        tuple(jnp.asarray(t, jnp.int32) for t, _ in columns),
        tuple(jnp.asarray(c, jnp.int32).reshape(-1) for _, c in columns),
    )


def sum_of_rows(
    tables: list[jax.Array], codes: list[jax.Array], index_N: jax.Array | None
) -> jax.Array:
    """First pre-activations N F (index_N None: of all rows), from one table (distinct tokens, F) per position."""
    constant = [t for t in tables if len(t) == 1]
    varying = [
        rows_of(t, c if index_N is None else c[index_N])
        for t, c in zip(tables, codes, strict=True)
        if len(t) > 1
    ]
    return sum(varying[1:] + constant, varying[0])


class MLPModule(nn.Module):
    """Parameters W_E, W_0, b_0, ..., W_U, b_U."""

    s: MLPSettings
    n_vocab: int
    n_positions: int
    n_classes: int

    def setup(self) -> None:
        s, draw = self.s, SCHEMES[self.s.init]
        embed = (self.n_vocab, s.d_model)
        self.W_E = self.param("W_E", draw("embed", *embed), embed)
        widths = [self.n_positions * s.d_model, *s.hidden]
        hidden = [
            self.matrix("mlp_in", str(i), *sizes)
            for i, sizes in enumerate(itertools.pairwise(widths))
        ]
        self.layers = [*hidden, self.matrix("unembed", "U", widths[-1], self.n_classes)]

    def matrix(self, part: Part, name: str, fan_in: int, fan_out: int) -> tuple:
        draw = SCHEMES[self.s.init]
        W = self.param(f"W_{name}", draw(part, fan_in, fan_out), (fan_in, fan_out))
        if not self.s.bias:
            return W, None
        return W, self.param(f"b_{name}", draw("bias", fan_in, fan_out), (fan_out,))

    def first_rows(self, plan: ColumnPlan) -> list[jax.Array]:
        """For each position the products of the first layer with its distinct tokens; the first table has the bias."""
        W, b = self.layers[0]
        W_TDF = W.reshape(self.n_positions, self.s.d_model, -1)
        tables = [
            product(rows_of(self.W_E, tokens), W_TDF[t]) for t, tokens in enumerate(plan.tokens)
        ]
        return tables if b is None else [tables[0] + b, *tables[1:]]

    def read_rows(self, plan: ColumnPlan, tables: list, index_N: jax.Array | None) -> jax.Array:
        """Logits N A C of table rows. The first layer is looked up and summed over positions."""
        return self.after_first(sum_of_rows(tables, list(plan.codes_M), index_N))[:, None]

    def read_features(self, plan: ColumnPlan, tables: list, index_N: jax.Array | None) -> jax.Array:
        """Last hidden activations N 1 F of table rows."""
        return self.hidden(sum_of_rows(tables, list(plan.codes_M), index_N))[:, None]

    def dense(self, tokens_NT: jax.Array, answer_positions: tuple[int, ...]) -> jax.Array:
        """Logits N A C by the plain forward pass."""
        pre_NF = affine(self.concatenated(tokens_NT), self.layers[0])
        return self.after_first(pre_NF)[:, None]

    def after_first(self, pre_NF: jax.Array) -> jax.Array:
        return affine(self.hidden(pre_NF), self.layers[-1])

    def neurons(self, tokens_NT: jax.Array, answer_positions: tuple[int, ...]) -> jax.Array:
        """Last hidden activations N A F by the plain forward pass."""
        return self.hidden(affine(self.concatenated(tokens_NT), self.layers[0]))[:, None]

    def concatenated(self, tokens_NT: jax.Array) -> jax.Array:
        """Embeddings of the tokens of each row, side by side."""
        return rows_of(self.W_E, tokens_NT).reshape(len(tokens_NT), -1)

    def hidden(self, pre_NF: jax.Array) -> jax.Array:
        """From the first pre-activations to the last hidden activations."""
        act = nn.relu if self.s.activation == "relu" else _gelu
        for W, b in self.layers[1:-1]:
            pre_NF = affine(act(pre_NF), (W, b))
        return act(pre_NF)


def _gelu(x: jax.Array) -> jax.Array:
    return nn.gelu(x, approximate=False)


def mlp_module(s: MLPSettings, table: Table) -> MLPModule:
    """The module for the table's vocabulary, length and classes."""
    return MLPModule(s, table.n_vocab, table.tokens_NT.shape[1], table.n_classes)


def offers(s: MLPSettings) -> frozenset[str]:
    """What the model offers to probes and measurements (models.MEANING)."""
    one = {"hidden_layer"} if len(s.hidden) == 1 else set()
    return frozenset({"features", "embedding", "token_mlp", "neurons", *one})


def token_maps(s: MLPSettings, table: Table, params: dict[str, jax.Array]) -> jax.Array | None:
    """Linear maps M V F from tokens to neurons, one for each operand; None with several hidden layers."""
    if len(s.hidden) > 1:
        return None
    varying = [t for t, column in enumerate(table.tokens_NT.T) if len(np.unique(column)) > 1]
    W_TDF = params["W_0"].reshape(table.n_positions, s.d_model, -1)
    return jnp.matmul(params["W_E"], W_TDF[np.array(varying)], precision="highest")


def count_mlp(s: MLPSettings, table: Table, n: int) -> Forward:
    """Costs: a table of the first layer for each position, then n rows through the other layers."""
    distinct = [len(np.unique(column)) for column in table.tokens_NT.T]
    widths = [*s.hidden, table.n_classes]
    first = 2 * sum(distinct) * s.d_model * widths[0] + n * len(distinct) * widths[0]
    flops = first + sum(2 * n * a * b for a, b in itertools.pairwise(widths))
    shared = sum(distinct) * (s.d_model + widths[0])
    per_row = 2 * sum(widths) + widths[0]
    return Forward([sum(distinct), n], float(flops), shared, per_row, max(widths))
