"""Rows that are zero nearly everywhere: reading only their other numbers gives what reading all gives."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.models import forms
from grokjax.models.nonzeros import gathered_product, nonzeros_of
from grokjax.tasks import make_table
from grokjax.tasks.sparse_features import RARE, SparseFeatures, most_of_a_row
from grokjax.training import one_run, passes, runstate
from grokjax.training.costs import RowBlocks
from tests.test_training import OneRun

RANDOM = np.random.default_rng(3)


def sparse_rows(n: int, width: int, share: float) -> np.ndarray:
    values = RANDOM.normal(size=(n, width))
    return np.where(RANDOM.random((n, width)) < share, values, 0).astype(np.float32)


def test_products_and_gradients_are_those_of_all_numbers() -> None:
    x_ND, W_DM = sparse_rows(40, 90, 0.1), RANDOM.normal(size=(90, 3)).astype(np.float32)
    x_ND[3], x_ND[4, -1], x_ND[5, 0] = 0, 2, 3
    most = int((x_ND != 0).sum(1).max())
    for kept in (most, most + 7):
        rows = nonzeros_of(jnp.asarray(x_ND), kept)
        out_NM, back = jax.vjp(lambda W, rows=rows: gathered_product(rows, W), jnp.asarray(W_DM))
        g_NM = RANDOM.normal(size=(40, 3)).astype(np.float32)
        exact = x_ND.astype(float)
        np.testing.assert_allclose(out_NM, exact @ W_DM, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(back(jnp.asarray(g_NM))[0], exact.T @ g_NM, rtol=1e-5, atol=1e-5)


def test_every_number_is_kept_once_and_what_is_too_much_is_left_out() -> None:
    x_ND = sparse_rows(30, 50, 0.2)
    rows = nonzeros_of(jnp.asarray(x_ND), 25)
    for x, columns, values in zip(
        x_ND, *map(np.asarray, (rows.column_NK, rows.value_NK)), strict=True
    ):
        kept = values != 0
        np.testing.assert_array_equal(columns[kept], np.flatnonzero(x))
        np.testing.assert_array_equal(values[kept], x[x != 0])
    few = nonzeros_of(jnp.asarray(x_ND), 2)
    np.testing.assert_array_equal(few.column_NK, rows.column_NK[:, :2])


@pytest.mark.parametrize(("n", "chance"), [(1000, 0.01), (10_000, 0.001), (1000, 0.003)])
def test_hardly_any_row_has_more_than_the_bound(n, chance) -> None:
    most = most_of_a_row(n, chance)
    assert most is not None and n / most >= 12
    log_choose = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(n + 1)
    ]
    exact = sum(
        math.exp(log_choose[k] + k * math.log(chance) + (n - k) * math.log1p(-chance))
        for k in range(most + 1, n + 1)
    )  # fmt: skip
    assert exact < RARE and exact > 1e-6 * RARE, "nor is the bound wide of the mark"


@pytest.mark.parametrize(
    "settings", [{"sparsity": 0.9}, {"sparsity": 0.0}, {"n_features": 100}, {"n_read": 20}]
)
def test_rows_that_are_not_sparse_enough_are_read_whole(settings) -> None:
    assert make_table(SparseFeatures(**settings)).most_nonzero is None


SETTINGS = {
    "task": {"kind": "sparse_features", "n_features": 400, "sparsity": 0.995, "n_train": 12, "n_test": 5},
    "split": {"kind": "drawn"},
    "model": {"kind": "bottleneck", "n_hidden": 2},
    "optimizer": {"kind": "adamw", "learning_rate": 1e-2, "weight_decay": 0.01},
    "train": {"steps": 12, "eval_every": 6, "loss": "squared_error"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("model", "blocks"),
    [
        ({}, 1),
        ({"n_hidden": 1, "tied": False, "activation": "relu"}, 1),
        ({"n_hidden": 5, "output": "linear", "bias": False}, 4),
    ],
)
def test_a_training_is_that_with_all_numbers(model, blocks, monkeypatch) -> None:
    one = OneRun(**SETTINGS | {"model": SETTINGS["model"] | model})
    setup = dataclasses.replace(one.setup, blocks=RowBlocks(blocks, 1))
    assert setup.model.table.most_nonzero is not None and setup.bucket % blocks == 0
    read = []
    monkeypatch.setattr(passes, "nonzeros_of", lambda *x: read.append(x) or nonzeros_of(*x))
    params = []
    for gather in (True, False):
        with forms.using(dataclasses.replace(forms.CPU, gather_nonzeros=gather)):
            state = one.start()
            trained = jax.jit(lambda s: one_run.train_block(setup, one.data, one.hyper, s))(state)
            params.append(trained.params)
        assert len(read) == 1, "gathered once for the block of steps, and only with this form"
    for a, b in zip(*map(jax.tree.leaves, params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    moved = jax.tree.leaves(
        jax.tree.map(lambda a, b: jnp.abs(a - b).max(), params[0], state.params)
    )
    assert max(map(float, moved)) > 0.01


def test_accelerators_and_other_models_read_all_numbers() -> None:
    one = OneRun(**SETTINGS)
    rows = one.start().rows
    for platform, gathers in (("cpu", True), ("gpu", False), ("tpu", False)):
        with forms.using(forms.by_platform(platform)):
            data, _, _ = passes.full_batch(one.setup, one.data, one.hyper, rows)
        assert (data.nonzeros is not None) == gathers
    block = OneRun(**SETTINGS | {"model": {"kind": "perceptron", "hidden": [4]}})
    data, _, _ = passes.full_batch(block.setup, block.data, block.hyper, block.start().rows)
    assert data.nonzeros is None and runstate.make_data(block.setup).nonzeros is None
