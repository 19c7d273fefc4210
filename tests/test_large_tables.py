"""Evaluations of more than 32,768 rows: jax 0.10.2 sums some of them wrongly on CPU (jax#39103)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.experiment.grid import make_groups, make_runs
from grokjax.experiment.loading import load_experiment
from grokjax.models import tensor_names
from grokjax.training import costs, one_run, runstate
from tests import reference
from tests.harness import write_grid

ROWS = 199 * 199
MODELS = {
    "mlp": "model={kind: mlp, d_model: 4, hidden: [8]}",
    "transformer": "model={kind: transformer, d_model: 4, n_heads: 1, d_mlp: 8, ln: pre}",
}


def test_jitted_sums_over_many_rows_are_right():
    """The reproducer of jax#39103, as the losses and norms of a table have it."""
    i = jnp.arange(32_769, dtype=jnp.float32)
    x = jnp.stack((i, jnp.zeros_like(i), jnp.zeros_like(i)), axis=1)

    def squares(x):
        return jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2))(x)

    assert float(jax.jit(squares)(x)[-1]) == 32_768.0**2


@pytest.mark.soak
@pytest.mark.parametrize("model", MODELS)
def test_a_compiled_evaluation_of_39601_rows_agrees_with_float64(model, tmp_path):
    overrides = ["task.p=199", MODELS[model], "axes.optimizer.weight_decay=null"]
    experiment = load_experiment(write_grid(tmp_path / "large.yaml", seeds=1), overrides)
    (group,) = make_groups(make_runs(experiment))
    setup = runstate.make_setup(group, costs.row_blocks(group.first, "cpu"))
    data, hyper = runstate.make_data(setup), runstate.make_hyper(group.first)
    hyper = jax.tree.map(lambda x: jnp.asarray(x)[None], hyper)

    def evaluate(hyper):
        state = one_run.init_run(setup, data, hyper)
        return one_run.measure_run(setup, data, hyper, state, 1), state.params, state.rows.train_N

    measured, params, train_N = jax.jit(jax.vmap(evaluate))(hyper)
    table, train_N = group.first.table, np.asarray(train_N)[0]
    assert table.n_rows == ROWS > 32_768
    named = tensor_names(jax.tree.map(lambda x: np.asarray(x)[0], params))
    logits = reference.logits(reference.as_float64(named), group.first.settings.model, table)
    losses = reference.cross_entropy(logits, table.targets_NA)
    right = logits.argmax(-1) == table.targets_NA
    for side, rows in (("train", train_N), ("val", ~train_N)):
        np.testing.assert_allclose(measured[f"{side}_loss"][0], losses[rows].mean(), rtol=2e-6)
        assert abs(float(measured[f"{side}_accuracy"][0]) - right[rows].mean()) <= 3 / rows.sum()
