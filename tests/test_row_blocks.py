"""Rows computed in parts: the same loss, gradient and evaluation, whatever the number of parts."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.experiment.config import Experiment
from grokjax.experiment.grid import make_groups, make_runs
from grokjax.probes.metrics import first_largest
from grokjax.training import costs, one_run, passes, runstate
from grokjax.training.costs import RowBlocks
from tests.test_training import configure

MODELS = {
    "transformer": {"kind": "transformer", "d_model": 8, "n_heads": 2, "d_mlp": 16},
    "two layers": {"kind": "transformer", "d_model": 8, "n_heads": 2, "d_mlp": 16, "n_layers": 2}
    | {"ln": "post"},
    "mlp": {"kind": "mlp", "d_model": 4, "hidden": [6]},
    "quadratic": {"kind": "quadratic", "d_mlp": 6},
}


def group_of(**changes):
    (group,) = make_groups(make_runs(Experiment.model_validate(configure(**changes))))
    return group


@pytest.mark.parametrize("model", [pytest.param(m, marks=pytest.mark.soak) for m in MODELS])
def test_parts_change_nothing_but_the_order_of_sums(model):
    group = group_of(model=MODELS[model], task={"p": 7}, split={"train_fraction": 0.7})
    whole = runstate.make_setup(group)
    assert whole.bucket == 36
    data, hyper = runstate.make_data(whole), runstate.make_hyper(group.first)
    hyper = jax.tree.map(jnp.asarray, hyper)
    state = jax.jit(lambda: one_run.init_run(whole, data, hyper))()
    index = state.rows.index_B
    batch = passes.Batch(index, jnp.arange(36.0) / 630, data.targets_NA[index])

    def both(setup):
        return jax.jit(
            lambda p: (
                passes.loss_and_gradient(setup, data, hyper, p, batch),
                passes.table_logits(setup, data, setup.model, p),
            )
        )(state.params)

    expected = both(whole)
    for blocks in (
        RowBlocks(2, 3),
        RowBlocks(4, 8),
    ):  # 49 rows in 3 and in 8 parts: both need filling up
        found = both(dataclasses.replace(whole, blocks=blocks))
        for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert x.shape == y.shape
            np.testing.assert_allclose(x, y, rtol=2e-5, atol=1e-6)


def nanda(**changes):
    task, model = {"p": 113}, {"kind": "transformer", "d_model": 128, "n_heads": 4, "d_mlp": 512}
    return group_of(task=task, model=model, split={"train_fraction": 0.3}, **changes).first


def test_parts_on_cpu_keep_the_widest_activation_in_the_cache():
    blocks = costs.row_blocks(nanda(), "cpu")
    assert blocks.train == 8  # 3,840 rows of 512: 480 each
    assert -(-12769 // blocks.table) * 512 <= 5 * 2**16
    epochs = {"steps": {"epochs": 2}, "eval_every": {"epochs": 1}}
    assert costs.row_blocks(nanda(train=epochs | {"batch_size": 512}), "cpu").train == 1
    assert costs.row_blocks(nanda(train=epochs | {"batch_size": 1021}), "cpu").train == 1  # odd


def test_there_are_no_parts_on_accelerators():
    assert costs.row_blocks(nanda(), "gpu") == RowBlocks(1, 1)


def test_first_largest_is_argmax():
    x = np.random.default_rng(0).integers(4, size=(50, 3, 5)).astype(np.float32)
    np.testing.assert_array_equal(first_largest(jnp.asarray(x)), x.argmax(-1))
    x[0, 0, 2] = np.nan
    assert int(first_largest(jnp.asarray(x))[0, 0]) == 5  # no class
