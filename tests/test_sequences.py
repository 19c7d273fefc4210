"""Training on sequences that a run draws, once or anew for every step, and the transformer's forward pass over them."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.driver import session
from grokjax.experiment.loading import load_with_places
from grokjax.losses import cross_entropy
from grokjax.models import Model, forms, n_parameters, sequences, tensor_names
from grokjax.models.transformer_settings import TransformerSettings
from grokjax.results.store import GroupStore
from grokjax.tasks import Sequences, make_table
from grokjax.tasks.addition import Addition
from grokjax.tasks.repetition import Repetition
from grokjax.tasks.skip_trigram import SkipTrigram
from grokjax.training import passes
from tests.harness import assert_same, results, train
from tests.test_resume import crash, finish
from tests.test_training import OneRun, named_params

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
    """All of them; two go into the short suite: one way to share each, one layer and attention only."""
    for i, (variant, task) in enumerate(itertools.product(VARIANTS, TASKS)):
        for executed in (34, 3):
            short = (i, executed) in ((0, 34), (8, 3))
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


@pytest.mark.parametrize("n_queries", [1, pytest.param(5, marks=pytest.mark.soak)])
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


@pytest.mark.parametrize("doubled", [pytest.param(False, marks=pytest.mark.soak), True])
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


def test_the_initial_network_is_subtracted_in_every_step_of_a_stream():
    train = STREAM["train"] | {"eval_every": 1, "subtract_initial": True}
    one = OneRun(**(STREAM | {"train": train}))
    state, found = one.evaluate(one.start())
    # All logits begin at 0: in the evaluation and in the step, which draws its rows itself.
    np.testing.assert_allclose(found["train_loss"], np.log(10), rtol=1e-5)
    _, found = one.evaluate(one.train(state))
    np.testing.assert_allclose(found["training_loss_mean"], np.log(10), rtol=1e-5)


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


@pytest.mark.soak
def test_the_first_copy_is_measured_and_not_trained():
    one = OneRun(**(STREAM | REPEATED))
    state = one.start()
    found = one.evaluate(state)[1]
    data, loss_NA = losses(one, state.params)
    np.testing.assert_allclose(found["val_loss"], loss_NA[12:, :4].mean(), rtol=1e-5)
    np.testing.assert_allclose(found["val_loss/copy_1"], loss_NA[12:, 4:].mean(), rtol=1e-5)
    batch = passes.batch_of(one.setup, data, data.targets_NA, jnp.arange(12), jnp.ones(12))

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
