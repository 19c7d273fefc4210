"""Tasks whose rows each run draws, and what came with the first of them: sparse parity, hinge loss, perceptron."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.driver import session
from grokjax.experiment.config import Experiment
from grokjax.experiment.grid import make_runs
from grokjax.experiment.loading import load_with_places
from grokjax.experiment.places import ConfigError
from grokjax.losses import hinge
from grokjax.models import Model, n_parameters, tensor_names
from grokjax.models.perceptron import PerceptronSettings
from grokjax.tasks import make_table
from grokjax.tasks.parity import SparseParity
from grokjax.training import passes
from grokjax.training.costs import RowBlocks
from tests import reference
from tests.harness import ROOT, assert_same, command, environment, results
from tests.test_models import assert_uniform, fresh, random_params
from tests.test_training import OneRun, configure, named_params, record_epoch
from tests.words import readers_of

TASK = {"kind": "sparse_parity", "n_bits": 7, "k": 3, "n_train": 29, "n_test": 40}
PARITY = {
    "task": TASK,
    "split": {"kind": "drawn"},
    "model": {"kind": "perceptron", "hidden": [6]},
    "optimizer": {"kind": "sgd", "learning_rate": 0.3, "l2": 0.01, "momentum": 0.5},
    "train": {
        "steps": {"epochs": 6},
        "eval_every": {"epochs": 1},
        "batch_size": 8,
        "loss": "hinge",
    },
}
SAMPLE = make_table(SparseParity(**TASK))


def rows_of(**changes):
    """Inputs and targets of one run, as NumPy."""
    one = OneRun(**(PARITY | changes))
    data = jax.jit(lambda h: passes.data_of(one.setup, one.data, h, 0))(one.hyper)
    return np.asarray(data.table_input), np.asarray(data.targets_NA)


# Rows -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3, 4])
def test_the_class_is_the_parity_of_the_first_k_signs(k):
    inputs_ND, targets_NA = rows_of(task=TASK | {"k": k, "n_train": 200})
    assert inputs_ND.shape == (240, 7) and targets_NA.shape == (240, 1)
    assert set(inputs_ND.ravel().tolist()) == {-1.0, 1.0}
    minuses = (inputs_ND[:, :k] < 0).sum(1)
    np.testing.assert_array_equal(targets_NA[:, 0], minuses % 2 == 0)
    # Both signs about equally often at every place: five standard errors.
    assert np.abs(inputs_ND.mean(0)).max() < 5 / math.sqrt(240)


def test_training_rows_come_from_the_split_seed_and_test_rows_from_the_task():
    base = rows_of()[0]
    np.testing.assert_array_equal(rows_of()[0], base)
    np.testing.assert_array_equal(rows_of(init_seed=1, order_seed=2, noise_seed=3)[0], base)
    for other in (rows_of(seed=1)[0], rows_of(split_seed=1)[0]):
        assert (other[:29] != base[:29]).mean() > 0.3
        np.testing.assert_array_equal(other[29:], base[29:])
    elsewhere = rows_of(task=TASK | {"test_seed": 1})[0]
    np.testing.assert_array_equal(elsewhere[:29], base[:29])
    assert (elsewhere[29:] != base[29:]).mean() > 0.3
    for seed in (0, 1):  # neither are the rows of a run whose seed is the test's
        assert (rows_of(seed=seed)[0][:29] != elsewhere[29:58]).mean() > 0.3
        assert (rows_of(seed=seed)[0][:29] != base[29:58]).mean() > 0.3


def test_training_rows_train_and_test_rows_validate():
    one = OneRun(**PARITY)
    rows = one.start().rows
    np.testing.assert_array_equal(rows.train_N, np.arange(69) < 29)
    np.testing.assert_array_equal(rows.index_B, np.arange(one.setup.bucket))
    np.testing.assert_array_equal(rows.labels_NA, rows_of()[1])
    assert one.n_train == 29


def test_label_noise_turns_training_labels_over():
    rows = OneRun(**(PARITY | {"split": {"kind": "drawn", "label_noise": 0.25}})).start().rows
    wrong_N = (np.asarray(rows.labels_NA) != rows_of()[1])[:, 0]
    assert wrong_N.sum() == 7
    assert not wrong_N[29:].any()


def test_a_state_does_not_keep_what_can_be_drawn_again():
    one = OneRun(**PARITY)
    largest = max(x.size for x in jax.tree.leaves(one.start()))
    assert largest <= max(one.setup.n_rows, 7 * 6)


def test_the_data_of_a_table_are_shared_by_its_runs():
    one = OneRun()
    assert passes.data_of(one.setup, one.data, one.hyper, 0) is one.data


# Loss -----------------------------------------------------------------------------------------------------------------


def test_hinge():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (50, 2, 5)).astype(np.float32)
    labels = rng.integers(5, size=(50, 2)).astype(np.int32)
    expected = reference.hinge(logits.astype(float), labels)
    assert 5 < (expected == 0).sum() < 95
    np.testing.assert_allclose(hinge(jnp.asarray(logits), jnp.asarray(labels)), expected, rtol=2e-6)


def test_hinge_of_two_classes_is_that_of_their_difference():
    f = np.linspace(-3, 3, 25).astype(np.float32)
    logits = jnp.stack([-f / 2, f / 2], 1)
    for label in (0, 1):
        labels, y = jnp.full(25, label), 2 * label - 1
        expected = np.maximum(0, 1 - y * f)
        np.testing.assert_allclose(hinge(logits, labels), expected, rtol=1e-6, atol=1e-7)
        slope = jax.grad(lambda x, labels=labels: hinge(x, labels).sum())(logits)
        away = np.abs(1 - y * f) > 1e-6  # from the kink
        np.testing.assert_array_equal(slope[away, 1], np.where(y * f < 1, -y, 0)[away])


# Model ----------------------------------------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.parametrize("n_classes", [pytest.param(2, marks=pytest.mark.soak), 3])
@pytest.mark.parametrize(
    "settings",
    [
        {"hidden": (6,)},
        {"hidden": (5, 4), "activation": "gelu", "output_bias": True},
        {"hidden": (5, 6), "bias": False},
    ],
)
def test_perceptron_agrees_with_reference(settings, n_classes):
    sample = dataclasses.replace(SAMPLE, n_classes=n_classes, n_answers=n_classes)
    model = Model(PerceptronSettings(**settings), sample)
    params = random_params(model, seed=1)
    rng = np.random.default_rng(0)
    inputs_ND = rng.normal(size=(20, 7)).astype(np.float32)
    labels_NA = rng.integers(n_classes, size=(20, 1)).astype(np.int32)
    rows = rng.integers(20, size=11)

    def loss(params, forward):
        return hinge(forward(params), jnp.asarray(labels_NA[rows])).mean()

    def expected(named):
        logits = reference.logits(named, model.settings, sample, inputs_ND[rows])
        return reference.hinge(logits, labels_NA[rows]).mean((-1, -2))

    def by_rows(params):
        return model.apply(params, jnp.asarray(inputs_ND), jnp.asarray(rows))

    named = reference.as_float64(tensor_names(params))
    gradient = reference.gradient(expected, named)
    for forward in (by_rows, lambda p: model.dense(p, jnp.asarray(inputs_ND[rows]))):
        value, grads = jax.value_and_grad(loss)(params, forward)
        np.testing.assert_allclose(value, expected(named), rtol=1e-5)
        grads = tensor_names(grads)
        assert grads.keys() == gradient.keys()
        for name, g in gradient.items():
            np.testing.assert_allclose(grads[name], g, rtol=1e-4, atol=1e-5, err_msg=name)


def test_features_times_the_output_matrix_are_the_output():
    model = Model(PerceptronSettings(hidden=(5, 6)), SAMPLE)
    params, inputs_ND = random_params(model), jnp.asarray(rows_of()[0])
    f_N = (model.features(params, inputs_ND) @ model.output_matrix(params))[:, 0, 0]
    logits_NAC = model.apply(params, inputs_ND)
    np.testing.assert_allclose(logits_NAC[:, 0, 1] - logits_NAC[:, 0, 0], f_N, rtol=1e-5, atol=1e-6)


def test_the_network_of_merrill_et_al():
    model = Model(PerceptronSettings(), make_table(SparseParity()))
    assert n_parameters(model) == 40 * 1000 + 1000 + 1000
    w = fresh(model)
    assert_uniform(w["W_0"], 40**-0.5)
    assert_uniform(w["b_0"], 40**-0.5)
    assert_uniform(w["W_U"], 1000**-0.5)


# Training -------------------------------------------------------------------------------------------------------------


@pytest.mark.soak
def test_epochs_agree_with_plain_sgd(monkeypatch):
    one = OneRun(**PARITY)
    inputs_ND, targets_NA = rows_of()
    state = one.start()
    named, settings = named_params(state), one.settings
    opt_state = reference.start(named)
    for _ in range(4):
        losses = []
        for index, weights in record_epoch(one, state, monkeypatch):
            batch = index[weights == 1]

            def loss(named, batch=batch):
                logits = reference.logits(named, settings.model, SAMPLE, inputs_ND[batch])
                return reference.hinge(logits, targets_NA[batch]).mean((-1, -2))

            losses.append(loss(named))
            grads = reference.gradient(loss, named)
            named, opt_state = reference.sgd(settings.optimizer, grads, opt_state, named)
        assert len(losses) == 4
        state = one.train(state.replace(sum_loss=jnp.float32(0)))
        assert float(state.sum_loss) == pytest.approx(sum(losses), rel=1e-4)
    for name, w in named_params(state).items():
        np.testing.assert_allclose(w, named[name], rtol=1e-3, atol=1e-5)


def test_metrics_are_of_training_and_of_test_rows():
    one = OneRun(**PARITY)
    state, measured = one.evaluate(one.start())
    inputs_ND, targets_NA = rows_of()
    logits = reference.logits(named_params(state), one.settings.model, SAMPLE, inputs_ND)
    right = logits[:, 0].argmax(-1) == targets_NA[:, 0]
    loss = reference.hinge(logits, targets_NA)
    assert float(measured["train_accuracy"]) == pytest.approx(right[:29].mean())
    assert float(measured["val_accuracy"]) == pytest.approx(right[29:].mean())
    assert float(measured["train_loss"]) == pytest.approx(loss[:29].mean(), rel=1e-5)
    assert float(measured["val_loss"]) == pytest.approx(loss[29:].mean(), rel=1e-5)


def test_blocks_of_rows_change_only_the_order_of_sums():
    one = OneRun(**(PARITY | {"train": {"steps": 4, "loss": "hinge"}}))
    data = passes.data_of(one.setup, one.data, one.hyper, 0)
    state = one.start()
    n = one.setup.bucket
    batch = passes.Batch(jnp.arange(n), jnp.full(n, 1 / n), data.targets_NA[:n])

    def both(setup):
        return jax.jit(
            lambda p: (
                passes.loss_and_gradient(setup, data, one.hyper, p, batch),
                passes.table_logits(setup, data, setup.model, p),
            )
        )(state.params)

    parts = both(dataclasses.replace(one.setup, blocks=RowBlocks(2, 3)))
    for x, y in zip(jax.tree.leaves(parts), jax.tree.leaves(both(one.setup)), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=1e-6)


# Grids ----------------------------------------------------------------------------------------------------------------

GRID = """
name: parity
task: {kind: sparse_parity, n_bits: 7, k: 2, n_train: 50, n_test: 20}
split: {kind: drawn}
model: {kind: perceptron, hidden: [16]}
optimizer: {kind: sgd, learning_rate: 0.1, l2: 0.01}
train: {steps: {epochs: 24}, eval_every: {epochs: 2}, batch_size: 16, loss: hinge, snapshot_every: 3,
        stop: {val_accuracy: 0.95, hold: 2}}
execution: {slots: 4, devices: 2, tile: 2, chunk: 1, lag: 1, checkpoint_seconds: 0}
axes:
  optimizer.l2: [0, 0.01]
  seed: {range: 4}
"""


@pytest.fixture
def config(tmp_path) -> Path:
    (tmp_path / "parity.yaml").write_text(GRID)
    return tmp_path / "parity.yaml"


def run(config: Path, out: Path, *overrides: str) -> dict:
    experiment, places = load_with_places(config, [*overrides, f"execution.out={out}"])
    session.run_experiment(experiment, places=places, display=lambda tally: None)
    return results(out)


@pytest.mark.soak
def test_a_run_depends_on_nothing_but_its_settings(config, tmp_path):
    quiet = "execution.checkpoint_seconds=60"
    whole = run(config, tmp_path / "whole", quiet)
    assert len(whole) == 8
    assert all(f"{t}@0" in r for r in whole.values() for t in ("W_0", "b_0", "W_U"))
    other = run(config, tmp_path / "other", quiet, "execution.chunk=7", "execution.slots=12")
    assert_same(whole, other)
    first = "train.steps={epochs: 6}", "axes.seed=[0, 1]"
    run(config, tmp_path / "grown", quiet, *first)
    assert_same(whole, run(config, tmp_path / "grown", quiet))


@pytest.mark.soak
def test_a_killed_grid_goes_on_bit_for_bit(config, tmp_path):
    out = tmp_path / "out"
    words = [sys.executable, str(ROOT / "tests" / "crash.py"), "after a save", "3"]
    killed = subprocess.run(
        [*words, *command(config, out)[2:]], env=environment(), capture_output=True, timeout=300
    )
    assert killed.returncode < 0
    again = subprocess.run(
        command(config, out), env=environment(), capture_output=True, text=True, timeout=300
    )
    assert again.returncode == 0, again.stderr
    assert_same(run(config, tmp_path / "whole"), results(out))


# Mistakes -------------------------------------------------------------------------------------------------------------

TABLE = {"kind": "modular", "p": 5}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"split": {"kind": "random"}},
            "split.kind: random divides the rows of a table, but this task draws its own training rows; "
            "use drawn",
        ),
        (
            {"task": TABLE},
            "split.kind: drawn needs a task that draws its own training rows, but this task is a table; "
            "use random",
        ),
        (
            {"model": {"kind": "mlp"}},
            f"model.kind: mlp reads tokens, but the rows of this task are numbers; use {readers_of('numbers')}",
        ),
        (
            {"task": TABLE, "split": {"kind": "random"}},
            "model.kind: perceptron reads numbers, but the rows of this task are tokens; "
            f"use {readers_of('tokens')}",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, sentence):
    experiment = Experiment.model_validate(configure(**(PARITY | changes)))
    with pytest.raises(ConfigError) as told:
        make_runs(experiment)
    assert str(told.value) == f"experiment: {sentence}"


def test_more_deciding_bits_than_bits_are_refused(config):
    with pytest.raises(ConfigError) as told:
        load_with_places(config, ["task.k=8"])
    assert str(told.value) == (
        "override task.k=8: task.k: 8 is more than n_bits = 7; use at most 7"
    )
