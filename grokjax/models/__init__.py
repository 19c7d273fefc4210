"""Models, one file for each family.

A new kind needs its settings and its module in such a file, and one line in MODELS below.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import PyTree

from grokjax.models import mlp, perceptron, quadratic, sharing, transformer
from grokjax.models.counting import Forward, count_program
from grokjax.models.init import draw_all, scale_weights
from grokjax.models.transformer_count import count_transformer
from grokjax.settings import Settings, kind_of
from grokjax.tasks import Table, TaskData

Params = dict[str, Any]
"""Parameters as arrays by name; those of a transformer layer are in a dictionary of their own. Gradients and updates
have the same form."""
ModelPlan = PyTree
"""Arrays that say which distinct rows a kind of model computes. Only the functions of that kind use what is in them."""
ModelTables = PyTree
"""Arrays in which rows are looked up. Only the functions of one kind of model use what is in them."""


@dataclasses.dataclass(frozen=True)
class ModelKind:
    """How to make one kind of model, what it offers and what it costs.

    Only `settings` and `module` are required. The other fields make the model faster, or allow more to be measured.
    The module must have `dense(rows, answer_positions)`, which returns logits N A C. Its output matrix must be the
    parameter W_U; a model without W_U uses rows of W_E (`Model.output_matrix`).
    """

    settings: type[Settings]
    module: Callable[[Any, Any], nn.Module]
    shared: Shared | None = None
    """Forward pass that computes only once what examples share; None: every row goes through `dense`."""
    reads: str = "tokens"
    """Form of the rows that the model reads: a value of Table.form or Sample.form."""
    count: Callable[[Any, Any, int], Forward] | None = None
    """Costs of a forward pass over n rows of a task; None: they are counted on the traced program."""
    offers: Callable[[Any], frozenset[str]] = lambda settings: frozenset()
    """What the model offers to probes and measurements: keys of MEANING."""
    hidden: Callable[[Any], tuple[str | None, str, str]] | None = None
    """Where the weights into and out of the last hidden layer are: section of the parameters (None: no section), and
    two names in it."""


class Shared(NamedTuple):
    """Parts of a forward pass for models whose examples share activations. `module` is a bound module.

    plan           (settings, table, n) -> the plan for n executed table rows
    tables         (module, plan) -> what examples share
    read_rows      (module, plan, tables, row numbers or None for all rows) -> logits N A C
    read_features  from the same arguments: features N A D, which the output matrix is multiplied with
    """

    plan: Callable[[Any, Any, int], ModelPlan]
    tables: Callable[[Any, ModelPlan], ModelTables]
    read_rows: Callable[[Any, ModelPlan, ModelTables, jax.Array | None], jax.Array]
    read_features: Callable[[Any, ModelPlan, ModelTables, jax.Array | None], jax.Array]


def _transformer_plan(s: transformer.TransformerSettings, table: Table, n: int) -> sharing.Plan:
    return sharing.make_plan(table, s.n_layers, s.causal, n)


def _column_plan(s: Settings, table: Table, n: int) -> mlp.ColumnPlan:
    return mlp.make_column_plan(table)


MODELS: dict[str, ModelKind] = {
    "transformer": ModelKind(
        transformer.TransformerSettings,
        transformer.transformer_module,
        Shared(_transformer_plan, sharing.make_tables, sharing.read_rows, sharing.read_features),
        count=count_transformer,
        offers=transformer.offers,
        hidden=transformer.hidden,
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
        offers=lambda s: frozenset({"features", "hidden_layer"}),
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
        reads="numbers",
        count=perceptron.count_perceptron,
        offers=perceptron.offers,
        hidden=lambda s: (None, "W_0", "W_U"),
    ),
}

MEANING = {
    "attention": "a model with attention",
    "pre_norm": "a transformer without norms, or with norms before its sublayers",
    "token_mlp": "an MLP on token embeddings",
    "embedding": "a model with an embedding",
    "features": "a model whose features can be read",
    "hidden_layer": "a transformer or one hidden layer",
    "modular": "a task of kind modular, whose tokens are numbers modulo p",
    "commutative": "a commutative operation",
}
"""What a model or a task can offer, in words. A model offers what its `offers` returns. A task offers `commutative` if
its operation is, and `modular` if it is `cyclic`."""


def lacking(requires: frozenset[str], model: Settings, table: TaskData) -> str | None:
    """One thing that is required but offered by neither the model nor the task, in words; None if there is none."""
    offered = {*MODELS[kind_of(type(model))].offers(model)}
    offered |= {"modular"} if table.cyclic else set()
    offered |= {"commutative"} if table.commutative else set()
    missing = sorted(name for name in requires & MEANING.keys() if name not in offered)
    return MEANING[missing[0]] if missing else None


def offering(requires: frozenset[str]) -> list[str]:
    """Kinds of models that with their default settings offer what is required; none if no model is asked for."""
    wanted = requires & MEANING.keys() - {"modular", "commutative"}
    return [
        name for name, kind in MODELS.items() if wanted and wanted <= kind.offers(kind.settings())
    ]


def misfit(kind: str, task: TaskData) -> str | None:
    """Why this kind of model cannot learn a task, in words; None if it can."""
    reads = MODELS[kind].reads
    if task.form == reads:
        return None
    *most, last = (name for name, k in MODELS.items() if k.reads == task.form)
    fitting = f"{', '.join(most)} or {last}" if most else last
    return f"{kind} reads {reads}, but the rows of this task are {task.form}; use {fitting}"


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
        params = jax.eval_shape(self.init, jax.random.key(0))
        row = jnp.asarray(self.table.example)
        rows = jnp.broadcast_to(row, (n_rows, *row.shape[1:]))
        return count_program(lambda p: self.dense(p, rows), params, n_rows)

    def init(self, key: jax.Array, scale: ArrayLike = 1.0) -> Params:
        """Fresh parameters as a nested dictionary."""
        row, at = jnp.asarray(self.table.example), self.table.answer_positions
        params = draw_all(lambda: self.module.init(key, row, at, method="dense")["params"], key)
        return scale_weights(dict(params), scale)

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

    def dense(self, params: Params, rows: jax.Array) -> jax.Array:
        """Logits N A C of rows (tokens N T, or numbers N D) by the plain forward pass, which is the reference."""
        at = self.table.answer_positions
        return self.module.apply({"params": params}, rows, at, method="dense")  # type: ignore[return-value]

    def output_matrix(self, params: Params) -> jax.Array:
        """The matrix that turns features into logits: W_U (D, C), or the first C rows of W_E (C, D) if it is tied."""
        return params["W_U"] if "W_U" in params else params["W_E"][: self.table.n_classes]

    def scale_output(self, params: Params, factor: ArrayLike) -> Params:
        """The parameters with the output matrix multiplied by a factor; if it is tied, with the whole embedding."""
        name = "W_U" if "W_U" in params else "W_E"
        return params | {name: params[name] * factor}


def tensor_names(params: Params) -> dict[str, Any]:
    """Parameters by their dotted names, e.g. 'blocks.0.W_Q', 'W_E', in a fixed order."""
    flat = jax.tree_util.tree_flatten_with_path(params)[0]
    return {".".join(k.key for k in path).replace("blocks_", "blocks."): x for path, x in flat}


def n_parameters(model: Model) -> int:
    """Number of trained numbers."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return sum(x.size for x in jax.tree.leaves(shapes))
