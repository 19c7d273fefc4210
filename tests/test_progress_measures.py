"""Progress measures of sums modulo p, against NumPy (progress_numpy.py), and on logits whose frequencies are known."""

from __future__ import annotations

# ruff: noqa: E501 - a sentence is read as a whole
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.losses import cross_entropy
from grokjax.measurements import neuron_waves
from grokjax.models import MODELS, Model, tensor_names
from grokjax.models.neurons import activations
from grokjax.probes import DEFAULT_PROBES, frequencies, key_logits, progress
from grokjax.probes.view import View
from grokjax.results.store import GroupStore
from grokjax.results.writer import StoreWriter
from grokjax.splits import Rows
from grokjax.tasks import make_table
from grokjax.tasks.modular import Modular
from grokjax.training import one_run, runstate
from tests import progress_numpy, reference, test_bad_input
from tests.made_results import NAMES, Made, ended_with
from tests.progress_numpy import Measures
from tests.test_training import MLP, TRANSFORMER, OneRun

told = test_bad_input.told
_quick = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}, static_argnums=0
)
CASES = pytest.mark.parametrize(
    ("p", "operation"), [(7, "x+y"), (7, "x-y"), (8, "x+y"), (8, "x-y")]
)
NAMES_OF_VALUES = (
    "n_key_frequencies",
    *("restricted_loss", "restricted_accuracy", "excluded_loss", "excluded_accuracy"),
    *("trigonometric_fit", "gini_embedding", "gini_neuron_logits", "ipr"),
)


def pairs(p: int, operation: str):
    """x, y and the answer of all pairs."""
    x, y = np.divmod(np.arange(p * p), p)
    return x, y, (x + y if operation == "x+y" else x - y) % p


def planted(c: np.ndarray, p: int, sizes: dict[int, float]) -> np.ndarray:
    """Logits Σ a_k cos(w_k(c - class)) of the residues, and 0 of one class more."""
    distance = c[:, None] - np.arange(p)
    logits = sum(a * np.cos(2 * np.pi * k * distance / p) for k, a in sizes.items())
    return np.concatenate([logits, np.zeros((len(c), 1))], 1)


def mask_of(key: list[int], p: int) -> np.ndarray:
    return np.isin(np.arange(1, p // 2 + 1), key)


def view_of(model, params, logits_NC, train_N, labels_N) -> View:
    """A view of one run with these logits. What progress measures do not see is 0 or missing."""
    zero, n = jnp.float32(0), len(train_N)
    rows = Rows(jnp.arange(n), jnp.asarray(train_N), jnp.asarray(labels_N)[:, None])
    targets_NA = jnp.asarray(model.table.targets_NA)
    return View(
        model, params, logits_NC[:, None], targets_NA, rows, label_noise=True, mirror_N=jnp.zeros(n, int),
        per_row_loss=cross_entropy, mean_loss=zero, max_loss=zero, grads=None, updates=None, previous=None,
        update_length=None, steps=jnp.int32(0), init_params=dict, tokens_NT=None, apply=jnp.add, features=jnp.add,
    )  # fmt: skip


def random_rows(c: np.ndarray, p: int, seed: int = 0):
    """Which rows train, and labels of which some are wrong."""
    rng = np.random.default_rng(seed)
    return rng.uniform(size=p * p) < 0.6, np.where(rng.uniform(size=p * p) < 0.2, (c + 1) % p, c)


def model_for(p: int, operation: str, format: str = "a b =", **model) -> Model:
    task = Modular(p=p, operation=operation, format=format)
    kind = model.pop("kind", "mlp")
    return Model(MODELS[kind].settings(**model), make_table(task))


@_quick
def _values(model, logits_NC, train_N, labels_N, key_K):
    view = view_of(model, {}, logits_NC, train_N, labels_N)
    logits_pC = key_logits.by_answer(logits_NC, view.targets_NA[:, 0], model.table.n_answers)
    return {
        **progress.restricted_values(view, logits_pC, key_K),
        **progress.excluded_values(view, logits_pC, key_K),
        "fit": key_logits.trigonometric_fit(logits_NC, logits_pC, key_K),
    }


class OfLogits:
    """Progress measures of any logits."""

    def __init__(self, p: int, operation: str):
        self.model, self.p, self.c = model_for(p, operation), p, pairs(p, operation)[2]
        self.train, self.labels = random_rows(self.c, p)

    def __call__(self, logits: np.ndarray, key: list[int]) -> dict[str, float]:
        key_K = jnp.asarray(mask_of(key, self.p))
        found = _values(self.model, jnp.float32(logits), self.train, self.labels, key_K)
        return {name: float(x) for name, x in found.items()}

    def expected(self, logits: np.ndarray, key: list[int]) -> dict[str, float]:
        numpy = Measures(logits, self.c, self.p, key)
        restricted, excluded = numpy.restricted(), numpy.excluded(self.labels, self.train)
        names = ("restricted_loss", "restricted_accuracy", "excluded_loss", "excluded_accuracy")
        return dict(zip(names, (*restricted, *excluded), strict=True)) | {"fit": numpy.fit()}


@functools.cache
def of_logits(p: int, operation: str) -> OfLogits:
    return OfLogits(p, operation)


# Weights --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [2, 3, 8, 13])
def test_components_are_those_of_cosines_and_sines(p) -> None:
    W = np.random.default_rng(p).normal(size=(p, 5))
    found = np.asarray(frequencies.component_norms(jnp.float32(W)))
    expected = progress_numpy.norms(W)
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose((found**2).sum(), (W**2).sum(), rtol=1e-5)
    of_frequencies = [math.hypot(*own) for own in expected[1:]]
    np.testing.assert_allclose(
        frequencies.frequency_norms(jnp.float32(W)), of_frequencies, rtol=1e-5
    )


@pytest.mark.parametrize("p", [12, 13])
def test_key_frequencies_are_those_above_a_quarter_of_the_largest(p) -> None:
    sizes, n = {1: 4.0, 3: 1.1, 5: 0.9, 6: 2.0}, np.arange(p)
    # At p/2 the cosine has twice the energy and no sine.
    waves = [a * np.stack(progress_numpy.wave_vectors(n, k, p)[:1]) for k, a in sizes.items()]
    W = np.concatenate([*waves, np.full((1, p), 9.0)]).T
    assert np.flatnonzero(frequencies.key_frequencies(jnp.float32(W))).tolist() == [0, 2, 5]
    assert progress_numpy.key_frequencies(W) == [1, 3, 6]


def test_gini_of_known_numbers() -> None:
    gini = lambda *x: float(frequencies.gini(jnp.array(x, jnp.float32)))  # noqa: E731
    assert gini(*np.eye(50)[7]) == pytest.approx(0.98) and gini(3, 3, 3, 3) == 0
    assert gini(1, 3) == pytest.approx(0.25) and gini(3, 1) == pytest.approx(0.25)
    x = np.random.default_rng(0).uniform(size=31)
    assert gini(*x) == pytest.approx(progress_numpy.gini(x), rel=1e-5)


@pytest.mark.parametrize("p", [8, 9])
def test_inverse_participation_of_known_waves(p) -> None:
    n, ipr = np.arange(p), lambda W: float(frequencies.inverse_participation(jnp.float32(W)))
    one, other = np.cos(2 * np.pi * 2 * n / p + 0.7), np.sin(2 * np.pi * n / p + 0.1)
    single, double, still = one[:, None], (one + other)[:, None], np.zeros((p, 1))
    assert ipr(single) == pytest.approx(1, rel=1e-5)
    assert ipr(double) == pytest.approx(0.5, rel=1e-5)
    # A neuron without weights has no frequency; one with the smallest weights has.
    assert ipr(np.concatenate([single, 1e-25 * double, still], 1)) == pytest.approx(0.75, rel=1e-5)
    W = np.random.default_rng(p).normal(size=(p, 6))
    assert ipr(W) == pytest.approx(progress_numpy.participation(W), rel=1e-5)


# Logits ---------------------------------------------------------------------------------------------------------------


@CASES
def test_logits_of_the_key_frequencies_only(p, operation) -> None:
    of, sizes = of_logits(p, operation), {1: 3.0, 3: 2.0}
    logits = planted(of.c, p, sizes)
    found = of(logits, [1, 3])
    own_loss, _ = progress_numpy.judged(logits, of.c)
    assert found["restricted_loss"] == pytest.approx(own_loss, rel=1e-5)
    assert found["restricted_accuracy"] == 1
    assert found["excluded_loss"] == pytest.approx(math.log(p + 1), rel=1e-5)
    assert found["fit"] == pytest.approx(1, rel=1e-5)
    # A wave more is another function: the rest of the planted ones is left.
    assert of(logits, [2])["fit"] == pytest.approx(0, abs=1e-6)
    alone = of(logits, [1])["fit"]
    assert alone == pytest.approx(9 / 13, rel=1e-5)


@pytest.mark.parametrize("operation", ["x+y", "x-y"])
def test_the_frequency_of_an_even_modulus_that_has_no_sine(operation) -> None:
    of = of_logits(8, operation)
    logits = planted(of.c, 8, {4: 2.0, 1: 1.0})
    # Without the other key, the alternating wave is left, whose logits are equal: no accuracy.
    assert of(logits, [4]) == pytest.approx(of.expected(logits, [4]), rel=1e-5, abs=1e-6)
    assert of(logits, [1, 4])["excluded_loss"] == pytest.approx(math.log(9), rel=1e-5)
    assert of(logits, [1, 4])["fit"] == pytest.approx(1, rel=1e-5)
    assert of(logits, [4])["fit"] == pytest.approx(8 / 9, rel=1e-5)


@CASES
def test_measures_of_any_logits_are_those_of_dot_products_over_all_pairs(p, operation) -> None:
    of, rng = of_logits(p, operation), np.random.default_rng(p)
    noise = rng.normal(size=(p * p, p + 1)) + rng.normal(size=p + 1)
    mixed = planted(of.c, p, {2: 1.5}) + noise
    for key in ([2], [1, 3], list(range(1, p // 2 + 1)), []):
        found, expected = of(mixed, key), of.expected(mixed, key)
        assert found == pytest.approx(expected, rel=2e-5, abs=1e-6), key
    assert of(noise, [1, 2, 3])["fit"] < 0.1


def test_tiny_losses_are_right_in_float32() -> None:
    of = of_logits(7, "x+y")
    logits = planted(of.c, 7, {1: 7.0, 2: 7.0, 3: 7.0})
    expected = of.expected(logits, [1, 2, 3])["restricted_loss"]
    found = of(logits, [1, 2, 3])["restricted_loss"]
    assert 1e-10 < expected < 1e-8 and found == pytest.approx(expected, rel=1e-3)


def test_a_run_has_the_same_bits_wherever_it_is_in_a_tile() -> None:
    p, rng = 7, np.random.default_rng(3)
    c = jnp.asarray(pairs(p, "x+y")[2])

    def values(W_pD, logits_NC):
        key_K = frequencies.key_frequencies(W_pD)
        logits_pC = key_logits.by_answer(logits_NC, c, p)
        return {
            "gini": frequencies.gini(frequencies.component_norms(W_pD)),
            "ipr": frequencies.inverse_participation(W_pD),
            "restricted": key_logits.restricted(logits_pC, key_K),
            "excluded": key_logits.excluded(logits_NC, logits_pC, c, key_K),
            "fit": key_logits.trigonometric_fit(logits_NC, logits_pC, key_K),
        }

    W, logits = (jnp.float32(rng.normal(size=(3, *s))) for s in ((p, 5), (p * p, p + 1)))
    program = jax.jit(jax.vmap(values))
    first, moved = program(W, logits), program(W[::-1], logits[::-1])
    for name, x in first.items():
        np.testing.assert_array_equal(x, moved[name][::-1], err_msg=name)


# Runs -----------------------------------------------------------------------------------------------------------------


def numpy_weights(weights, s, table) -> dict[str, float]:
    """What the weights alone say of a model of one layer, by NumPy."""
    p, tokens = table.n_answers, table.tokens_NT
    W_E = weights["W_E"][:p]
    W_U = weights["W_E"][: table.n_classes].T if getattr(s, "tied", False) else weights["W_U"]
    if s.kind == "mlp":
        blocks = np.split(weights["W_0"], tokens.shape[1])
        maps = [W_E @ blocks[t] for t in range(tokens.shape[1]) if len(set(tokens[:, t])) > 1]
        W_L = W_U
    else:
        w = {n.removeprefix("blocks.0."): x for n, x in weights.items()}
        own = np.split(np.arange(s.d_attention), s.n_heads)
        maps = [W_E @ w["W_V"][:, h] @ w["W_O"][h] @ w["W_in"] for h in own]
        maps += [W_E @ w["W_in"]] if len(set(tokens[:, -1])) > 1 else []
        W_L = w["W_out"] @ W_U
    return {
        "gini_embedding": progress_numpy.gini_of_components(W_E),
        "gini_neuron_logits": progress_numpy.gini_of_components(W_L[:, :p].T),
        "ipr": np.mean([progress_numpy.participation(W) for W in maps]),
    }


def expected_values(weights, logits, table, settings, train, labels) -> dict[str, float]:
    p, c = table.n_answers, table.targets_NA[:, 0]
    key = progress_numpy.key_frequencies(weights["W_E"][:p])
    measures = Measures(logits, c, p, key)
    values = (
        *(len(key), *measures.restricted(), *measures.excluded(labels, train), measures.fit()),
        *numpy_weights(weights, settings, table).values(),
    )
    return dict(zip(NAMES_OF_VALUES, values, strict=True))


def random_params(model: Model) -> dict:
    rng, shapes = np.random.default_rng(1), model.shapes()
    return jax.tree.map(lambda x: jnp.float32(rng.normal(size=x.shape)), shapes)


@pytest.mark.parametrize(
    ("p", "operation", "format", "model"),
    [(6, "x-y", "a b", TRANSFORMER | {"tied": True}), (5, "x+y", "a op b =", MLP)],
)
def test_the_probe_is_numpys(p, operation, format, model) -> None:
    own = model_for(p, operation, format, **model)
    params = random_params(own)
    weights = reference.as_float64(tensor_names(params))
    logits = reference.logits(weights, own.settings, own.table)[:, 0]
    train, labels = random_rows(own.table.targets_NA[:, 0], p)

    def probe(params, logits_NC):
        return progress.progress(
            progress.Progress(), view_of(own, params, logits_NC, train, labels)
        )

    found = {n: float(x) for n, x in jax.jit(probe)(params, jnp.float32(logits)).items()}
    expected = expected_values(weights, logits, own.table, own.settings, train, labels)
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_probes_of_a_run_are_numpys() -> None:
    kinds = ["metrics", "progress", "weight_squares"]
    split = {"kind": "random", "train_fraction": 0.6, "label_noise": 0.2}
    run = OneRun(split=split, probes=[{"kind": k} for k in kinds])
    state = run.start()
    measured = run.evaluate(state)[1]
    # Counts too: the branch of an evaluation that is not due has numbers of this type.
    assert {x.dtype for x in measured.values()} == {jnp.dtype(jnp.float32)}
    found = {n: float(x) for n, x in measured.items()}
    weights = reference.as_float64(tensor_names(state.params))
    logits = reference.logits(weights, run.settings.model, run.table)[:, 0]
    train, labels = np.asarray(state.rows.train_N), np.asarray(state.rows.labels_NA)[:, 0]
    assert (labels != run.table.targets_NA[:, 0])[train].any()
    expected = expected_values(weights, logits, run.table, run.settings.model, train, labels)
    assert {n: found[n] for n in expected} == pytest.approx(expected, rel=1e-4)
    squares = {f"weight_squares/{n}": (w**2).sum() for n, w in weights.items()}
    squares["weight_squares"] = sum(squares.values())
    got = {n: x for n, x in found.items() if n.startswith("weight_squares")}
    assert got == pytest.approx(squares, rel=1e-5)


def test_several_layers_have_no_single_map_to_neurons() -> None:
    for deep in (TRANSFORMER | {"n_layers": 2}, MLP | {"hidden": [6, 4]}):
        own = model_for(5, "x+y", **deep)
        assert progress.participation(own, random_params(own)) == {}


def test_no_experiment_gets_the_probe_by_itself() -> None:
    kinds = {probe.kind for probe in DEFAULT_PROBES}
    assert not kinds & {"progress", "weight_squares"}


# Neurons --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [8, 9])
def test_the_frequency_of_a_planted_neuron_is_found(p) -> None:
    x, y, _ = pairs(p, "x+y")
    wave = lambda k, n, phase=0.0: np.cos(2 * np.pi * k * n / p + phase)  # noqa: E731
    noise = np.random.default_rng(p).normal(size=p * p)
    hidden = np.stack(
        [
            5 + wave(2, x, 0.3) + 2 * wave(2, y) + wave(2, x + y),  # any mixture of one frequency
            np.maximum(wave(1, x) + wave(1, y), 0),
            1e-25 * wave(3, x - y),
            wave(1, x) * wave(3, y),  # of two frequencies: in neither
            noise,
            np.full(p * p, 0.3),  # whose mean is rounded
            wave(4, x),
        ],
        1,
    )
    share = np.asarray(neuron_waves.frequency_shares(jnp.float32(hidden), p))
    with np.errstate(all="ignore"):
        expected = progress_numpy.neuron_shares(hidden, x, y, p)
    np.testing.assert_allclose(
        share[:, [0, 1, 2, 3, 4, 6]], expected[:, [0, 1, 2, 3, 4, 6]], rtol=1e-4, atol=1e-5
    )
    assert np.isnan(share[:, 5]).all()
    for neuron, k in ((0, 2), (2, 3), (6, 4)):
        np.testing.assert_allclose(share[:, neuron], np.eye(p // 2)[k - 1], atol=1e-5)
    assert share[:, 1].argmax() == 0 and 0.85 < share[0, 1] < 1
    assert share[:, 3].max() < 1e-5 and share[:, 4].max() < 0.5


def hidden_of(weights, s, table) -> np.ndarray:
    """Activations N F of the last hidden layer at the answer, in NumPy."""
    tokens, act = table.tokens_NT, reference.ACTIVATIONS
    if s.kind == "mlp":
        x = weights["W_E"][tokens].reshape(len(tokens), -1)
        for i in range(len(s.hidden)):
            x = act[s.activation](x @ weights[f"W_{i}"] + weights[f"b_{i}"])
        return x
    if s.kind == "quadratic":
        p, (x, y) = table.n_answers, table.operands_N2.T
        W = weights["W_in"]
        return ((W[x] + W[p + y]) / math.sqrt(2 * p)) ** 2
    stream = weights["W_E"][tokens] + weights["W_pos"]
    for layer in range(s.n_layers):
        prefix = f"blocks.{layer}."
        inner = {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}
        before, stream = stream, reference.transformer_layer(inner, s, stream)
    # The last layer once more without what its MLP writes: the stream that the MLP reads.
    silent = {name: np.zeros_like(inner[name]) for name in ("W_out", "b_out")}
    resid_mid = reference.transformer_layer(inner | silent, s, before)
    assert s.ln == "mlp-pre"
    read = reference.normalise(resid_mid, inner, "ln2", s.ln_kind, s.ln_eps)
    return act[s.activation](read @ inner["W_in"] + inner["b_in"])[:, -1]


@pytest.mark.parametrize(
    "model",
    [TRANSFORMER | {"n_layers": 2}, MLP | {"hidden": [6, 4]}, {"kind": "quadratic", "d_mlp": 5}],
    ids=["transformer", "mlp", "quadratic"],
)
def test_activations_are_those_of_the_last_hidden_layer(model) -> None:
    own = model_for(5, "x+y", **model)
    params = random_params(own)
    found = jax.jit(activations, static_argnums=0)(own, params, jnp.asarray(own.table.tokens_NT))
    expected = hidden_of(reference.as_float64(tensor_names(params)), own.settings, own.table)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-4, atol=1e-5)


# Saved weights --------------------------------------------------------------------------------------------------------

SAVED = (0, 40)


def directory_with(path, model, task) -> Made:
    """Two runs, the second of which has diverged."""
    directory = Made(path, SAVED, model=model, task=task, axes={"split_seed": [0, 5]})
    store = GroupStore(next(directory.path.glob("groups/*")))
    weights = {n: x * np.nan for n, x in store.weights.read(directory.runs[1].id).items()}
    StoreWriter(store).add_ended([ended_with(directory.runs[1].id, 40, weights)], NAMES)
    return directory


@pytest.fixture(scope="module", params=["transformer", "mlp"])
def directory(request, tmp_path_factory) -> Made:
    model, operation, p = {"transformer": (TRANSFORMER, "x-y", 5), "mlp": (MLP, "x+y", 6)}[
        request.param
    ]
    task = {"kind": "modular", "operation": operation, "p": p}
    return directory_with(tmp_path_factory.mktemp("saved") / "x", model, task)


def test_the_measurement_is_numpys_for_the_key_frequencies_of_the_end(directory) -> None:
    found = directory.measure(kind="progress")
    (run, diverged), p = directory.runs, directory.runs[0].table.n_answers
    targets, setup = run.table.targets_NA, directory.setups[run.group]
    rows = jax.jit(one_run.init_rows, static_argnums=0)(
        setup, directory.data[run.group], runstate.make_hyper(run)
    )
    train, labels = np.asarray(rows.train_N), np.asarray(rows.labels_NA)
    key = progress_numpy.key_frequencies(directory.weights[run.id, 40]["W_E"][:p])
    for j, step in enumerate(SAVED):
        weights, one = directory.weights[run.id, step], found.isel(run=0, snapshot=j)
        assert one["step"] == step and one["id"] == run.id
        logits = reference.logits(weights, run.settings.model, run.table)[:, 0]
        measures = Measures(logits, targets[:, 0], p, key)
        expected = dict(zip(NAMES_OF_VALUES[1:], (
            *measures.restricted(), *measures.excluded(labels[:, 0], train), measures.fit(),
            *numpy_weights(weights, run.settings.model, run.table).values(),
        ), strict=True))  # fmt: skip
        del expected["ipr"]
        assert {n: float(one[n]) for n in expected} == pytest.approx(expected, rel=1e-4)
        np.testing.assert_allclose(
            one["excluded_loss_each"], measures.excluded_each(labels[:, 0], train), rtol=1e-4
        )
        assert (np.flatnonzero(one["is_key"]) + 1).tolist() == key
        assert list(one["frequency"]) == list(range(1, p // 2 + 1))
    assert found["id"][1] == diverged.id
    assert all(np.isnan(found[name][1]).all() for name in found.data_vars)


def test_neurons_and_their_frequencies_are_numpys(directory) -> None:
    found = directory.measure(kind="neuron_frequencies", at="all", share=0.6)
    run, p = directory.runs[0], directory.runs[0].table.n_answers
    x, y = run.table.operands_N2.T
    some = 0
    for j, step in enumerate(SAVED):
        one, weights = found.isel(run=0, snapshot=j), directory.weights[run.id, step]
        hidden = hidden_of(weights, run.settings.model, run.table)
        shares = progress_numpy.neuron_shares(hidden, x, y, p)
        np.testing.assert_allclose(one["neuron_share"], shares.max(0), rtol=1e-4)
        alive = np.isfinite(shares[0])
        best = np.where(alive, shares.argmax(0) + 1, np.nan)
        np.testing.assert_array_equal(one["neuron_frequency"], best)
        belong = [((best == k) & (shares.max(0) >= 0.6)).sum() for k in one["frequency"].values]
        np.testing.assert_array_equal(one["neurons_of"], belong)
        some += sum(belong)
        assert one.sizes["neuron"] == hidden.shape[1]
    assert some > 0, "no neuron belongs to a frequency, which would show nothing"
    assert all(np.isnan(found[name][1, 1]).all() for name in found.data_vars)


# Mistakes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "needs"),
    [
        (["task.operation=x*y"], "the operation x+y or x-y of a task of kind modular, which is cyclic"),
        (["task={kind: permutation, group: S3}"], "the operation x+y or x-y of a task of kind modular, which is cyclic"),
        (
            ["task={kind: sparse_parity, n_bits: 10, k: 2, n_train: 50, n_test: 20}", "split={kind: drawn}", "model={kind: perceptron}"],
            "the operation x+y or x-y of a task of kind modular, which is cyclic",
        ),
        (["model={kind: quadratic}"], "a model with an embedding, but kind quadratic with these settings does not offer 'embedding' (ModelKind.offers)"),
    ],
)  # fmt: skip
def test_the_probe_is_refused_where_it_has_no_meaning(told, words: list[str], needs: str) -> None:
    assert told("probes=[{kind: metrics}, {kind: progress}]", *words) == (
        f"override probes=[{{kind: metrics}}, {{kind: progress}}]: probes: progress needs {needs}; "
        "remove this probe, or change the model or the task"
    )


@pytest.mark.parametrize("kind", ["progress", "neuron_frequencies"])
def test_the_measurements_are_refused_where_they_have_no_meaning(told, kind: str) -> None:
    measurement = f"measurements=[{{kind: {kind}, at: final}}]"
    error = told("task.operation=x*y", measurement)
    assert (
        f"measurements.0.kind: {kind} needs the operation x+y or x-y of a task of kind modular"
        in error
    )
