"""Models, one file for each family.

A new kind needs its settings and its module in such a file, and one line in MODELS below.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from grokjax.models import (
    bottleneck,
    mlp,
    perceptron,
    quadratic,
    sequences,
    sharing,
    sharing_plan,
    transformer,
)
from grokjax.models.counting import Forward, count_program
from grokjax.models.init import draw_all, scale_weights
from grokjax.models.kind import ModelKind, ModelPlan, ModelSettings, ModelTables, Shared
from grokjax.models.transformer_count import count_transformer
from grokjax.models.transformer_paths import token_maps_of_transformer
from grokjax.models.transformer_settings import TransformerSettings
from grokjax.settings import Settings, kind_of
from grokjax.tasks import Sequences, Table, TaskData

__all__ = [
    "MODELS",
    "Model",
    "ModelKind",
    "ModelSettings",
    "Params",
    "Shared",
    "n_parameters",
    "tensor_names",
]

Params = dict[str, Any]
"""Parameters as arrays by name; those of a transformer layer are in a dictionary of their own. Gradients and updates
have the same form."""


def _transformer_plan(s: TransformerSettings, table: TaskData, n: int) -> sharing_plan.Plan | None:
    # Sequences that a run draws are their own plan.
    return (
        sharing_plan.make_plan(table, s.n_layers, s.causal, n) if isinstance(table, Table) else None
    )


def _column_plan(s: Settings, table: Table, n: int) -> mlp.ColumnPlan:
    return mlp.make_column_plan(table)


MODELS: dict[str, ModelKind] = {
    "transformer": ModelKind(
        TransformerSettings,
        transformer.transformer_module,
        Shared(
            _transformer_plan,
            sequences.or_else(sequences.make_tables, sharing.make_tables),
            sequences.or_else(sequences.read_rows, sharing.read_rows),
            sequences.or_else(sequences.read_features, sharing.read_features),
        ),
        reads=("tokens", "sequences"),
        count=count_transformer,
        offers=transformer.offers,
        hidden=transformer.hidden,
        token_maps=token_maps_of_transformer,
        tied=lambda s: s.tied,
    ),
    "mlp": ModelKind(
        mlp.MLPSettings,
        mlp.mlp_module,
        Shared(
            _column_plan,
            mlp.MLPModule.first_rows,
            mlp.MLPModule.read_rows,
            mlp.MLPModule.read_features,
        ),
        count=mlp.count_mlp,
        offers=mlp.offers,
        hidden=lambda s: (None, "W_0", "W_U"),
        token_maps=mlp.token_maps,
    ),
    "quadratic": ModelKind(
        quadratic.QuadraticSettings,
        quadratic.quadratic_module,
        Shared(
            _column_plan,
            quadratic.QuadraticModule.first_rows,
            quadratic.QuadraticModule.read_rows,
            quadratic.QuadraticModule.read_features,
        ),
        count=quadratic.count_quadratic,
        offers=lambda s: frozenset({"features", "hidden_layer", "neurons"}),
        hidden=lambda s: (None, "W_in", "W_U"),
    ),
    "perceptron": ModelKind(
        perceptron.PerceptronSettings,
        perceptron.perceptron_module,
        Shared(
            perceptron.no_plan,
            perceptron.PerceptronModule.no_tables,
            perceptron.PerceptronModule.read_rows,
            perceptron.PerceptronModule.read_features,
        ),
        reads=("numbers",),
        count=perceptron.count_perceptron,
        offers=perceptron.offers,
        hidden=lambda s: (None, "W_0", "W_U"),
    ),
    "bottleneck": ModelKind(
        bottleneck.BottleneckSettings,
        bottleneck.bottleneck_module,
        Shared(
            perceptron.no_plan,
            bottleneck.BottleneckModule.no_tables,
            bottleneck.BottleneckModule.read_rows,
            bottleneck.BottleneckModule.read_features,
        ),
        reads=("numbers",),
        count=bottleneck.count_bottleneck,
        offers=lambda s: frozenset({"features"}),
        gathers=True,
        tied=lambda s: s.tied,
    ),
}


class Model:
    """A model for one Table or one Sample: `init` and two forward passes, all for one run."""

    def __init__(self, settings: Settings, table: TaskData):
        self.settings: Any = settings
        self.table = table
        self.kind = MODELS[kind_of(type(settings))]
        self.module = self.kind.module(settings, table)

    @property
    def token_table(self) -> Table:
        """The table. Use it only where the model must be one that reads tokens."""
        assert isinstance(self.table, Table)
        return self.table

    def plan(self, n_rows: int) -> ModelPlan:
        """Arrays that say which distinct rows exist when n_rows rows of the table are executed.

        If the kind shares nothing, these are all rows. For a Sample it is None: the inputs that a run draws are its
        plan.
        """
        if self.kind.shared is not None:
            return self.kind.shared.plan(self.settings, self.table, n_rows)
        return None if self.table.drawn else jnp.asarray(self.token_table.tokens_NT, jnp.int32)

    def count(self, n_rows: int) -> Forward:
        """Costs of a forward pass over n rows."""
        if self.kind.count is not None:
            return self.kind.count(self.settings, self.table, n_rows)
        return self.count_dense(n_rows)

    def count_dense(self, n_rows: int) -> Forward:
        """Costs of the plain forward pass over n rows."""
        params = jax.eval_shape(self.init, jax.random.key(0))
        row = jnp.asarray(self.table.example)
        rows = jnp.broadcast_to(row, (n_rows, *row.shape[1:]))
        return count_program(lambda p: self.dense(p, rows), params, n_rows)

    def init(self, key: jax.Array, scale: ArrayLike = 1.0) -> Params:
        """Fresh parameters as a nested dictionary."""
        row, at = jnp.asarray(self.table.example), self.table.answer_positions
        params = draw_all(lambda: self.module.init(key, row, at, method="dense")["params"], key)
        return scale_weights(dict(params), scale)

    def shapes(self) -> Params:
        """Shapes of the parameters. Only traced: no array is made, and JAX starts no device."""
        return self.traced(1)[1]

    def traced(self, n_rows: int) -> tuple[jax.ShapeDtypeStruct, Params]:
        """Shapes of what `dense` returns for n rows, and of the parameters. No array is made, as in `shapes`."""
        row, at = self.table.example, self.table.answer_positions

        def init(seed: jax.Array, rows: jax.Array) -> tuple[Any, Any]:
            return self.module.init_with_output(jax.random.key(seed), rows, at, method="dense")

        seed = jax.ShapeDtypeStruct((), np.uint32)
        rows = jax.ShapeDtypeStruct((n_rows, *row.shape[1:]), row.dtype)
        logits, made = jax.eval_shape(init, seed, rows)
        return logits, dict(made.get("params", {}))

    def tables(self, params: Params, plan: ModelPlan) -> ModelTables:
        """The part of the forward pass that examples share; () if the kind shares nothing."""
        if self.kind.shared is None:
            return ()
        return nn.apply(self.kind.shared.tables, self.module)({"params": params}, plan)

    def read_rows(
        self,
        params: Params,
        plan: ModelPlan,
        tables: ModelTables,
        index_N: jax.Array | None = None,
    ) -> jax.Array:
        """Logits N A C of the table's rows `index_N` (None: all rows). `tables` must be those of `params`."""
        if self.kind.shared is None:
            return self.dense(params, plan if index_N is None else plan[index_N])
        read = nn.apply(self.kind.shared.read_rows, self.module)
        return read({"params": params}, plan, tables, index_N)

    def apply(self, params: Params, plan: ModelPlan, index_N: jax.Array | None = None) -> jax.Array:
        """Logits N A C of the table's rows `index_N` (None: all rows). What examples share is computed once."""
        return self.read_rows(params, plan, self.tables(params, plan), index_N)

    def features(
        self, params: Params, plan: ModelPlan, index_N: jax.Array | None = None
    ) -> jax.Array:
        """Features N A D of the table's rows `index_N` (None: all rows): what the output matrix is multiplied with."""
        assert self.kind.shared is not None, "probes that need features ask for them"
        tables = self.tables(params, plan)
        read = nn.apply(self.kind.shared.read_features, self.module)
        return read({"params": params}, plan, tables, index_N)

    def dense(self, params: Params, rows: jax.Array | Sequences) -> jax.Array:
        """Logits N A C of rows (tokens N T, numbers N D or Sequences) by the plain forward pass, the reference."""
        return self._dense(params, rows)

    def _dense(self, params: Params, rows: jax.Array | Sequences, *key: jax.Array) -> jax.Array:
        at: Any = self.table.answer_positions
        if isinstance(rows, Sequences):
            rows, at = rows.tokens_NT, rows.at_NA
        return self.module.apply({"params": params}, rows, at, *key, method="dense")  # type: ignore[return-value]

    @property
    def drops(self) -> bool:
        """Whether training sets numbers to 0 at random."""
        return getattr(self.settings, "dropout", 0.0) > 0

    def dropping(self, params: Params, rows: jax.Array | Sequences, key: jax.Array) -> jax.Array:
        """Logits N A C of rows by the plain forward pass, with dropout."""
        return self._dense(params, rows, key)

    @property
    def output_name(self) -> str:
        """Name of the parameter that holds the output matrix: W_U, or W_E if it is tied."""
        return "W_E" if self.kind.tied(self.settings) else "W_U"

    def output_matrix(self, params: Params) -> jax.Array:
        """The matrix that turns features into logits: W_U (D, C), or the first C rows of W_E (C, D) if it is tied."""
        matrix = params[self.output_name]
        return matrix[: self.table.n_classes] if self.output_name == "W_E" else matrix

    def scale_output(self, params: Params, factor: ArrayLike) -> Params:
        """The parameters with the output matrix multiplied by a factor; if it is tied, with the whole embedding."""
        return params | {self.output_name: params[self.output_name] * factor}


def tensor_names(params: Params) -> dict[str, Any]:
    """Parameters by their dotted names, e.g. 'blocks.0.W_Q', 'W_E', in a fixed order."""
    flat = jax.tree_util.tree_flatten_with_path(params)[0]
    return {".".join(k.key for k in path).replace("blocks_", "blocks."): x for path, x in flat}


def n_parameters(model: Model) -> int:
    """Number of trained numbers."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return sum(x.size for x in jax.tree.leaves(shapes))
