"""Published numbers that the whole tool must give, from the committed configurations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import analysis
import grokjax
from grokjax.experiment.grid import make_groups, make_runs
from grokjax.experiment.loading import load_with_places
from grokjax.splits import row_weights
from grokjax.training import one_run, passes, runstate
from tests.harness import ROOT


@pytest.mark.soak
def test_source_002_memorises_in_epochs_70_to_200(tmp_path):
    config = ROOT / "configs" / "mlp_memorisation.yaml"
    runs = analysis.load(grokjax.run(config, out=tmp_path / "out"))
    train = runs["value"].sel(probe="train_accuracy").to_numpy()
    epochs = runs["step"].to_numpy() / 15
    first = [epochs[i, np.argmax(train[i] >= 0.99)] for i in range(5)]
    assert sorted(runs["seed"].to_numpy()) == [5, 10, 21, 30, 42]
    assert (runs["n_train"] == 7528).all()
    assert all(70 <= epoch <= 200 for epoch in first), first
    loss_at_start = runs["value"].sel(probe="train_loss").to_numpy()[:, 0]
    assert ((loss_at_start > 5.1) & (loss_at_start < 6.1)).all()  # about 1 above ln 99


@pytest.mark.soak
@pytest.mark.parametrize(("seed", "silent"), [(456, 49), (789, 36)])
def test_units_that_never_fire_make_an_eps_of_0_impossible(seed, silent):
    """Of source 004's network with Kaiming initialisation: gradients that are exactly 0 at step 0."""
    experiment, source = load_with_places(
        ROOT / "configs" / "source_004" / "eps0.yaml",
        ["axes.optimizer.eps=[0]", "axes.model.readout_scale=[1]", f"axes.seed=[{seed}]"],
    )
    (group,) = make_groups(make_runs(experiment, source))
    setup = runstate.make_setup(group)
    data, hyper = runstate.make_data(setup), runstate.make_hyper(group.first)
    hyper = jax.tree.map(jnp.asarray, hyper)

    def gradient():
        state = one_run.init_run(setup, data, hyper)
        weights = row_weights(hyper.n_train, setup.bucket)
        batch = passes.batch_of(setup, data, state.rows.labels_NA, state.rows.index_B, weights)
        return passes.loss_and_gradient(setup, data, hyper, state.params, batch)[1]

    block = jax.jit(gradient)()["blocks_0"]
    dead = np.asarray(block["b_in"]) == 0
    assert dead.sum() == silent
    assert (np.asarray(block["W_in"])[:, dead] == 0).all()
