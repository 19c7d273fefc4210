"""What one run computes on rows of its table: logits, loss and gradient. Nothing here changes a run's state."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, no_type_check

import jax
import jax.numpy as jnp
from flax import struct
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from grokjax.keys import Purpose, key_for
from grokjax.losses import mean_loss
from grokjax.models import Model, ModelPlan, ModelTables, Params, forms
from grokjax.models.nonzeros import Nonzeros, nonzeros_of
from grokjax.splits import Rows, row_weights
from grokjax.tasks import Sample, Sequences, Table
from grokjax.training.runstate import Data, Hyper, Setup


def precision(setup: Setup) -> contextlib.AbstractContextManager:
    # Must be used inside the traced functions: the context manager acts only in the thread that traces.
    name = setup.settings.train.precision
    return jax.default_matmul_precision(getattr(forms.current(), name, name))


def init_params(setup: Setup, hyper: Hyper) -> Params:
    """Parameters at step 0."""
    key = key_for(Purpose.INIT, hyper.seeds["init_seed"])
    return setup.model.init(key, hyper.model["init_scale"])


def data_of(setup: Setup, data: Data, hyper: Hyper, age: ArrayLike) -> Data:
    """The data of one run at a step: those of its group, its own rows if the task is a Sample, and the logits of its
    initial network if they are subtracted.

    What belongs to the run alone is computed again where it is needed, so that states and checkpoints stay small. Only
    a stream depends on the step: its training rows are those that the next update is made on.
    """
    task = setup.model.table
    if isinstance(task, Sample):
        rows, targets_NA = task.draw(_rows_key(task, hyper, age))
        data = data.replace(  # type: ignore[attr-defined]
            train_input=_executing(rows, setup.batch_size or setup.bucket),
            table_input=_executing(rows, task.n_rows),
            targets_NA=targets_NA,
        )
    if setup.settings.train.subtract_initial:
        with precision(setup):
            initial_NAC = table_logits(setup, data, setup.model, init_params(setup, hyper))
        data = data.replace(initial_NAC=initial_NAC)  # type: ignore[attr-defined]
    return data


def training_data(setup: Setup, data: Data, hyper: Hyper, age: ArrayLike) -> Data:
    """Only the rows that train, without the test rows: those of one step of a stream, or all that a run draws."""
    task = setup.model.table
    assert isinstance(task, Sample)
    rows, targets_BA = task.draw_rows(_rows_key(task, hyper, age), task.n_drawn)
    rows = _executing(rows, task.n_drawn)
    data = data.replace(train_input=rows, table_input=rows, targets_NA=targets_BA)  # type: ignore[attr-defined]
    if setup.settings.train.subtract_initial:
        with precision(setup):
            initial_BAC = setup.model.apply(init_params(setup, hyper), rows)
        data = data.replace(initial_NAC=initial_BAC)  # type: ignore[attr-defined]
    return data


def full_batch(
    setup: Setup, data: Data, hyper: Hyper, rows: Rows
) -> tuple[Data, jax.Array | None, jax.Array]:
    """The data that steps on all training rows need, numbers of the rows (None: all of the data) and their weights."""
    if setup.model.table.traced_size:
        own = _gathered(setup, training_data(setup, data, hyper, 0))
        return own, None, rows.train_N[: setup.bucket].astype(jnp.float32)
    weights_B = row_weights(hyper.n_train, setup.bucket)
    return data_of(setup, data, hyper, 0), rows.index_B, weights_B


def _gathered(setup: Setup, data: Data) -> Data:
    """With the numbers of the training rows that are not zero, where reading only these pays."""
    task = setup.model.table
    gathers = setup.model.kind.gathers and forms.current().gather_nonzeros
    if not gathers or not isinstance(task, Sample) or task.most_nonzero is None:
        return data
    most = task.most_nonzero
    return data.replace(nonzeros=nonzeros_of(data.train_input, most))  # type: ignore[attr-defined]


def tokens_of(setup: Setup, data: Data) -> jax.Array | None:
    """Tokens N T of all rows; None if the rows are numbers."""
    if isinstance(data.table_input, Sequences):
        return data.table_input.tokens_NT
    table = setup.model.table
    return jnp.asarray(table.tokens_NT) if isinstance(table, Table) else None


def _rows_key(task: Sample, hyper: Hyper, age: ArrayLike) -> jax.Array:
    key = key_for(Purpose.DRAWN_ROWS, hyper.seeds["split_seed"])
    return jax.random.fold_in(key, age) if task.stream else key


def _executing(rows: Any, n: int) -> Any:
    return rows.replace(executed=n) if isinstance(rows, Sequences) else rows  # type: ignore[attr-defined]


@struct.dataclass
@no_type_check
class Batch:
    """The rows of one step."""

    index_B: Int[Array, " B"] | None
    """Numbers of the rows; None: `rows_BD` are they."""
    share_B: Float[Array, " B"]
    """Weight of each row in the mean; 0 for padding."""
    labels_BA: Int[Array, "B A"] | None
    """Where the answers are vectors: these, B A C. None: they are `rows_BD`, which are then copied only once."""
    initial_BAC: Float[Array, "B A C"] | None = None
    """Logits to subtract; None: nothing."""
    rows_BD: Float[Array, "B D"] | None = None
    nonzeros: Nonzeros | None = None
    """What is read of `rows_BD`; None: all of them."""


def batch_of(
    setup: Setup,
    data: Data,
    labels_NA: jax.Array,
    index_B: jax.Array | None,
    weights_B: jax.Array,
) -> Batch:
    """The batch of the given rows; their shares are the weights divided by the sum of the weights.

    index_B None: all rows of data.train_input, and as many labels. Nothing is looked up, which for wide rows takes as
    long as the products with them.
    """
    initial_NAC = data.initial_NAC
    if index_B is None:
        same = isinstance(setup.model.table, Sample) and setup.model.table.reconstructs
        return Batch(
            index_B=None,
            share_B=weights_B / weights_B.sum(),
            labels_BA=None if same else labels_NA[: len(weights_B)],
            initial_BAC=initial_NAC,
            rows_BD=data.train_input,
            nonzeros=data.nonzeros,
        )
    return Batch(
        index_B=index_B,
        share_B=weights_B / weights_B.sum(),
        labels_BA=labels_NA[index_B],
        initial_BAC=None if initial_NAC is None else initial_NAC[index_B],
    )


def row_logits(
    setup: Setup, data: Data, params: Params, index_N: jax.Array | None = None
) -> jax.Array:
    """Logits N A C of the table's rows `index_N` (None: all), before the readout scale."""
    logits_NAC = setup.model.apply(params, data.table_input, index_N)
    if data.initial_NAC is None:
        return logits_NAC
    return logits_NAC - (data.initial_NAC if index_N is None else data.initial_NAC[index_N])


def loss_and_gradient(
    setup: Setup,
    data: Data,
    hyper: Hyper,
    params: Params,
    batch: Batch,
    key: jax.Array | None = None,
) -> tuple[jax.Array, Params]:
    """Mean loss over the scored answers of a batch, and its gradient. `key`: for dropout.

    What examples share is computed once. The rest is computed in parts that fit in a core's cache (`setup.blocks`).
    With dropout nothing is shared, because every row drops numbers of its own.
    """
    plan, batch = _only_scored(setup.model.table.n_scored, data.train_input, batch)
    if setup.model.drops:
        assert key is not None, "dropout needs one"
        rows = _batch_rows(setup, plan, batch)

        def dropping_loss(params: Params) -> jax.Array:
            logits_BAC = setup.model.dropping(params, rows, key)
            return _mean_loss(setup, hyper, logits_BAC, batch)

        return jax.value_and_grad(dropping_loss)(params)
    tables, pull_back = jax.vjp(lambda p: setup.model.tables(p, plan), params)

    def rows_loss(params: Params, tables: ModelTables, rows: Batch) -> jax.Array:
        if rows.rows_BD is None:
            logits_BAC = setup.model.read_rows(params, plan, tables, rows.index_B)
        else:
            read = rows.rows_BD if rows.nonzeros is None else rows.nonzeros
            logits_BAC = setup.model.read_rows(params, read, tables)
        return _mean_loss(setup, hyper, logits_BAC, rows)

    gradient = jax.value_and_grad(rows_loss, argnums=(0, 1))
    if setup.blocks.train == 1:
        loss, (direct, through_tables) = gradient(params, tables, batch)
    else:
        blocks = jax.tree.map(lambda x: x.reshape(setup.blocks.train, -1, *x.shape[1:]), batch)
        loss, (direct, through_tables) = _sum_over(lambda b: gradient(params, tables, b), blocks)
    return loss, jax.tree.map(jnp.add, direct, pull_back(through_tables)[0])


def _mean_loss(setup: Setup, hyper: Hyper, logits_BAC: jax.Array, rows: Batch) -> jax.Array:
    if rows.initial_BAC is not None:
        logits_BAC -= rows.initial_BAC
    outputs_BAC = logits_BAC * hyper.model["readout_scale"]
    name, table = setup.settings.train.loss, setup.model.table
    answers = rows.labels_BA
    if answers is None:
        assert rows.rows_BD is not None, "the answers are the rows"
        answers = rows.rows_BD[:, None]
    return mean_loss(name, table, outputs_BAC, answers, rows.share_B)


def _batch_rows(setup: Setup, plan: ModelPlan, batch: Batch) -> jax.Array | Sequences:
    """The rows of a batch as the plain forward pass reads them."""
    if isinstance(plan, Sequences):
        return Sequences(plan.tokens_NT[batch.index_B], plan.at_NA[batch.index_B])
    return jnp.asarray(setup.model.token_table.tokens_NT)[batch.index_B]


def _only_scored(n: int, plan: ModelPlan, batch: Batch) -> tuple[ModelPlan, Batch]:
    """Without the answers that are measured but not in the loss. They come last, and only sequences can have some."""
    if not isinstance(plan, Sequences) or plan.at_NA.shape[1] == n:
        return plan, batch
    initial_BAC = None if batch.initial_BAC is None else batch.initial_BAC[:, :n]
    batch = batch.replace(labels_BA=batch.labels_BA[:, :n], initial_BAC=initial_BAC)  # type: ignore[attr-defined]
    return plan.replace(at_NA=plan.at_NA[:, :n]), batch  # type: ignore[attr-defined]


def _sum_over(f: Callable[[Any], Any], blocks: Any) -> Any:
    """Sum of f over the leading axis; f is called on one entry after the other."""
    shapes = jax.eval_shape(f, jax.tree.map(lambda x: x[0], blocks))
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    add = lambda total, block: (jax.tree.map(jnp.add, total, f(block)), None)  # noqa: E731
    return jax.lax.scan(add, zero, blocks)[0]


def table_logits(setup: Setup, data: Data, model: Model, params: Params) -> jax.Array:
    """Logits N A C of the whole table, from the run's model or from one that differs only in its norms."""
    if setup.blocks.table == 1:
        logits_NAC = model.apply(params, data.table_input)
    else:
        tables = model.tables(params, data.table_input)
        rows = -(-setup.n_rows // setup.blocks.table)
        # The last part is padded with copies of the last row, whose logits are not used.
        index = jnp.minimum(jnp.arange(rows * setup.blocks.table), setup.n_rows - 1)
        parts = jax.lax.map(
            lambda index_B: model.read_rows(params, data.table_input, tables, index_B),
            index.reshape(setup.blocks.table, rows),
        )
        logits_NAC = parts.reshape(-1, *parts.shape[2:])[: setup.n_rows]
    return logits_NAC if data.initial_NAC is None else logits_NAC - data.initial_NAC
