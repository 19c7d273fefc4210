"""Tasks on sequences that a run draws, once or anew for every step, and the transformer's forward pass over them."""

from __future__ import annotations

# ruff: noqa: E501 - a sentence is read as a whole
import dataclasses
import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from grokjax.driver import session
from grokjax.experiment.config import Experiment
from grokjax.experiment.loading import load_with_places
from grokjax.losses import cross_entropy
from grokjax.models import Model, forms, n_parameters, sequences, tensor_names
from grokjax.models.transformer import TransformerSettings
from grokjax.results.store import GroupStore
from grokjax.tasks import Sequences, make_table
from grokjax.tasks.addition import Addition
from grokjax.tasks.repetition import Repetition
from grokjax.tasks.skip_trigram import SkipTrigram
from grokjax.training import passes
from tests import test_bad_input
from tests.harness import assert_same, results, train
from tests.test_resume import crash, finish
from tests.test_training import OneRun, named_params

told = test_bad_input.told
N = 10_000

# Rows: ours against rows made by NumPy -------------------------------------------------------------------------------


def drawn(settings, n: int = N, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, positions and targets of n rows."""
    rows, targets_NA = make_table(settings).draw_rows(jax.random.key(seed), n)
    return np.asarray(rows.tokens_NT), np.asarray(rows.at_NA), np.asarray(targets_NA)


def assert_same_distribution(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Counts of whole numbers in two samples, by a chi-squared test. One draw in 10,000 would be refused by chance."""
    values = np.union1d(ours, theirs)
    counts = [[np.sum(x == v) for v in values] for x in (ours, theirs)]
    assert stats.chi2_contingency(counts).pvalue > 1e-4


@pytest.mark.parametrize(("digits", "answer_digits"), [(5, None), (1, None), (3, 2), (2, 5)])
def test_sums_are_right(digits, answer_digits):
    tokens_NT, at_NA, targets_NA = drawn(Addition(digits=digits, answer_digits=answer_digits))
    n_answers = digits + 1 if answer_digits is None else answer_digits
    places = 10 ** np.arange(digits)[::-1]
    x_N = tokens_NT[:, :digits] @ places
    y_N = tokens_NT[:, digits + 1 : 2 * digits + 1] @ places
    assert (tokens_NT[:, digits] == 10).all() and (tokens_NT[:, 2 * digits + 1] == 11).all()
    expected = [
        [int(d) for d in f"{x + y:020d}"[20 - n_answers :]] for x, y in zip(x_N, y_N, strict=True)
    ]
    np.testing.assert_array_equal(targets_NA, expected)
    np.testing.assert_array_equal(tokens_NT[:, -n_answers:], expected)
    # A digit is predicted where the token before it stands.
    np.testing.assert_array_equal(np.take_along_axis(tokens_NT, at_NA + 1, 1), targets_NA)
    by_numpy = np.random.default_rng(0).integers(10**digits, size=N)
    assert_same_distribution(x_N * 10 // 10**digits, by_numpy * 10 // 10**digits)
    for column in range(digits):
        assert_same_distribution(tokens_NT[:, column], by_numpy // places[column] % 10)
    assert abs(np.corrcoef(x_N, y_N)[0, 1]) < 5 / np.sqrt(N)


def repeated_by_numpy(s: Repetition, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """One row, and where its copies start, made with loops."""
    copy = rng.integers(1, s.symbols + 1, s.subsequence)
    row, starts = [0], []
    for _ in range(s.intervals):
        own = rng.integers(1, s.symbols + 1, s.interval)
        start = rng.integers(s.interval - s.subsequence + 1)
        own[start : start + s.subsequence] = copy
        starts.append(len(row) + start)
        row += own.tolist()
    return row, starts


def test_copies_of_a_subsequence():
    s = Repetition(symbols=9, intervals=3, interval=7, subsequence=4)
    tokens_NT, at_NA, targets_NA = drawn(s)
    assert tokens_NT.shape == (N, 22) and at_NA.shape == targets_NA.shape == (N, 9)
    assert (tokens_NT[:, 0] == 0).all() and tokens_NT[:, 1:].min() == 1 and tokens_NT.max() == 9
    np.testing.assert_array_equal(np.take_along_axis(tokens_NT, at_NA + 1, 1), targets_NA)
    # Copies 2, 3 and 1, in this order, have the same tokens.
    second, third, first = np.split(at_NA, 3, axis=1)
    copies = [
        np.take_along_axis(tokens_NT, np.c_[at, at[:, -1:] + 1], 1) for at in (first, second, third)
    ]
    np.testing.assert_array_equal(copies[0], copies[1])
    np.testing.assert_array_equal(copies[0], copies[2])
    for i, at in enumerate((first, second, third)):
        inside = at[:, 0] - 1 - 7 * i
        assert inside.min() == 0 and inside.max() == 3
    rng = np.random.default_rng(0)
    rows, starts = zip(*(repeated_by_numpy(s, rng) for _ in range(N)), strict=True)
    for column in (1, 4, 9, 21):
        assert_same_distribution(tokens_NT[:, column], np.array(rows)[:, column])
    for i, at in enumerate((first, second, third)):
        assert_same_distribution(at[:, 0], np.array(starts)[:, i])
    assert_same_distribution(copies[0][:, 0] * 10 + copies[0][:, 1], _pairs(rows, starts))
    names = make_table(s).answer_names
    assert names == ("copy_2",) * 3 + ("copy_3",) * 3 + ("copy_1",) * 3


def _pairs(rows, starts) -> np.ndarray:
    return np.array([r[s[0]] * 10 + r[s[0] + 1] for r, s in zip(rows, starts, strict=True)])


def test_skip_trigrams():
    s = SkipTrigram(n_tokens=6, fillers=3, values=4)
    tokens_NT, at_NA, targets_NA = drawn(s)
    assert tokens_NT.shape == (N, 8) and (at_NA == 7).all()
    assert (tokens_NT[:, 0] == 0).all() and (tokens_NT[:, -1] == 1).all()
    special = tokens_NT[:, 1:-1] >= 5
    assert (special.sum(1) == 1).all() and (tokens_NT[:, 1:-1] >= 2).all()
    np.testing.assert_array_equal(tokens_NT[:, 1:-1][special] - 5, targets_NA[:, 0])
    rng = np.random.default_rng(0)
    assert_same_distribution(special.argmax(1), rng.integers(6, size=N))
    assert_same_distribution(targets_NA[:, 0], rng.integers(4, size=N))
    assert_same_distribution(tokens_NT[:, 1:-1][~special], rng.integers(2, 5, size=5 * N))


@pytest.mark.parametrize("kind", [Addition, Repetition, SkipTrigram])
def test_a_finite_sample_and_a_stream_have_one_generator(kind):
    finite, stream = make_table(kind(n_train=50)), make_table(kind(n_train="stream"))
    assert stream.stream and not finite.stream
    ours, theirs = (t.draw_rows(jax.random.key(1), 20) for t in (finite, stream))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


# Models ---------------------------------------------------------------------------------------------------------------

NANDA = {"kind": "transformer", "init": "nanda"}


@pytest.mark.parametrize(
    ("task", "model", "expected"),
    [
        (Addition(), {"d_model": 512, "n_heads": 4, "d_mlp": 2048}, 3_168_768),
        (Addition(), {"d_model": 128, "n_heads": 4, "d_mlp": 512}, 202_368),
        (Repetition(), {"n_layers": 2, "d_model": 48, "d_mlp": None}, 34_800),
        (SkipTrigram(), {"d_model": 32, "n_heads": 1, "d_head": 8, "d_mlp": None}, 3_392),
    ],
)
def test_numbers_of_parameters_are_the_published_ones(task, model, expected):
    assert n_parameters(Model(TransformerSettings(**model), make_table(task))) == expected


SMALL = {"d_model": 6, "n_heads": 2, "d_mlp": 5}
TASKS = {
    "addition": Addition(digits=2, n_train=30, n_test=4),
    "repetition": Repetition(
        symbols=5, intervals=2, interval=4, subsequence=3, n_train=30, n_test=4
    ),
    "skip trigram": SkipTrigram(n_tokens=4, fillers=2, values=3, n_train=30, n_test=4),
}
VARIANTS = {
    "one layer": {},
    "two layers, not causal": {"n_layers": 2, "causal": False, "ln": "pre"},
    "attention only, narrow heads": {"n_layers": 2, "d_mlp": None, "d_head": 2},
    "a single head": {"n_heads": 1, "d_head": 4, "attn_bias": True, "positions": "sinusoidal"},
    "doubled residual": {"n_layers": 3, "d_mlp": None, "double_residual": True},
}


def combinations():
    """All of them; those that go into the short suite have every task, variant and way to share."""
    for i, (variant, task) in enumerate(itertools.product(VARIANTS, TASKS)):
        for executed in (34, 3):
            short = i % 4 == 0 and (executed == 3) == (i % 8 == 0)
            marks = () if short else pytest.mark.soak
            word = "shares" if executed == 34 else "shares nothing"
            yield pytest.param(task, variant, executed, id=f"{task}-{variant}-{word}", marks=marks)


@pytest.mark.parametrize(("task", "variant", "executed"), list(combinations()))
def test_the_forward_pass_over_sequences_is_the_dense_one(task, variant, executed):
    sample = make_table(TASKS[task])
    model = Model(TransformerSettings(**(SMALL | VARIANTS[variant])), sample)
    rows, targets_NA = sample.draw(jax.random.key(0))
    rows = rows.replace(executed=executed)
    index = jnp.array([5, 0, 20, 7]) if executed == 3 else None
    chosen = rows if index is None else jax.tree.map(lambda x: x[index], rows)
    labels = targets_NA if index is None else targets_NA[index]
    shapes, rng = jax.eval_shape(model.init, jax.random.key(0)), np.random.default_rng(0)
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(0, 0.5, x.shape), jnp.float32), shapes)

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def both(params):
        weights = jnp.arange(1.0, 1 + labels.size).reshape(labels.shape)
        loss = lambda logits: ((cross_entropy(logits, labels) * weights).mean(), logits)  # noqa: E731
        ours = jax.grad(lambda p: loss(model.apply(p, rows, index)), has_aux=True)(params)
        return ours, jax.grad(lambda p: loss(model.dense(p, chosen)), has_aux=True)(params)

    (grads, logits), (expected, dense) = both(params)
    assert logits.shape == (*labels.shape, sample.n_classes)
    size = max(1.0, float(jnp.abs(dense).max()))
    np.testing.assert_allclose(logits, dense, rtol=1e-5, atol=5e-6 * size)
    expected = tensor_names(expected)
    largest = max(np.abs(g).max() for g in expected.values())
    for name, g in expected.items():
        np.testing.assert_allclose(tensor_names(grads)[name], g, atol=2e-5 * largest, err_msg=name)


@pytest.mark.parametrize("n_queries", [1, 5])
def test_attention_has_two_forms(n_queries):
    model = Model(TransformerSettings(**SMALL), make_table(TASKS["addition"]))
    params, rng = model.init(jax.random.key(0)), np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.normal(size=(3, n, 6)), jnp.float32) for n in (n_queries, 7, 7))
    at_NA = jnp.asarray(rng.integers(0, 7, (3, n_queries)))
    weights = jnp.asarray(rng.normal(size=q.shape), jnp.float32)

    def gradients(form):
        def loss(q, k, v):
            mixed = nn.apply(
                lambda module: sequences.attend(module.blocks[0], q, k, v, at_NA, True),
                model.module,
            )({"params": params})
            return (mixed * weights).sum()

        with forms.using(form):
            return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))(q, k, v)

    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6),
        gradients(forms.CPU),
        gradients(forms.GPU),
    )


def numpy_attention_only(
    w: dict, tokens_NT: np.ndarray, n_layers: int, doubled: bool
) -> np.ndarray:
    """The residual stream of attention-only blocks with two heads of width 3, with loops, in float64."""
    x_NTD = w["W_E"][tokens_NT] + w["W_pos"]
    for layer in range(n_layers):
        q, k, v = (x_NTD @ w[f"blocks.{layer}.W_{name}"] for name in "QKV")
        out = np.zeros_like(q)
        for head in (slice(0, 3), slice(3, 6)):
            for t in range(tokens_NT.shape[1]):
                scores = np.einsum("nc,nsc->ns", q[:, t, head], k[:, : t + 1, head]) / np.sqrt(3)
                scores = np.exp(scores - scores.max(1, keepdims=True))
                a_NS = scores / scores.sum(1, keepdims=True)
                out[:, t, head] = np.einsum("ns,nsc->nc", a_NS, v[:, : t + 1, head])
        x_NTD = x_NTD * (2 if doubled else 1) + out @ w[f"blocks.{layer}.W_O"]
    return x_NTD


@pytest.mark.parametrize("doubled", [False, True])
def test_blocks_of_attention_only_and_the_doubled_residual_by_hand(doubled):
    sample = make_table(TASKS["repetition"])
    settings = TransformerSettings(
        d_model=6, n_heads=2, n_layers=2, d_mlp=None, double_residual=doubled
    )
    model = Model(settings, sample)
    rows, _ = sample.draw(jax.random.key(0))
    params = model.init(jax.random.key(1))
    w = {name: np.asarray(x, np.float64) for name, x in tensor_names(params).items()}
    x_NTD = numpy_attention_only(w, np.asarray(rows.tokens_NT), 2, doubled)
    expected = np.take_along_axis(x_NTD, np.asarray(rows.at_NA)[..., None], 1) @ w["W_U"]
    for logits in (model.dense(params, rows), model.apply(params, rows.replace(executed=3))):
        np.testing.assert_allclose(logits, expected, rtol=2e-5, atol=2e-5)


# Training -------------------------------------------------------------------------------------------------------------

STREAM = {
    "task": {"kind": "addition", "digits": 2, "n_test": 40},
    "split": {"kind": "drawn"},
    "model": {"kind": "transformer", **SMALL},
    "optimizer": {"kind": "sgd", "learning_rate": 0.5},
    "train": {"steps": 30, "eval_every": 5, "batch_size": 12},
    "probes": [{"kind": "answers"}, {"kind": "training_loss"}],
}


def plain_steps(one: OneRun, params, n: int):
    """Stochastic gradient descent on the dense model, with the rows of each step; its losses before each step."""
    losses, model = [], one.setup.model

    @jax.jit
    def value_and_grad(params, rows, targets):
        return jax.value_and_grad(lambda p: cross_entropy(model.dense(p, rows), targets).mean())(
            params
        )

    for step in range(n):
        key = passes._rows_key(one.table, one.hyper, step)
        loss, grads = value_and_grad(params, *one.table.draw_rows(key, 12))
        params = jax.tree.map(lambda p, g: p - 0.5 * g, params, grads)
        losses.append(float(loss))
    return params, losses


def test_every_step_of_a_stream_trains_on_new_rows():
    one = OneRun(**STREAM)
    start = one.start()
    state, found = one.evaluate(start)
    for _ in range(2):
        state, _ = one.evaluate(one.train(state))
    params, losses = plain_steps(one, start.params, 10)
    for name, x in tensor_names(params).items():
        np.testing.assert_allclose(named_params(state)[name], x, rtol=2e-4, atol=2e-6)
    # The training loss of an evaluation is that of the rows of the next step.
    np.testing.assert_allclose(found["train_loss"], losses[0], rtol=1e-5)
    assert found["train_loss"] != found["val_loss"]


def test_no_rows_of_a_stream_are_kept_in_the_state():
    state = OneRun(**STREAM).start()
    assert state.rows.labels_NA is None
    own = {x.shape for x in jax.tree.leaves(state.rows)}
    assert own == {(12,), (52,)}  # the numbers of a step's rows, and which rows train


def losses(one, params):
    """The data of step 0, and the loss of each row and answer by the dense forward pass."""

    @jax.jit
    def compute(params, data, hyper):
        data = passes.data_of(one.setup, data, hyper, 0)
        return data, cross_entropy(one.setup.model.dense(params, data.table_input), data.targets_NA)

    return compute(params, one.data, one.hyper)


def test_each_answer_is_measured_alone():
    one = OneRun(**STREAM)
    state = one.start()
    found = one.evaluate(state)[1]
    data, loss_NA = losses(one, state.params)
    assert isinstance(data.table_input, Sequences)
    for i in range(3):
        np.testing.assert_allclose(found[f"val_loss/digit_{i}"], loss_NA[12:, i].mean(), rtol=1e-5)
        np.testing.assert_allclose(
            found[f"train_loss/digit_{i}"], loss_NA[:12, i].mean(), rtol=1e-5
        )
    np.testing.assert_allclose(found["val_loss"], loss_NA[12:].mean(), rtol=1e-5)


REPEATED = {
    "task": {"kind": "repeated_subsequence", "symbols": 5, "intervals": 3, "interval": 4}
    | {"subsequence": 3, "n_test": 20},
    "model": {"kind": "transformer", "d_model": 6, "n_heads": 2, "d_mlp": None, "n_layers": 2},
}


def test_the_first_copy_is_measured_and_not_trained():
    one = OneRun(**(STREAM | REPEATED))
    state = one.start()
    found = one.evaluate(state)[1]
    data, loss_NA = losses(one, state.params)
    np.testing.assert_allclose(found["val_loss"], loss_NA[12:, :4].mean(), rtol=1e-5)
    np.testing.assert_allclose(found["val_loss/copy_1"], loss_NA[12:, 4:].mean(), rtol=1e-5)
    batch = passes.batch_of(data, data.targets_NA, jnp.arange(12), jnp.ones(12))

    @jax.jit
    def both(params, data, batch):
        dense = lambda p: cross_entropy(one.setup.model.dense(p, data.table_input), data.targets_NA)  # noqa: E731
        ours = passes.loss_and_gradient(one.setup, data, one.hyper, params, batch)
        return ours, jax.grad(lambda p: dense(p)[:12, :4].mean())(params)

    (loss, grads), expected = both(state.params, data, batch)
    np.testing.assert_allclose(loss, loss_NA[:12, :4].mean(), rtol=1e-5)
    for name, g in tensor_names(expected).items():
        np.testing.assert_allclose(tensor_names(grads)[name], g, atol=1e-5)


def test_the_first_copy_can_be_scored_too():
    sample = make_table(Repetition(subsequence=4, interval=6, intervals=3, score_first=True))
    assert sample.n_scored == 9 == len(sample.answer_names)
    assert make_table(Repetition(subsequence=4, interval=6, intervals=3)).n_scored == 6


@pytest.mark.soak
@pytest.mark.parametrize("n_train", ["stream", 20])
def test_parts_of_rows_change_nothing_but_rounding(n_train):
    train = STREAM["train"] | {"eval_every": 4, "steps": 32}
    one = OneRun(**(STREAM | {"task": STREAM["task"] | {"n_train": n_train}, "train": train}))
    whole, _ = one.evaluate(one.train(one.evaluate(one.start())[0]))
    one.setup = dataclasses.replace(
        one.setup, blocks=dataclasses.replace(one.setup.blocks, train=2, table=3)
    )
    parts, _ = one.evaluate(one.train(one.evaluate(one.start())[0]))
    for name, x in named_params(whole).items():
        np.testing.assert_allclose(named_params(parts)[name], x, rtol=1e-4, atol=1e-6)


YAML = """\
name: stream
task: {kind: addition, digits: 2, n_test: 40}
split: {kind: drawn}
model: {kind: transformer, d_model: 8, n_heads: 2, d_mlp: 8}
optimizer: {kind: adamw, learning_rate: 1e-2, weight_decay: 0.1}
train: {steps: 60, eval_every: 5, batch_size: 12}
probes: [{kind: answers}]
execution: {slots: 2, tile: 1, devices: 1, chunk: 2, checkpoint_seconds: 0}
axes:
  seed: {range: 3}
"""


@pytest.mark.soak
def test_a_larger_budget_continues_a_stream_and_chunks_do_not_matter(tmp_path):
    def train_in(name, *words):
        experiment, places = load_with_places(config, [*words, f"execution.out={tmp_path / name}"])
        session.run_experiment(experiment, places=places, display=lambda tally: None)
        return results(tmp_path / name)

    config = tmp_path / "a.yaml"
    config.write_text(YAML)
    whole = train_in("whole", "execution.chunk=5", "execution.slots=3")
    train_in("parts", "train.steps=20")
    assert_same(whole, train_in("parts"))
    (group,) = (tmp_path / "whole" / "groups").iterdir()
    assert "val_loss/digit_2" in GroupStore(group).admissions[0][1].names


@pytest.mark.soak
@pytest.mark.parametrize("point", ["after a save", "between histories and checkpoint"])
def test_a_killed_stream_resumes_bit_for_bit(point, tmp_path):
    config = tmp_path / "a.yaml"
    config.write_text(YAML)
    assert train(config, tmp_path / "whole").returncode == 0
    assert crash(point, 2, config, tmp_path / "parts") == -9
    finish(config, tmp_path / "parts", results(tmp_path / "whole"))


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["split={kind: random, train_fraction: 0.5}"],
            "split.kind: random divides the rows of a table, but a stream draws new rows for every step; use drawn",
        ),
        (
            ["split.label_noise=0.1"],
            "split.label_noise: 0.1 gives wrong labels to training rows, but a stream has none that stay; use 0",
        ),
        (
            ["train.batch_size=full"],
            "train.batch_size: 'full' is a share of the training rows, but a stream has no end; use a number of rows, such as 64",
        ),
        (
            ["train.steps={epochs: 3}"],
            "train.steps: a stream has no epochs; give a number of steps",
        ),
        (
            ["task.n_train=10001"],
            "task.n_train: 10001 is more than the 10,000 different rows that there are; use at most 10000, or stream",
        ),
        (["task.digits=0"], "task.digits: must be at least 1, got 0"),
        (
            ["task.n_train=all"],
            "task.n_train: needs stream or a whole number, got 'all'",
        ),
        (
            ["task={kind: repeated_subsequence, interval: 8, subsequence: 9}"],
            "task.subsequence: 9 is longer than interval = 8; use at most 8",
        ),
        (
            ["model={kind: mlp}"],
            "model.kind: mlp reads tokens, but the rows of this task are sequences; use transformer",
        ),
        (
            ["model.d_mlp=null", "model.ln=pre"],
            "model.ln: pre norms an MLP, but d_mlp is null; use none, attn-pre, attn-pre-qk, attn-pre-v",
        ),
    ],
)
def test_what_a_stream_cannot_be(told, words, sentence):
    assert told(*words, text=YAML).endswith(sentence)


def test_a_stream_in_an_experiment_without_a_file():
    with pytest.raises(ValueError, match="d_head"):
        Experiment.model_validate(
            {"name": "a", **STREAM, "model": {"kind": "transformer", "n_heads": 5}}
        )
