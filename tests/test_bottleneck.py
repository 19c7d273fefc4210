"""Models with vectors as answers: the bottleneck, its products and losses, and whole trainings against NumPy."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax import losses
from grokjax.models import Model, forms, linear, n_parameters, tensor_names
from grokjax.models.bottleneck import BottleneckSettings
from grokjax.models.perceptron import PerceptronSettings
from grokjax.tasks import make_table
from grokjax.tasks.sparse_features import SparseFeatures
from grokjax.training import passes
from tests import reference
from tests.test_models import fresh, random_params
from tests.test_resume import also_in_soak
from tests.test_training import OneRun, named_params, record_epoch

# Products and losses --------------------------------------------------------------------------------------------------

unoptimised = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
@pytest.mark.parametrize("n_hidden", [1, *also_in_soak(2, 3, 4), 5, *also_in_soak(6)])
def test_widen_and_its_gradient(n_hidden, platform):
    h, W, b, g = (
        normal(9, n_hidden),
        normal(7, n_hidden, seed=1),
        normal(7, seed=2),
        normal(9, 7, seed=3),
    )
    with forms.using(forms.by_platform(platform)):
        out, pull_back = unoptimised(
            lambda *x: (linear.widen(*x), jax.vjp(linear.widen, *x)[1](g))
        )(h, W, b)
    h, W, b, g = (np.asarray(x, float) for x in (h, W, b, g))
    np.testing.assert_allclose(out, h @ W.T + b, rtol=1e-5, atol=1e-5)
    for found, expected in zip(pull_back, (g @ W, g.T @ h, g.sum(0)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_both_forms_of_the_squared_error(platform):
    outputs, targets = normal(9, 2, 5), normal(9, 2, 5, seed=1)
    importance, share = np.float32([3, 0, 1, 0.5, 2]), jnp.abs(normal(9, seed=2))
    table = make_table(SparseFeatures(n_features=5, importance=tuple(importance.tolist())))
    expected = reference.squared_error(
        np.asarray(outputs, float), np.asarray(targets, float), importance
    )

    def whole(outputs):
        return losses.mean_loss("squared_error", table, outputs, targets, share)

    def by_answer(outputs):
        each = losses.per_answer("squared_error", table)(outputs, targets)
        return (each.mean(1) * share).sum(), each

    with forms.using(forms.by_platform(platform)):
        total, grads = unoptimised(jax.value_and_grad(whole))(outputs)
        (same, each), plain = unoptimised(jax.value_and_grad(by_answer, has_aux=True))(outputs)
    np.testing.assert_allclose(each, expected, rtol=1e-5)
    assert float(total) == pytest.approx((expected.mean(1) * np.asarray(share)).sum(), rel=1e-5)
    assert float(same) == pytest.approx(float(total), rel=1e-5)
    by_hand = 2 * (share / 2)[:, None, None] * importance * (outputs - targets)
    np.testing.assert_allclose(grads, by_hand, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(plain, by_hand, rtol=1e-5, atol=1e-6)


def test_a_vector_is_right_if_its_largest_entry_is_the_largest_output():
    wanted = np.float32(
        [[0, 2, 1], [0, 2, 1], [0, 2, 1], [0, 0, 0], [2, 2, 0], [2, 2, 0], [0, 3, 0]]
    )
    given = np.float32(
        [[0, 1, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 5], [0, np.nan, 0]]
    )
    given, wanted = jnp.asarray(given), jnp.asarray(wanted)
    found = losses.is_right(given, wanted)
    np.testing.assert_array_equal(found, [True, False, False, False, True, False, False])
    labels = jnp.array([1, 1, 1, 0, 0, 2, 1])
    classes = [True, False, False, False, True, True, False]
    np.testing.assert_array_equal(losses.is_right(given, labels), classes)


# The model ------------------------------------------------------------------------------------------------------------

VARIANTS = [
    {"n_hidden": 2},
    {"n_hidden": 1, "tied": False, "activation": "relu", "output": "absolute"},
    {"n_hidden": 6, "activation": "relu", "output": "linear", "bias": False},
    {"n_hidden": 1, "output": "absolute"},
    {"n_hidden": 6, "tied": False, "output": "relu"},
    {"n_hidden": 2, "tied": False, "activation": "relu", "output": "linear"},
]
NAMES = ["-".join(f"{v}".lower() for v in variant.values()) for variant in VARIANTS]
TASK = {
    "kind": "sparse_features",
    "n_features": 7,
    "sparsity": 0.4,
    "n_train": 11,
    "n_test": 4,
    "importance": 0.7,
}


@pytest.mark.parametrize(
    "variant",
    [VARIANTS[1], *also_in_soak(*VARIANTS[:1], *VARIANTS[2:])],
    ids=[NAMES[1], *NAMES[:1], *NAMES[2:]],
)
def test_the_bottleneck_is_the_dense_one_and_numpys(variant):
    sample = make_table(SparseFeatures(**TASK))
    model = Model(BottleneckSettings(**variant), sample)
    params, inputs_ND = random_params(model, seed=1), normal(15, 7)
    rows, weights = jnp.array([3, 14, 0, 3]), normal(4, 1, 7, seed=5)

    def both(params):
        loss = lambda out: ((out * weights).sum(), out)  # noqa: E731
        ours = jax.grad(lambda p: loss(model.apply(p, inputs_ND, rows)), has_aux=True)(params)
        dense = jax.grad(lambda p: loss(model.dense(p, inputs_ND[rows])), has_aux=True)(params)
        features = model.features(params, inputs_ND)
        return ours, dense, (model.apply(params, inputs_ND), features, model.output_matrix(params))

    ours, dense, (whole, features, matrix) = unoptimised(both)(params)
    named = reference.as_float64(tensor_names(params))
    inputs_ND, rows, weights = (np.asarray(x) for x in (inputs_ND, rows, weights))
    expected = reference.bottleneck(named, model.settings, sample, inputs_ND)
    np.testing.assert_allclose(whole, expected, rtol=1e-5, atol=1e-5)
    gradient = reference.gradient(
        lambda w: (reference.bottleneck(w, model.settings, sample, inputs_ND[rows]) * weights).sum(
            (-1, -2, -3)
        ),
        named,
    )
    for grads, out in (ours, dense):
        np.testing.assert_allclose(out, expected[rows], rtol=1e-5, atol=1e-5)
        grads = tensor_names(grads)
        assert grads.keys() == gradient.keys()
        for name, g in gradient.items():
            np.testing.assert_allclose(grads[name], g, rtol=1e-4, atol=1e-5, err_msg=name)
    W_MC = np.asarray(matrix).T if model.settings.tied else np.asarray(matrix)
    out = reference.OUTPUTS[model.settings.output](
        np.asarray(features[:, 0]) @ W_MC + named.get("b_U", 0)
    )
    np.testing.assert_allclose(out, expected[:, 0], rtol=1e-5, atol=1e-5)


def test_the_network_of_henighan_et_al():
    sample = make_table(SparseFeatures(n_features=2000))
    model = Model(BottleneckSettings(), sample)
    assert n_parameters(model) == 2 * 2000 + 2000
    w = fresh(model)
    assert (w["b_U"] == 0).all()
    # Glorot & Bengio 2010: variance 2 / (fan in + fan out); the standard deviation of 4,000 numbers to five errors.
    assert abs(w["W_E"].std() * math.sqrt(2002 / 2) - 1) < 5 / math.sqrt(8000)
    assert abs(w["W_E"].mean()) < 5 * math.sqrt(2 / 2002 / 4000)
    untied = Model(BottleneckSettings(tied=False, n_hidden=10, bias=False), sample)
    assert n_parameters(untied) == 40_000
    assert abs(fresh(untied)["W_U"].std() * math.sqrt(2010 / 2) - 1) < 5 / math.sqrt(40_000)


def test_a_perceptron_without_hidden_layers_is_linear_and_two_features_are_not_two_classes():
    sample = make_table(SparseFeatures(**TASK | {"n_features": 2, "importance": 1.0}))
    inputs_ND = normal(5, 2)
    for hidden in ((), (3,)):
        model = Model(PerceptronSettings(hidden=hidden, output_bias=True), sample)
        params = random_params(model)
        named = reference.as_float64(tensor_names(params))
        expected = reference.perceptron(named, model.settings, sample, np.asarray(inputs_ND))
        assert expected.shape == (5, 1, 2) and named["W_U"].shape == ((hidden or (2,))[0], 2)
        np.testing.assert_allclose(model.apply(params, inputs_ND), expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(model.dense(params, inputs_ND), expected, rtol=1e-5, atol=1e-5)


# Training -------------------------------------------------------------------------------------------------------------

SCHEDULE = {"warmup": 3, "schedule": "cosine", "horizon": 10}
BASE = {
    "task": TASK,
    "split": {"kind": "drawn"},
    "model": {"kind": "bottleneck", "readout_scale": 1.5},
    "optimizer": {
        "kind": "adamw",
        "learning_rate": 3e-2,
        "weight_decay": 0.3,
        "beta2": 0.999,
        **SCHEDULE,
    },
    "train": {"steps": 12, "eval_every": 3, "loss": "squared_error"},
}
MLP_BLOCK = {
    "task": TASK | {"n_read": 4},
    "model": {"kind": "perceptron", "hidden": [5], "output_bias": True},
}
ABSOLUTE = {
    "task": TASK
    | {"target": "absolute", "importance": [1, 2, 0, 1, 3, 0.5, 1], "unit_length": False}
}


class Numpy:
    """The reference's training of the run."""

    def __init__(self, one, state):
        self.one, self.named = one, named_params(state)
        self.opt_state = reference.start(self.named)
        self.model, self.losses = one.settings.model, []

    def error(self, named, inputs_ND, targets_NAC):
        outputs = reference.logits(named, self.model, self.one.table, inputs_ND)
        importance = np.asarray(self.one.settings.task.importance_C, float)
        each = reference.squared_error(outputs * self.model.readout_scale, targets_NAC, importance)
        return each.mean((-1, -2))

    def step(self, inputs_ND, targets_NAC):
        inputs_ND, targets_NAC = (np.asarray(x, float) for x in (inputs_ND, targets_NAC))
        f = lambda named: self.error(named, inputs_ND, targets_NAC)  # noqa: E731
        self.losses.append(float(f(self.named)))
        grads = reference.gradient(f, self.named)
        optimizer = self.one.settings.optimizer
        self.named, self.opt_state = reference.adamw(optimizer, grads, self.opt_state, self.named)

    def assert_same(self, state):
        for name, w in named_params(state).items():
            np.testing.assert_allclose(w, self.named[name], rtol=2e-3, atol=2e-5, err_msg=name)


def assert_loss_of_block(measured, losses):
    assert float(measured["training_loss_mean"]) == pytest.approx(np.mean(losses), rel=1e-4)
    assert float(measured["training_loss_max"]) == pytest.approx(max(losses), rel=1e-4)


FULL = [
    {"model": {"n_hidden": 2}},
    {"model": {"n_hidden": 1, "tied": False, "activation": "relu", "output": "linear"}},
    {"model": {"n_hidden": 6, "output": "absolute", "bias": False}},
    {"model": {"n_hidden": 6, "tied": False}} | ABSOLUTE,
    {"model": {"n_hidden": 2, "activation": "relu", "output": "linear"}} | ABSOLUTE,
    {"model": {"n_hidden": 1, "output": "absolute"}},
    MLP_BLOCK,
    {"train": {"subtract_initial": True}},
]


def configured(changes, **more):
    return {k: BASE[k] | changes.get(k, {}) | more.get(k, {}) for k in BASE}


@pytest.mark.parametrize("changes", [FULL[0], *also_in_soak(*FULL[1:-1])])
def test_full_batches_agree_with_reference(changes):
    one = OneRun(**configured(changes))
    state = one.start()
    data = passes.data_of(one.setup, one.data, one.hyper, 0)
    train_N = np.asarray(state.rows.train_N)
    assert train_N.sum() == 11 and len(train_N) == 11 + 4
    inputs, targets, plain = data.table_input, data.targets_NA, Numpy(one, state)
    for block in range(5):
        state, measured = one.evaluate(state)
        for side, mask_N in (("train", train_N), ("val", ~train_N)):
            expected = plain.error(
                plain.named, np.asarray(inputs[mask_N]), np.asarray(targets[mask_N])
            )
            assert float(measured[f"{side}_loss"]) == pytest.approx(expected, rel=1e-4), block
        if block:
            assert_loss_of_block(measured, plain.losses[-3:])
        state = one.train(state) if block < 4 else state
        for _ in range(3 if block < 4 else 0):
            plain.step(inputs[train_N], targets[train_N])
    assert int(state.age) == 12 and plain.losses[-1] < 0.9 * plain.losses[0]
    plain.assert_same(state)


@pytest.mark.soak
@pytest.mark.parametrize("changes", FULL[:-1])
def test_epochs_of_small_batches_agree_with_reference(changes, monkeypatch):
    train = {"steps": {"epochs": 4}, "eval_every": {"epochs": 1}, "batch_size": 4}
    one = OneRun(**configured(changes, train=train))
    state = one.start()
    data, plain = passes.data_of(one.setup, one.data, one.hyper, 0), Numpy(one, state)
    for _ in range(4):
        for index, weights in record_epoch(one, state, monkeypatch):
            rows = index[weights == 1]
            plain.step(data.table_input[rows], data.targets_NA[rows])
        state = one.train(one.evaluate(state)[0])
    assert int(state.age) == 12 and len(plain.losses) == 12
    plain.assert_same(state)


@pytest.mark.soak
@pytest.mark.parametrize("changes", FULL[:-1])
def test_a_stream_agrees_with_reference(changes):
    settings = configured(changes, train={"batch_size": 5})
    one = OneRun(**settings | {"task": settings["task"] | {"n_train": "stream"}})
    state = one.start()
    plain, seen = Numpy(one, state), []
    for block in range(4):
        state = one.train(one.evaluate(state)[0])
        for age in range(3 * block, 3 * block + 3):
            own = passes.training_data(one.setup, one.data, one.hyper, age)
            assert own.train_input.shape[0] == 5
            seen += [row.tobytes() for row in np.asarray(own.train_input)]
            plain.step(own.train_input, own.targets_NA)
    assert len(set(seen)) == 60, "no row comes twice"
    plain.assert_same(state)


@pytest.mark.soak
def test_initial_outputs_are_subtracted():
    one = OneRun(**configured(FULL[-1]))
    state, measured = one.evaluate(one.start())
    data = passes.data_of(one.setup, one.data, one.hyper, 0)
    importance = one.settings.task.importance_C
    train_N = np.asarray(state.rows.train_N)
    square = (np.asarray(data.targets_NA, float)[train_N, 0] ** 2 * importance).sum(-1).mean()
    assert float(measured["train_loss"]) == pytest.approx(square, rel=1e-5)
    state = one.train(state)
    assert float(state.max_loss) == pytest.approx(square, rel=1e-5), (
        "the first step's loss is the same"
    )
