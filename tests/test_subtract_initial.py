"""train.subtract_initial: the logits of the initial network are taken from a run's, in training and everywhere else."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis.load import load
from grokjax.driver import measure, session
from grokjax.experiment.config import Experiment
from grokjax.experiment.grid import make_runs
from grokjax.losses import LOSSES
from grokjax.training import costs, one_run, passes
from grokjax.training.costs import RowBlocks
from tests.test_training import TRANSFORMER, OneRun, configure

SUBTRACTED = {"steps": 40, "eval_every": 1, "subtract_initial": True}
MODELS = {
    "transformer": TRANSFORMER | {"readout_scale": 1.5},
    "mlp": {"kind": "mlp", "d_model": 3, "hidden": [6], "readout_scale": 0.5},
}


def subtracted(**changes):
    return OneRun(train=SUBTRACTED, **changes)


@pytest.mark.soak
def test_every_run_starts_with_the_loss_of_equal_logits():
    one = subtracted()
    _, found = one.evaluate(one.start())
    assert float(found["val_loss"]) == pytest.approx(math.log(6), abs=1e-6)
    assert float(found["train_loss"]) == pytest.approx(math.log(6), abs=1e-6)


@pytest.mark.soak
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "blocks",
    [
        pytest.param(RowBlocks(1, 1), id="whole", marks=pytest.mark.soak),
        pytest.param(RowBlocks(2, 3), id="parts"),
    ],
)
def test_loss_and_gradient_are_those_of_the_dense_forward_pass(model, blocks):
    one = subtracted(model=MODELS[model])
    start, setup = one.start(), dataclasses.replace(one.setup, blocks=blocks)
    other = jax.tree.map(lambda x: x * 1.3 + 0.1, start.params)
    tokens, targets = jnp.asarray(one.table.tokens_NT), jnp.asarray(one.table.targets_NA)
    index, weights = jnp.arange(16), jnp.arange(1.0, 17)
    scale = MODELS[model]["readout_scale"]

    def dense(params):
        change = setup.model.dense(params, tokens) - setup.model.dense(start.params, tokens)
        loss_NA = LOSSES["cross_entropy"](change * scale, targets)
        return (loss_NA[index].mean(-1) * weights).sum() / weights.sum()

    def ours(params):
        data = passes.data_of(setup, one.data, one.hyper, 0)
        batch = passes.batch_of(setup, data, start.rows.labels_NA, index, weights)
        return passes.loss_and_gradient(setup, data, one.hyper, params, batch)

    expected, found = jax.jit(jax.value_and_grad(dense))(other), jax.jit(ours)(other)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-4, atol=1e-6)


@pytest.mark.soak
def test_evaluations_and_measurements_see_the_same_logits():
    one = subtracted()
    state = one.train(one.evaluate(one.start())[0])
    tokens = jnp.asarray(one.table.tokens_NT)
    start = one.start().params
    expected = one.setup.model.dense(state.params, tokens) - one.setup.model.dense(start, tokens)
    assert float(jnp.abs(expected).max()) > 1e-3
    view = one_run.make_view(one.setup, one.data, one.hyper, state)
    np.testing.assert_allclose(view.logits_NAC, expected, atol=2e-6)
    saved = measure.saved(one.setup, one.data, one.hyper, state.params, None)
    some = jnp.array([3, 11, 3])
    np.testing.assert_allclose(saved.logits(state.params, some), expected[some], atol=2e-6)


@pytest.mark.soak
def test_a_grid_trains_and_learns_another_way(tmp_path):
    train, out = {"steps": 40, "eval_every": 10}, {"out": str(tmp_path / "out")}
    axes = {"train.subtract_initial": [False, True], "seed": [0, 1]}
    experiment = Experiment.model_validate(configure(train=train) | {"axes": axes})
    runs = load(session.run_experiment(experiment, out, display=lambda _: None))
    val_loss = runs["value"].sel(probe="val_loss").transpose("run", ...).to_numpy()
    loss = {
        on: val_loss[runs["train.subtract_initial"].to_numpy().astype(str) == on]
        for on in ("False", "True")
    }
    assert loss["True"].shape == loss["False"].shape == (2, 5)
    np.testing.assert_allclose(loss["True"][:, 0], math.log(6), atol=1e-6)
    assert (np.abs(loss["True"] - loss["False"]) > 1e-4).all()


def test_what_it_costs_is_counted():
    cost = {
        on: costs.cost(make_runs(Experiment.model_validate(configure(train=train)))[0])
        for on, train in ((True, SUBTRACTED), (False, SUBTRACTED | {"subtract_initial": False}))
    }
    assert cost[True].evaluation_flops == 3 * cost[False].evaluation_flops
    assert cost[True].tile_bytes - cost[False].tile_bytes == 4 * 25 * 6


def test_ids_of_runs_without_it_are_as_before():
    given = make_runs(
        Experiment.model_validate(configure(train=SUBTRACTED | {"subtract_initial": False}))
    )
    default = make_runs(Experiment.model_validate(configure(train={"steps": 40, "eval_every": 1})))
    assert given[0].id == default[0].id
