"""What learns. One file a family; a new kind is its settings and module there, and one line in MODELS here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from grokjax.models import mlp, perceptron, quadratic, sharing, transformer
from grokjax.models.counting import Forward, count_program
from grokjax.models.init import draw_all, scale_weights
from grokjax.models.transformer_count import count_transformer
from grokjax.settings import Settings
from grokjax.tasks import Sample, Table

Params = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Kind:
    """How to make one kind of model: its module, its plan of distinct rows for n executed table rows, and the parts of
    its forward pass, on bound modules: tables from (module, plan); from (module, plan, tables, rows) the logits, and
    the features, which is what the output matrix is multiplied with."""

    settings: type[Settings]
    module: Callable[[Any, Any], nn.Module]
    plan: Callable[[Any, Any, int], Any]
    tables: Callable[[Any, Any], Any]
    read_rows: Callable[[Any, Any, Any, jax.Array | None], jax.Array]
    read_features: Callable[[Any, Any, Any, jax.Array | None], jax.Array]
    reads: type = Table
    """Form of the tasks that it learns."""
    count: Callable[[Any, Any, int], Forward] | None = None
    """What a forward pass over n rows of a task costs; None: counted on the traced program."""


def _transformer_plan(s: transformer.TransformerSettings, table: Table, n: int) -> sharing.Plan:
    return sharing.make_plan(table, s.n_layers, s.causal, n)


def _column_plan(s: Settings, table: Table, n: int) -> mlp.ColumnPlan:
    return mlp.make_column_plan(table)


MODELS: dict[str, Kind] = {
    "transformer": Kind(
        transformer.TransformerSettings,
        transformer.transformer_module,
        _transformer_plan,
        sharing.make_tables,
        sharing.read_rows,
        sharing.read_features,
        count=count_transformer,
    ),
    "mlp": Kind(
        mlp.MLPSettings,
        mlp.mlp_module,
        _column_plan,
        mlp.MLPModule.first_rows,
        mlp.MLPModule.read_rows,
        mlp.MLPModule.read_features,
        count=mlp.count_mlp,
    ),
    "quadratic": Kind(
        quadratic.QuadraticSettings,
        quadratic.quadratic_module,
        _column_plan,
        quadratic.QuadraticModule.first_rows,
        quadratic.QuadraticModule.read_rows,
        quadratic.QuadraticModule.read_features,
        count=quadratic.count_quadratic,
    ),
    "perceptron": Kind(
        perceptron.PerceptronSettings,
        perceptron.perceptron_module,
        perceptron.no_plan,
        perceptron.PerceptronModule.no_tables,
        perceptron.PerceptronModule.read_rows,
        perceptron.PerceptronModule.read_features,
        reads=Sample,
        count=perceptron.count_perceptron,
    ),
}

_FORMS: dict[type, str] = {Table: "tokens", Sample: "numbers"}


def misfit(kind: str, task: Any) -> str | None:
    """Why this kind of model cannot learn a task, in words."""
    reads = MODELS[kind].reads
    if isinstance(task, reads):
        return None
    *most, last = (name for name, k in MODELS.items() if isinstance(task, k.reads))
    fitting = f"{', '.join(most)} or {last}" if most else last
    there = _FORMS[type(task)]
    return (
        f"{kind} reads {_FORMS[reads]}, and this task's rows are {there}; {fitting} would be right"
    )


class Model:
    """A model bound to a table, or to a Sample in its place: `init` and two forward passes, all for one run."""

    def __init__(self, settings: Any, table: Any):
        self.settings, self.table, self.kind = settings, table, MODELS[settings.kind]
        self.module = self.kind.module(settings, table)

    def plan(self, n_rows: int) -> Any:
        """Arrays that say which distinct rows exist when n_rows rows of the table are executed.

        None of a Sample: there a run's own inputs are the plan.
        """
        return self.kind.plan(self.settings, self.table, n_rows)

    def count(self, n_rows: int) -> Forward:
        """What a forward pass over n rows costs."""
        if self.kind.count is not None:
            return self.kind.count(self.settings, self.table, n_rows)
        params = jax.eval_shape(self.init, jax.random.key(0))
        return count_program(lambda p: self.apply(p, self._example_plan(n_rows)), params, n_rows)

    def _example_plan(self, n_rows: int) -> Any:
        """A plan that a forward pass can be traced with."""
        plan = self.plan(n_rows)
        return jnp.zeros((n_rows, self.table.n_inputs)) if isinstance(self.table, Sample) else plan

    def init(self, key: jax.Array, scale: ArrayLike = 1.0) -> Params:
        """Fresh parameters as a nested dictionary."""
        row, at = jnp.asarray(self.table.example), self.table.answer_positions
        params = draw_all(lambda: self.module.init(key, row, at, method="dense")["params"], key)
        return scale_weights(dict(params), scale)

    def tables(self, params: Params, plan: Any) -> Any:
        """The part of the forward pass that examples share."""
        return nn.apply(self.kind.tables, self.module)({"params": params}, plan)

    def read_rows(
        self, params: Params, plan: Any, tables: Any, index_N: jax.Array | None = None
    ) -> jax.Array:
        """Logits N A C of the table's rows `index_N` (all rows: None), from the tables of the same parameters."""
        return nn.apply(self.kind.read_rows, self.module)({"params": params}, plan, tables, index_N)

    def apply(self, params: Params, plan: Any, index_N: jax.Array | None = None) -> jax.Array:
        """Logits N A C of table rows, every distinct thing computed once."""
        return self.read_rows(params, plan, self.tables(params, plan), index_N)

    def features(self, params: Params, plan: Any, index_N: jax.Array | None = None) -> jax.Array:
        """What the output matrix is multiplied with, N A D, of table rows."""
        tables = self.tables(params, plan)
        read = nn.apply(self.kind.read_features, self.module)
        return read({"params": params}, plan, tables, index_N)

    def dense(self, params: Params, rows: jax.Array) -> jax.Array:
        """Logits N A C of rows (tokens N T, or numbers N D) by the plain forward pass: the reference."""
        at = self.table.answer_positions
        return self.module.apply({"params": params}, rows, at, method="dense")  # type: ignore[return-value]

    def output_matrix(self, params: Params) -> jax.Array:
        """The matrix that makes the logits."""
        return params["W_U"] if "W_U" in params else params["W_E"][: self.table.n_classes]

    def scale_output(self, params: Params, factor: ArrayLike) -> Params:
        """The parameters with the output matrix multiplied by a factor; where it is tied, the whole embedding."""
        name = "W_U" if "W_U" in params else "W_E"
        return params | {name: params[name] * factor}


def tensor_names(params: Params) -> dict[str, Any]:
    """Parameters by their dotted names, e.g. 'blocks.0.W_Q', 'W_E', in a fixed order."""
    flat = jax.tree_util.tree_flatten_with_path(params)[0]
    return {".".join(k.key for k in path).replace("blocks_", "blocks."): x for path, x in flat}


def n_parameters(model: Model) -> int:
    """Number of trained scalars."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return sum(x.size for x in jax.tree.leaves(shapes))
