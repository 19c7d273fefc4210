"""Tasks on rows of numbers that learn from a sample of any size or from a stream: their rows, padding, what is refused."""

from __future__ import annotations

# ruff: noqa: E501 - a sentence is read as a whole
import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import load_digits

from grokjax.experiment.config import Experiment
from grokjax.experiment.grid import make_runs
from grokjax.models import Model
from grokjax.tasks import make_table
from grokjax.tasks.clusters import Clusters
from grokjax.tasks.sparse_features import SparseFeatures
from grokjax.training import one_run, passes
from tests import test_bad_input
from tests.harness import results, train
from tests.test_resume import also_in_soak, crash, finish
from tests.test_training import OneRun

told = test_bad_input.told
N = 10_000
CHANCE = 1e-4
"""A test of a right distribution is refused by chance so often; keys are fixed, so it is known which ones are not."""


def drawn(settings, n: int = N, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and answers of n rows, in float64."""
    inputs, answers = jax.jit(make_table(settings).draw_rows, static_argnums=1)(
        jax.random.key(seed), n
    )
    return np.asarray(inputs, np.float64), np.asarray(answers)[:, 0].astype(np.float64)


def assert_counts(found: np.ndarray, expected: np.ndarray) -> None:
    """Counts against expected counts, by a chi-squared test; what is expected less than 5 times is counted together."""
    rare = expected < 5
    found, expected = (np.append(x[~rare], x[rare].sum()) for x in (found, expected))
    kept = expected > 0
    assert found[~kept].sum() == 0
    if kept.sum() > 1:
        expected = expected[kept] * found.sum() / expected.sum()
        assert stats.chisquare(found[kept], expected).pvalue > CHANCE


# Sparse features ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparsity", [0.7, *also_in_soak(0.0, 0.99)])
def test_features_are_zero_independently_and_otherwise_uniform(sparsity):
    s = SparseFeatures(n_features=20, sparsity=sparsity, unit_length=False)
    x_NC, answers_NC = drawn(s)
    np.testing.assert_array_equal(x_NC, answers_NC)
    active_NC = x_NC != 0
    # The number of active features of a row: binomial only if features are independent.
    counts = np.bincount(active_NC.sum(1), minlength=21)
    assert_counts(counts, N * stats.binom.pmf(np.arange(21), 20, 1 - sparsity))
    # One uniform number in 2^23 is 0 itself.
    error = 5 * math.sqrt(sparsity * (1 - sparsity) / N) + 1.5 / N
    assert np.abs(active_NC.mean(0) - (1 - sparsity)).max() <= error
    assert stats.kstest(x_NC[active_NC], "uniform").pvalue > CHANCE
    if sparsity < 0.9:
        both_N = active_NC[:, :2].all(1)
        assert abs(np.corrcoef(x_NC[both_N, :2].T)[0, 1]) < 5 / math.sqrt(both_N.sum())


def test_rows_of_unit_length_are_the_others_divided_by_their_length():
    settings = {"n_features": 20, "sparsity": 0.9}
    raw_NC, _ = drawn(SparseFeatures(**settings, unit_length=False))
    x_NC, answers_NC = drawn(SparseFeatures(**settings))
    length_N = np.linalg.norm(raw_NC, axis=1)
    assert 0.09 < (length_N == 0).mean() < 0.15, "0.9^20 of the rows are zeros: 12 %"
    expected = raw_NC / np.where(length_N > 0, length_N, 1)[:, None]
    np.testing.assert_allclose(x_NC, expected, rtol=1e-6)
    np.testing.assert_array_equal(x_NC, answers_NC)
    np.testing.assert_allclose(np.linalg.norm(x_NC, axis=1), length_N > 0, atol=1e-6)


@pytest.mark.parametrize("unit_length", [True, *also_in_soak(False)])
def test_absolute_values_are_the_answers_to_features_of_both_signs(unit_length):
    s = SparseFeatures(n_features=8, sparsity=0.4, target="absolute", unit_length=unit_length)
    x_NC, answers_NC = drawn(s)
    np.testing.assert_array_equal(answers_NC, np.abs(x_NC))
    assert abs((x_NC == 0).mean() - 0.4) < 5 * math.sqrt(0.24 / x_NC.size)
    if unit_length:
        np.testing.assert_allclose(np.linalg.norm(x_NC, axis=1), (x_NC != 0).any(1), atol=1e-6)
    else:
        assert stats.kstest(x_NC[x_NC != 0], "uniform", args=(-1, 2)).pvalue > CHANCE
    assert not make_table(s).reconstructs and make_table(SparseFeatures()).reconstructs


@pytest.mark.soak
def test_what_is_read_are_random_sums_of_the_features():
    settings = {"n_features": 60, "sparsity": 0.5, "unit_length": False}
    features_NC, _ = drawn(SparseFeatures(**settings), 400)

    def sums(**changes):
        """The matrix C D that gives what is read from the features, by least squares."""
        s = SparseFeatures(**settings, n_read=7, **changes)
        x_ND, answers_NC = drawn(s, 400)
        np.testing.assert_array_equal(answers_NC, features_NC)
        assert x_ND.shape == (400, 7) and not make_table(s).reconstructs
        matrix_CD, _, rank, _ = np.linalg.lstsq(features_NC, x_ND)
        assert rank == 60
        np.testing.assert_allclose(features_NC @ matrix_CD, x_ND, atol=1e-5)
        return matrix_CD

    matrix_CD = sums()
    assert stats.kstest(matrix_CD.ravel() * math.sqrt(7), "norm").pvalue > CHANCE
    np.testing.assert_allclose(sums(n_train=30), matrix_CD, atol=1e-5)
    assert np.abs(sums(test_seed=1) - matrix_CD).mean() > 0.2


@pytest.mark.parametrize(
    ("importance", "expected"),
    [(1.0, [1, 1, 1, 1]), (0.5, [1, 0.5, 0.25, 0.125]), ((3, 0, 2.5, 1), [3, 0, 2.5, 1])],
)
def test_importances(importance, expected):
    found = make_table(SparseFeatures(n_features=4, importance=importance)).importance_C
    np.testing.assert_array_equal(found, np.array(expected, np.float32))


# Clusters and digits --------------------------------------------------------------------------------------------------

SMALL_CLUSTERS = {"n_inputs": 12, "n_classes": 4, "n_clusters": 10, "noise": 0.3}


def centres(**changes) -> np.ndarray:
    """The centres K D in a fixed order: rows without noise."""
    x_ND, _ = drawn(Clusters(**(SMALL_CLUSTERS | {"noise": 0.0} | changes)), 2000)
    return np.unique(x_ND, axis=0)


def test_vectors_lie_around_centres_and_have_their_class():
    centre_KD = centres()
    assert centre_KD.shape == (10, 12)
    np.testing.assert_allclose(np.linalg.norm(centre_KD, axis=1), 1, rtol=1e-6)
    x_ND, class_N = drawn(Clusters(**SMALL_CLUSTERS))
    nearest_N = ((x_ND[:, None] - centre_KD) ** 2).sum(-1).argmin(1)
    assert_counts(np.bincount(nearest_N, minlength=10), np.full(10, N / 10))
    # Ten centres have the classes k modulo 4: three centres have class 0, three class 1, two each the others.
    assert_counts(np.bincount(class_N.astype(int)), N * np.array([3, 3, 2, 2]) / 10)
    for k in range(10):
        _, counts = np.unique(class_N[nearest_N == k], return_counts=True)
        assert counts.max() / counts.sum() > 0.99, "a few rows lie nearer to another centre"
    around_ND = (x_ND - centre_KD[nearest_N]) * math.sqrt(12) / 0.3
    assert abs(around_ND.std() - 1) < 5 / math.sqrt(2 * around_ND.size)
    assert stats.kstest(around_ND.ravel()[:5000], "norm").pvalue > CHANCE


def test_centres_belong_to_the_task_and_not_to_the_run():
    np.testing.assert_array_equal(centres(n_train=7), centres())
    assert np.abs(centres(test_seed=1) - centres()).max() > 0.1


def numbers_of(images_ND: np.ndarray) -> list[int]:
    """Which of the images that scikit-learn ships these are."""
    known = {(x / 16).astype(np.float32).tobytes(): i for i, x in enumerate(load_digits().data)}
    assert len(known) == 1797, "all images differ"
    return [known[np.asarray(x, np.float32).tobytes()] for x in images_ND]


@pytest.mark.parametrize("n_train", [40, *also_in_soak(1300)])
def test_digits_are_real_ones_and_no_test_image_is_trained_on(n_train):
    one = OneRun(**{**DIGITS, "task": {"kind": "digits", "n_train": n_train}}, seed=5)
    inputs_ND, targets_NA, train_N = rows_of(one)
    found = numbers_of(inputs_ND)
    trains = [i for i, t in zip(found, train_N, strict=True) if t]
    assert len(trains) == n_train == len(set(trains)) and max(trains) < 1300
    assert found[one.table.n_drawn :] == list(range(1300, 1797))
    np.testing.assert_array_equal(targets_NA[:, 0], load_digits().target[found])


# Samples of runs: seeds and padding -----------------------------------------------------------------------------------

SPARSE = {
    "task": {
        "kind": "sparse_features",
        "n_features": 6,
        "sparsity": 0.5,
        "n_train": 5,
        "n_test": 9,
    },
    "split": {"kind": "drawn"},
    "model": {"kind": "bottleneck"},
    "optimizer": {"kind": "adamw", "learning_rate": 1e-2, "weight_decay": 0.1},
    "train": {"steps": 4, "eval_every": 2, "loss": "squared_error"},
}
CLUSTERS = SPARSE | {
    "task": {"kind": "clusters", **SMALL_CLUSTERS, "n_train": 5, "n_test": 9},
    "model": {"kind": "perceptron", "hidden": [], "output_bias": True},
    "train": {"steps": 4, "eval_every": 2},
}
DIGITS = CLUSTERS | {"task": {"kind": "digits", "n_train": 5}}
BASES = {"sparse_features": SPARSE, "clusters": CLUSTERS, "digits": DIGITS}
EVERY_TASK = pytest.mark.parametrize("base", BASES.values(), ids=BASES)
ONE_TASK = pytest.mark.parametrize("base", [SPARSE, *also_in_soak(CLUSTERS, DIGITS)], ids=BASES)


@functools.partial(jax.jit, static_argnums=0)
def _rows(setup, data, hyper):
    own = passes.data_of(setup, data, hyper, 0)
    return own.table_input, own.targets_NA, one_run.init_rows(setup, data, hyper).train_N


def rows_of(one: OneRun) -> tuple[np.ndarray, ...]:
    """Inputs and targets of a run, and which of its rows train."""
    return (*map(np.asarray, _rows(one.setup, one.data, one.hyper)),)


def with_task(base: dict, **changes) -> dict:
    return base | {"task": base["task"] | changes}


@ONE_TASK
def test_rows_come_from_the_split_seed_and_validation_rows_are_the_same_for_all(base):
    first, n_drawn = rows_of(OneRun(**base)), OneRun(**base).table.n_drawn
    assert n_drawn == 8 and first[2].sum() == 5 and not first[2][8:].any()
    again = rows_of(OneRun(**base, init_seed=7, order_seed=8, noise_seed=9))
    for x, y in zip(first, again, strict=True):
        np.testing.assert_array_equal(x, y)
    for seeds in ({"split_seed": 1}, {"seed": 1}):
        other = rows_of(OneRun(**base, **seeds))
        assert not any((x == y).all() for x in first[0][:8] for y in other[0][:8] if y.any())
        np.testing.assert_array_equal(other[0][8:], first[0][8:])
    for n_train in (7, 12):
        one = OneRun(**with_task(base, n_train=n_train))
        larger, start = rows_of(one), one.table.n_drawn
        assert larger[2].sum() == n_train and not larger[2][start:].any()
        for x, y in zip(larger[:2], first[:2], strict=True):
            np.testing.assert_array_equal(x[start:], y[8:])


def groups(base: dict, **changes) -> dict:
    """The groups of an experiment by the value of task.n_train."""
    runs = make_runs(Experiment.model_validate({"name": "a", **base, **changes}))
    return {run.settings.task.n_train: run.group for run in runs}


@EVERY_TASK
def test_numbers_of_rows_that_are_close_share_a_program(base):
    found = groups(base, axes={"task.n_train": [5, 7, 8, 9, 200, 207, 209]})
    assert found[5] == found[7] == found[8] and found[200] == found[207]
    assert len({found[5], found[9], found[200], found[209]}) == 4


@pytest.mark.parametrize("base", [SPARSE, CLUSTERS], ids=["sparse_features", "clusters"])
@pytest.mark.parametrize("batch_size", [8, 4])
def test_a_stream_and_a_sample_never_share_a_program(base, batch_size):
    base = base | {"train": base["train"] | {"batch_size": batch_size}}
    found = groups(base, axes={"task.n_train": ["stream", 8, 5, 4]})
    assert all(found["stream"] != group for n, group in found.items() if n != "stream")


def spoiled(setup, which_N):
    """The set-up of a run, with others in place of its rows `which_N`."""
    sample = setup.model.table

    def draw_rows(key, n):
        inputs, targets = sample.draw_rows(key, n)
        wrong = which_N[:n]
        other = (targets + 1) % sample.n_answers if targets.ndim == 2 else 3 - 5 * targets
        wrong_NA = wrong.reshape(-1, *[1] * (targets.ndim - 1))
        return jnp.where(wrong[:, None], 7 - 9 * inputs, inputs), jnp.where(
            wrong_NA, other, targets
        )

    test = sample.draw_test or sample.draw_rows
    own = dataclasses.replace(sample, draw_rows=draw_rows, draw_test=test)
    return dataclasses.replace(setup, model=Model(setup.model.settings, own))


@pytest.mark.parametrize("batch_size", ["full", *also_in_soak(2)])
@ONE_TASK
def test_padding_has_no_influence(base, batch_size):
    """Other rows in place of padding: the same weights and values, bit for bit. In place of a row that trains: others."""
    steps = {"steps": 6, "eval_every": 3} if batch_size == 2 else {}
    one = OneRun(**(base | {"train": base["train"] | steps | {"batch_size": batch_size}}))
    train_N = rows_of(one)[2]
    padding_N = ~train_N & (np.arange(len(train_N)) < one.table.n_drawn)
    assert train_N.sum() == 5 and padding_N.sum() == 3

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def trained(which_N):
        setup = spoiled(one.setup, which_N)
        state = one_run.init_run(setup, one.data, one.hyper)
        state = state.replace(evaluations=state.evaluations + 1)
        state = one_run.train_block(setup, one.data, one.hyper, state)
        return state.params, one_run.measure_run(setup, one.data, one.hyper, state, 1)

    expected = trained(np.zeros_like(train_N))
    jax.tree.map(np.testing.assert_array_equal, trained(padding_N), expected)
    params, found = trained(np.arange(len(train_N)) == np.flatnonzero(train_N)[0])
    assert found["train_loss"] != expected[1]["train_loss"]
    assert found["training_loss_mean"] != expected[1]["training_loss_mean"]
    jax.tree.map(
        lambda x, y: np.testing.assert_array_equal((x != y).any(), True), params, expected[0]
    )


GRID = """
name: sparse
task: {kind: sparse_features, n_features: 12, sparsity: 0.7, n_test: 20}
split: {kind: drawn}
model: {kind: bottleneck}
optimizer: {kind: adamw, learning_rate: 1e-2, weight_decay: 0.1, warmup: 8, schedule: cosine, horizon: 80}
train: {steps: 80, eval_every: 4, loss: squared_error, snapshot_every: 3, batch_size: BATCH}
probes: [{kind: reconstruction}, {kind: dimensionality, every: 2}]
execution: {slots: 4, devices: 2, tile: 2, chunk: 1, lag: 1, checkpoint_seconds: 0}
axes:
  task.n_train: VALUES
  seed: {range: 3}
"""


@pytest.mark.soak
@pytest.mark.parametrize(
    ("batch_size", "values"), [("full", "[5, 7, 8]"), ("4", "[5, 7, 8]"), ("4", "[stream]")]
)
def test_a_killed_grid_goes_on_bit_for_bit(batch_size, values, tmp_path):
    config = tmp_path / "a.yaml"
    config.write_text(GRID.replace("BATCH", batch_size).replace("VALUES", values))
    assert train(config, tmp_path / "whole").returncode == 0
    assert crash("after a save", 3, config, tmp_path / "parts") == -9
    finish(config, tmp_path / "parts", results(tmp_path / "whole"))


# Bad input ------------------------------------------------------------------------------------------------------------

YAML = """\
name: q
task: {kind: sparse_features, n_features: 4, n_train: 5, n_test: 9}
split: {kind: drawn}
model: {kind: bottleneck}
optimizer: {kind: adamw, learning_rate: 1e-3, weight_decay: 1.0}
train: {steps: 400, eval_every: 50, loss: squared_error}
"""
LINEAR = "model={kind: perceptron, hidden: []}"
CLASSES = [LINEAR, "train.loss=cross_entropy"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["task.sparsity=1"], "override task.sparsity=1: task.sparsity: must be below 1, got 1"),
        (["task.sparsity=-0.1"], "override task.sparsity=-0.1: task.sparsity: must be at least 0, got -0.1"),
        (["task.n_train=0"], "override task.n_train=0: task.n_train: must be at least 1, got 0"),
        (["task.n_train=all"], "override task.n_train=all: task.n_train: needs stream or a whole number, got 'all'"),
        (["axes.task.n_train=[5, 0]"], "override axes.task.n_train=[5, 0]: axes.task.n_train: must be at least 1, got 0"),
        (["task.n_train=stream"], "x.yaml:6: train.batch_size: 'full' is a share of the training rows, but a stream has no end; use a number of rows, such as 64"),
        (["task.importance=[1, 2, 3]"], "override task.importance=[1, 2, 3]: task.importance: has 3 factors, but there are n_features = 4; give one for each feature, or one number r for r**i"),
        (["task.importance=0"], "override task.importance=0: task.importance: 0.0 must be above 0 and at most 1; use 1 for all alike"),
        (["task.importance=1.5"], "override task.importance=1.5: task.importance: 1.5 must be above 0 and at most 1; use 1 for all alike"),
        (["task.importance=[1, 2, 3, -1]"], "override task.importance=[1, 2, 3, -1]: task.importance.3: must be at least 0, got -1"),
        (["train.loss=cross_entropy"], "override train.loss=cross_entropy: train.loss: cross_entropy compares classes, but the answers of this task are vectors; use squared_error"),
        (["task={kind: modular}", "split={kind: random}", "model={kind: mlp}"], "x.yaml:6: train.loss: squared_error compares vectors, but the answers of this task are classes; use cross_entropy or cross_entropy_float32 or mse or hinge"),
        (["split={kind: random}"], "override split={kind: random}: split.kind: random divides the rows of a table, but this task draws its own training rows; use drawn"),
        (["split.train_fraction=0.5"], "override split.train_fraction=0.5: split.train_fraction: kind drawn does not have this setting, only kind random or pairs; remove it or change the kind"),
        (["split.label_noise=0.1"], "override split.label_noise=0.1: split.label_noise: 0.1 gives wrong classes to training rows, but the answers of this task are vectors; use 0"),
        (["task.n_read=3"], "x.yaml:4: model.tied: true uses one matrix for 3 inputs and 4 outputs; use false"),
        (["probes=[{kind: dimensionality}]", LINEAR], "override probes=[{kind: dimensionality}]: probes: dimensionality needs a model whose features can be read, but kind perceptron with these settings does not offer 'features' (ModelKind.offers); remove this probe, or change the model or the task"),
        (["probes=[{kind: reconstruction}]", "task={kind: clusters, n_train: 5}", *CLASSES], "override probes=[{kind: reconstruction}]: probes: reconstruction needs a task whose answers are vectors; remove this probe, or change the model or the task"),
        (["task={kind: clusters, n_train: 5, n_classes: 5, n_clusters: 4}", *CLASSES], "override task={kind: clusters, n_train: 5, n_classes: 5, n_clusters: 4}: task.n_clusters: 4 leaves classes of n_classes = 5 without a cluster; use at least 5"),
        (["task={kind: digits, n_train: 1301}", *CLASSES], "override task={kind: digits, n_train: 1301}: task.n_train: must be at most 1300, got 1301"),
        (["task.n_read=2000000000", "model.tied=false"], "override task.n_read=2000000000: task.n_read: 2000000000 makes 14 rows of 2,000,000,004 numbers"),
        (["measurements=[{kind: geometry}]", LINEAR], "override measurements=[{kind: geometry}]: measurements.0.kind: geometry needs a model whose features can be read; or remove this measurement"),
        (["task.n_features=1", LINEAR], f"override {LINEAR}: model.kind: perceptron needs two outputs or more, but the task has one"),
    ],
)  # fmt: skip
def test_one_sentence_says_what_must_be(told, words, sentence):
    found = told(*words, text=YAML)
    assert found.split(", 104.3 GiB")[0] == sentence
