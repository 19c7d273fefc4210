"""The one-hot quadratic MLP of Gromov 2023 (arXiv 2301.02679), for one run."""

from __future__ import annotations

import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from grokjax.models.counting import Forward
from grokjax.models.init import Draw
from grokjax.models.linear import product
from grokjax.models.mlp import ColumnPlan, sum_of_rows
from grokjax.settings import Settings, hyper, shape
from grokjax.tasks.table import Table


class QuadraticSettings(Settings):
    """logits = (x W_in / sqrt(inputs))² W_U / d_mlp on one-hot operands x, weights N(0, 1), no biases (Gromov 2023)."""

    kind: Literal["quadratic"] = shape("quadratic")
    d_mlp: int = shape(500, ge=1)
    """Width of the hidden layer."""
    init_scale: float = hyper(1.0, gt=0)
    """Factor on both weight matrices at initialisation."""
    readout_scale: float = hyper(1.0, gt=0)
    """Factor on the logits."""


class QuadraticModule(nn.Module):
    """Parameters W_in (one row per value of each operand) and W_U. Constant positions are not inputs."""

    s: QuadraticSettings
    varying: tuple[tuple[int, tuple[int, ...]], ...]
    """Position and tokens that occur there, for each position whose token varies."""
    n_classes: int

    def setup(self) -> None:
        self.n_inputs = sum(len(tokens) for _, tokens in self.varying)
        normal = Draw("normal", 1.0)
        self.W_in = self.param("W_in", normal, (self.n_inputs, self.s.d_mlp))
        self.W_U = self.param("W_U", normal, (self.s.d_mlp, self.n_classes))

    def first_rows(self, plan: ColumnPlan) -> list[jax.Array]:
        """For each operand its rows of W_in. One-hot inputs need no product."""
        bounds = [len(tokens) for _, tokens in self.varying]
        return jnp.split(self.W_in, np.cumsum(bounds)[:-1].tolist())

    def read_rows(self, plan: ColumnPlan, tables: list, index_N: jax.Array | None) -> jax.Array:
        """Logits N A C of table rows."""
        return self.read(sum_of_rows(tables, [plan.codes_M[t] for t, _ in self.varying], index_N))

    def read_features(self, plan: ColumnPlan, tables: list, index_N: jax.Array | None) -> jax.Array:
        """Hidden activations N 1 F of table rows."""
        pre_NF = sum_of_rows(tables, [plan.codes_M[t] for t, _ in self.varying], index_N)
        return self.hidden(pre_NF)[:, None]

    def dense(self, tokens_NT: jax.Array, answer_positions: tuple[int, ...]) -> jax.Array:
        """Logits N A C from explicit one-hot inputs."""
        return self.read(self.one_hot(tokens_NT) @ self.W_in)

    def neurons(self, tokens_NT: jax.Array, answer_positions: tuple[int, ...]) -> jax.Array:
        """Hidden activations N A F from explicit one-hot inputs."""
        return self.hidden(self.one_hot(tokens_NT) @ self.W_in)[:, None]

    def one_hot(self, tokens_NT: jax.Array) -> jax.Array:
        columns = [
            (tokens_NT[:, t, None] == jnp.asarray(tokens)).astype(jnp.float32)
            for t, tokens in self.varying
        ]
        return jnp.concatenate(columns, 1)

    def read(self, pre_NF: jax.Array) -> jax.Array:
        return (product(self.hidden(pre_NF), self.W_U) / self.s.d_mlp)[:, None]

    def hidden(self, pre_NF: jax.Array) -> jax.Array:
        return (pre_NF / math.sqrt(self.n_inputs)) ** 2


def quadratic_module(s: QuadraticSettings, table: Table) -> QuadraticModule:
    """The module for the positions of the table that vary."""
    columns = [(t, sorted(set(c.tolist()))) for t, c in enumerate(table.tokens_NT.T)]
    varying = tuple((t, tuple(tokens)) for t, tokens in columns if len(tokens) > 1)
    return QuadraticModule(s, varying, table.n_classes)


def count_quadratic(s: QuadraticSettings, table: Table, n: int) -> Forward:
    """Costs: rows of W_in are looked up, so the only product is that with W_U."""
    flops = 2.0 * n * s.d_mlp * table.n_classes + 3 * n * s.d_mlp
    per_row = 4 * s.d_mlp + 3 * table.n_classes
    return Forward([n], flops, 0, per_row, max(s.d_mlp, table.n_classes))
