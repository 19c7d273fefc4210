"""One run through `grokjax.training.one_run`, against the NumPy reference and against brute force."""

from __future__ import annotations

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokjax.experiment.config import Experiment
from grokjax.experiment.grid import make_groups, make_runs
from grokjax.models import tensor_names
from grokjax.probes.norms import spectral_norm
from grokjax.training import one_run, runstate
from grokjax.training.one_run import DIVERGED, FINISHED, RUNNING, STOPPED
from tests import reference

TRANSFORMER = {"kind": "transformer", "d_model": 4, "n_heads": 2, "d_mlp": 6, "ln": "mlp-pre"}
MLP = {"kind": "mlp", "d_model": 3, "hidden": [6]}
BASE = {
    "name": "test",
    "task": {"kind": "modular", "operation": "x+y", "p": 5},
    "split": {"kind": "random", "train_fraction": 0.6},
    "model": TRANSFORMER,
    "optimizer": {"kind": "adamw", "learning_rate": 1e-2, "weight_decay": 0.5},
    "train": {"steps": 60, "eval_every": 1},
}


def configure(**changes):
    """BASE with changed settings; a section that names its kind replaces the one there."""
    parts = {
        k: v if "kind" in v else BASE[k] | v for k, v in changes.items() if isinstance(v, dict)
    }
    return BASE | changes | parts


# Without optimisation: these are many small programs, each run a few times. The ladder runs optimised ones.
_jit = functools.partial(
    jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0}
)
_start, _train = _jit(one_run.init_run), _jit(one_run.train_block)


@_jit
def _evaluate(setup, data, hyper, state):
    found = one_run.measure_run(setup, data, hyper, state, 1)
    return one_run.conclude(setup, hyper, state, found), found


class OneRun:
    """A run with its compiled pieces: `evaluate` measures and concludes, `train` makes one block."""

    def __init__(self, **changes):
        experiment = Experiment.model_validate(configure(**changes))
        (self.group,) = make_groups(make_runs(experiment))
        self.run = self.group.first
        self.settings, self.n_train = self.run.settings, self.run.n_train
        self.setup = runstate.make_setup(self.group)
        self.table = self.setup.model.table
        self.data = runstate.make_data(self.setup)
        self.hyper = jax.tree.map(jnp.asarray, runstate.make_hyper(self.run))

    # Numbers and seeds are arguments, so that runs of one shape share what is compiled.

    def start(self):
        return _start(self.setup, self.data, self.hyper)

    def train(self, state):
        return _train(self.setup, self.data, self.hyper, state)

    def evaluate(self, state):
        return _evaluate(self.setup, self.data, self.hyper, state)

    def history(self, blocks):
        """The state and the measurements of each evaluation; stops with the run."""
        state, states, found = self.start(), [], []
        for _ in range(blocks):
            states.append(state)
            state, measured = self.evaluate(state)
            found.append({k: float(v) for k, v in measured.items()})
            if int(state.status) != RUNNING:
                break
            state = self.train(state)
        return [*states, state], found

    def loss(self, named, rows, labels_NA):
        return reference.mean_loss(
            named, self.settings.model, self.table, rows, labels_NA, self.settings.train.loss
        )

    def numpy_step(self, named, opt_state, rows, labels_NA):
        """Loss before the update, gradient, and what the reference makes of them."""
        f = lambda named: self.loss(named, rows, labels_NA)  # noqa: E731
        grads = reference.gradient(f, named)
        optimizer = self.settings.optimizer
        new, opt_state = reference.OPTIMIZERS[optimizer.kind](optimizer, grads, opt_state, named)
        return f(named), grads, new, opt_state


def named_params(state):
    return reference.as_float64(tensor_names(state.params))


def norm_of(named):
    return math.sqrt(sum((x**2).sum() for x in named.values()))


# Fifty steps ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        pytest.param(
            {"model": TRANSFORMER | {"n_layers": 2, "ln": "pre", "causal": False}},
            marks=pytest.mark.soak,
        ),
        pytest.param(
            {"model": MLP, "task": {"format": "a op b ="}, "split": {"label_noise": 0.2}},
            marks=pytest.mark.soak,
        ),
        {
            "model": {"kind": "quadratic", "d_mlp": 6, "readout_scale": 2.0},
            "optimizer": {"kind": "sgd", "learning_rate": 0.3, "momentum": 0.9},
            "train": {"loss": "mse"},
        },
    ],
    ids=["transformer", "two layers", "mlp", "quadratic"],
)
def test_fifty_steps_agree_with_reference(changes):
    one = OneRun(**changes)
    states, found = one.history(51)
    rows = np.flatnonzero(states[0].rows.train_N)
    labels_NA = np.asarray(states[0].rows.labels_NA)
    assert len(rows) == 15
    named = named_params(states[0])
    opt_state = reference.start(named)
    for measured in found:
        loss, _, named, opt_state = one.numpy_step(named, opt_state, rows, labels_NA)
        assert measured["train_loss"] == pytest.approx(loss, rel=1e-4)
    assert len(found) == 51
    assert found[50]["train_loss"] < 0.8 * found[0]["train_loss"]


# Mini-batches ---------------------------------------------------------------------------------------------------------

BATCHES = {"train": {"steps": 40, "eval_every": 4, "batch_size": 4}}


def record_epoch(one, state, monkeypatch):
    """The rows and weights of each step of an epoch, with nothing trained."""
    seen = []

    def step(setup, data, hyper, state, index_B, weights_B):
        seen.append((np.asarray(index_B), np.asarray(weights_B)))
        return state

    with monkeypatch.context() as patch, jax.disable_jit():
        patch.setattr(one_run, "step", step)
        one_run.train_epoch(one.setup, one.data, one.hyper, state)
    return seen


@pytest.mark.soak
def test_an_epoch_visits_every_training_row_once(monkeypatch):
    one = OneRun(**BATCHES)
    state = one.start()
    seen = record_epoch(one, state, monkeypatch)
    assert [len(index) for index, _ in seen] == [4, 4, 4, 4]
    assert [weights.tolist() for _, weights in seen] == [[1] * 4] * 3 + [[1, 1, 1, 0]]
    visited = [row for index, weights in seen for row in index[weights == 1]]
    assert sorted(visited) == np.flatnonzero(state.rows.train_N).tolist()


@pytest.mark.soak
def test_an_epoch_agrees_with_reference(monkeypatch):
    one = OneRun(**BATCHES)
    state, labels_NA = one.start(), one.table.targets_NA
    named = named_params(state)
    opt_state, losses = reference.start(named), []
    for index, weights in record_epoch(one, state, monkeypatch):
        loss, _, named, opt_state = one.numpy_step(named, opt_state, index[weights == 1], labels_NA)
        losses.append(loss)
    trained = one.train(state)
    assert int(trained.age) == 4
    assert float(trained.sum_loss) == pytest.approx(sum(losses), rel=1e-5)
    assert float(trained.max_loss) == pytest.approx(max(losses), rel=1e-5)
    for name, w in named_params(trained).items():
        np.testing.assert_allclose(w, named[name], rtol=1e-4, atol=1e-6)


def order(state, age=0, **changes):
    """Rows in the order of the epoch that begins at this age."""
    one = OneRun(**(BATCHES | changes))
    state = dataclasses.replace(state, age=jnp.int32(age))
    index_B, weights_B = one_run.epoch_order(one.setup, one.hyper, state)
    return np.asarray(index_B)[np.asarray(weights_B) == 1].tolist()


def test_order_is_new_in_each_epoch_and_comes_from_the_order_seed_alone():
    state = OneRun(**BATCHES).start()
    rows = np.flatnonzero(state.rows.train_N).tolist()
    epochs = [order(state, age) for age in (0, 4, 8, 12)]
    assert len({*map(tuple, epochs), tuple(rows)}) == 5
    assert all(sorted(epoch) == rows for epoch in epochs)
    assert order(state, 8) == epochs[2]
    others = {"init_seed": 5, "split_seed": 6, "noise_seed": 7, "optimizer": {"learning_rate": 0.1}}
    assert order(state, **others) == epochs[0]
    assert order(state, seed=9, order_seed=0) == epochs[0]
    assert order(state, order_seed=1) != epochs[0]


# Seeds ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "parts"),
    [
        ("init_seed", {"params"}),
        ("split_seed", {"train_N", "labels_NA"}),
        ("noise_seed", {"labels_NA"}),
        ("order_seed", set()),
        ("seed", {"params", "train_N", "labels_NA"}),
    ],
)
def test_each_seed_moves_its_own_stream(seed, parts):
    noise = {"split": {"label_noise": 0.3}}
    one, two = OneRun(**noise).start(), OneRun(**noise, **{seed: 1}).start()
    moved = {
        n for n in ("train_N", "labels_NA") if np.any(getattr(one.rows, n) != getattr(two.rows, n))
    }
    if norm_of({n: w - named_params(two)[n] for n, w in named_params(one).items()}) > 0.1:
        moved.add("params")
    assert moved == parts


# Probes ---------------------------------------------------------------------------------------------------------------


def brute_metrics(one, state, named):
    """Row by row, in plain Python."""
    logits = (
        reference.logits(named, one.settings.model, one.table)[:, 0]
        * one.settings.model.readout_scale
    )
    train_N, labels = np.asarray(state.rows.train_N), np.asarray(state.rows.labels_NA)[:, 0]
    trains = {tuple(xy) for xy in one.table.operands_N2[train_N].tolist()}
    lists = {}
    for i, (x, y) in enumerate(one.table.operands_N2.tolist()):
        answer, true = int(logits[i].argmax()), int(one.table.targets_NA[i, 0])
        loss = lambda label, i=i: math.log(np.exp(logits[i] - logits[i, label]).sum())  # noqa: E731
        if (x, y) in trains:
            found = {"train_loss": loss(labels[i]), "train_accuracy": answer == labels[i]}
            found |= {"train_loss_clean": loss(true), "train_accuracy_clean": answer == true}
        else:
            mirror = "seen" if (y, x) in trains else "unseen"
            found = {"val_loss": loss(true), "val_accuracy": answer == true}
            found[f"val_accuracy_mirror_{mirror}"] = answer == true
        for name, value in found.items():
            lists.setdefault(name, []).append(float(value))
    return {name: sum(values) / len(values) for name, values in lists.items()}


@pytest.fixture(scope="module")
def noisy():
    """A run with wrong labels, evaluated every three steps."""
    one = OneRun(split={"label_noise": 0.4}, train={"steps": 60, "eval_every": 3})
    return one, *one.history(21)


def test_evaluation_at_step_0(noisy):
    one, states, found = noisy
    named = named_params(states[0])
    for name, value in brute_metrics(one, states[0], named).items():
        assert found[0][name] == pytest.approx(value, rel=1e-5), name
    assert found[0]["param_norm"] == pytest.approx(norm_of(named), rel=1e-5)
    assert found[0]["grad_norm"] == found[0]["update_norm"] == 0
    assert math.isnan(found[0]["training_loss_mean"])
    assert math.isnan(found[0]["training_loss_max"])


def test_metrics_are_those_of_brute_force(noisy):
    one, states, found = noisy
    for i in (1, 7, 20):
        expected = brute_metrics(one, states[i], named_params(states[i]))
        assert len(expected) == 8
        for name, value in expected.items():
            assert found[i][name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    wrong = (np.asarray(states[0].rows.labels_NA) != one.table.targets_NA).sum()
    assert wrong == int(0.4 * one.n_train)
    assert any(m["train_accuracy"] != m["train_accuracy_clean"] for m in found)
    assert any(m["val_accuracy_mirror_seen"] != m["val_accuracy_mirror_unseen"] for m in found)


@pytest.mark.soak
def test_norms_of_the_steps_between_evaluations(noisy):
    one, states, found = noisy
    rows, labels_NA = np.flatnonzero(states[0].rows.train_N), np.asarray(states[0].rows.labels_NA)
    named = named_params(states[0])
    opt_state, losses = reference.start(named), []
    for step in range(6):
        before = named
        loss, grads, named, opt_state = one.numpy_step(named, opt_state, rows, labels_NA)
        losses.append(loss)
        if step in (2, 5):
            update = norm_of({n: named[n] - w for n, w in before.items()})
            W_U = named["W_U"]
            expected = {
                "grad_norm": norm_of(grads),
                "update_norm": update,
                "relative_update_norm": update / norm_of(before),
                "training_loss_mean": sum(losses[-3:]) / 3,
                "training_loss_max": max(losses[-3:]),
                "param_norm": norm_of(named),
                "output_frobenius": norm_of({"W_U": W_U}),
                "output_spectral": np.linalg.svd(W_U, compute_uv=False)[0],
                **{f"param_norm/{n}": norm_of({n: w}) for n, w in named.items()},
            }
            measured = {n: v for n, v in found[len(losses) // 3].items() if n in expected}
            assert measured == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("shape", [(7, 7), (4, 30), (128, 114)])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_spectral_norm_is_the_largest_singular_value(shape, size):
    W = np.random.default_rng(0).normal(0, size, shape).astype(np.float32)
    expected = np.linalg.svd(W.astype(float), compute_uv=False)[0]
    np.testing.assert_allclose(spectral_norm(jnp.asarray(W)), expected, rtol=1e-4)


def test_spectral_norm_of_matrices_without_a_gap():
    assert float(spectral_norm(jnp.eye(5) * 3)) == pytest.approx(3, rel=1e-5)
    assert float(spectral_norm(jnp.diag(jnp.array([1, 0.999, 0.998])))) == pytest.approx(
        1, rel=1e-3
    )
    assert float(spectral_norm(jnp.zeros((3, 4)))) == 0


# How runs end ---------------------------------------------------------------------------------------------------------


def expected_end(accuracies, level, hold, then, budget):
    """(evaluation, status) at which a run ends: in words, from the list of its accuracies."""
    for last in range(budget):
        window = accuracies[max(0, last - hold + 1) : last + 1]
        if len(window) == hold and min(window) >= level:
            return (last + then, STOPPED) if last + then < budget else (budget - 1, FINISHED)
    return budget - 1, FINISHED


@pytest.fixture(scope="module")
def concluded():
    """`conclude` of a run at any evaluation, compiled once."""
    one = OneRun()

    @jax.jit
    def conclude(state, measured, stop, budget):
        hyper = one.hyper.replace(stop=stop, budget=budget)
        state = one_run.conclude(one.setup, hyper, state, measured)
        return dataclasses.replace(state, age=one.setup.cadence.step_of(state.evaluations))

    return one.start(), conclude


@given(
    st.lists(st.sampled_from([0.5, 0.9, 1.0]), min_size=12, max_size=12),
    st.integers(1, 3),
    st.integers(0, 4),
    st.integers(1, 12),
)
@settings(deadline=None, max_examples=60)
def test_stop_rule(concluded, accuracies, hold, then, budget):
    state, conclude = concluded
    stop = {"level": np.float32(0.9), "hold": np.int32(hold), "then": np.int32(then)}
    for accuracy in accuracies:
        measured = {"val_accuracy": jnp.float32(accuracy), "train_loss": jnp.float32(1)}
        state = conclude(state, measured, stop, np.int32(budget))
    # The float32 nearest to 0.9 is what both the accuracy and the level are.
    last, status = expected_end(accuracies, 0.9, hold, then, budget)
    assert (int(state.evaluations) - 1, int(state.status)) == (last, status)
    assert int(state.diverged_at) == -1


@pytest.mark.soak
def test_a_run_without_stop_rule_uses_its_budget_although_it_is_right():
    one = OneRun(train={"steps": 3})
    states, found = one.history(10)
    assert len(found) == 4
    assert int(states[-1].status) == FINISHED
    assert int(states[-1].age) == 3
    perfect = {"val_accuracy": jnp.float32(1), "train_loss": jnp.float32(0)}
    start = one.start()
    assert int(one_run.conclude(one.setup, one.hyper, start, perfect).status) == RUNNING


def test_a_stop_rule_ends_a_run():
    one = OneRun(train={"stop": {"val_accuracy": 0.0, "hold": 3, "then": 2}})
    states, found = one.history(20)
    assert int(states[-1].status) == STOPPED
    assert len(found) == int(states[-1].evaluations) == 5
    assert int(states[-1].age) == 4


@pytest.mark.soak
@pytest.mark.parametrize("learning_rate", [1e9, 1e38])
def test_divergence_is_found_at_its_evaluation_and_freezes_the_run(learning_rate):
    one = OneRun(
        optimizer={"kind": "sgd", "learning_rate": learning_rate},
        train={"steps": 60, "eval_every": 2},
    )
    states, found = one.history(31)
    finite = [math.isfinite(m["train_loss"]) and math.isfinite(m["param_norm"]) for m in found]
    assert finite == [True] * (len(found) - 1) + [False]
    assert int(states[-1].status) == DIVERGED
    assert int(states[-1].diverged_at) == int(states[-1].age) == 2 * (len(found) - 1) > 0
    assert int(states[-1].evaluations) == len(found)
    after = one.evaluate(one.train(states[-1]))[0]
    for old, new in zip(jax.tree.leaves(states[-1]), jax.tree.leaves(after), strict=True):
        np.testing.assert_array_equal(old, new)
