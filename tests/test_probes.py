"""Each probe against NumPy, on the parameters of a run that has trained a little."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.models import tensor_names
from grokjax.probes.features import eigenvalues, ranks
from grokjax.probes.fourier import concentration, frequency_shares
from grokjax.training import one_run
from tests import reference
from tests.test_training import MLP, OneRun

FOUR_TOKENS = {"kind": "modular", "operation": "x+y", "p": 5, "format": "a op b ="}
_measure = functools.partial(
    jax.jit, static_argnums=(0, 4), compiler_options={"xla_backend_optimization_level": 0}
)(one_run.measure_run)


def probed(*kinds, steps=7, every=7, **changes):
    """(run, state, columns) after `steps` steps, the evaluation before at 0; `every` steps between evaluations."""
    train = {"steps": 5 * every, "eval_every": every}
    run = OneRun(
        train=train, probes=[k if isinstance(k, dict) else {"kind": k} for k in kinds], **changes
    )
    state = run.evaluate(run.start())[0]
    for _ in range(steps // every):
        state = run.train(state)
    found = _measure(run.setup, run.data, run.hyper, state, 1)
    return run, state, {name: np.asarray(x) for name, x in found.items()}


def weights(state):
    return {name: np.asarray(x) for name, x in tensor_names(state.params).items()}


@pytest.mark.soak
def test_sparsity_counts_small_weights():
    _, state, found = probed("sparsity")
    flat = np.concatenate([x.ravel() for x in weights(state).values()])
    np.testing.assert_allclose(found["sparsity"], (abs(flat) < 0.01).mean(), rtol=1e-6)
    assert found["active_weights"] == (abs(flat) >= 0.01).sum()


@pytest.mark.soak
def test_constant_tokens_folded_into_the_bias_leave_the_predictions():
    run, state, found = probed("structural_sparsity", model=MLP, task=FOUR_TOKENS)
    w = weights(state)
    W_0 = w["W_0"].reshape(4, 3, 6)  # positions a, op, b, =
    bias = w["b_0"] + w["W_E"][5] @ W_0[1] + w["W_E"][6] @ W_0[3]
    x, y = run.table.tokens_NT[:, [0, 2]].T
    hidden = np.maximum(w["W_E"][x] @ W_0[0] + w["W_E"][y] @ W_0[2] + bias, 0)
    expected = run.setup.model.dense(state.params, jnp.asarray(run.table.tokens_NT))[:, 0]
    np.testing.assert_allclose(hidden @ w["W_U"] + w["b_U"], expected, atol=1e-5)
    kept = [w["W_E"][:5], W_0[[0, 2]], bias, w["W_U"], w["b_U"]]
    small = np.concatenate([abs(x).ravel() < 0.01 for x in kept])
    np.testing.assert_allclose(found["sparsity_structural"], small.mean(), rtol=1e-6)
    everywhere = sum((abs(x) < 0.01).sum() for x in w.values())
    dead = (abs(W_0[[1, 3]]) < 0.01).sum()
    np.testing.assert_allclose(found["dead_share"], dead / everywhere, rtol=1e-6)


def test_waves_in_the_embedding_are_found():
    p, rng = 13, np.random.default_rng(0)
    phase = 2 * np.pi * 4 * np.arange(p) / p
    wave = np.outer(np.cos(phase), rng.normal(size=8)) + np.outer(np.sin(phase), rng.normal(size=8))
    shares = frequency_shares(jnp.float32(wave + 3))
    np.testing.assert_allclose(shares, np.eye(6)[3], atol=1e-5)
    assert concentration(jnp.float32(wave)) > 1
    noise = rng.normal(size=(p, 8)).astype(np.float32)
    m = abs(np.fft.rfft(noise, axis=0))
    expected = m.mean(1).var() / ((m - m.mean(1, keepdims=True)) ** 2).mean()
    np.testing.assert_allclose(concentration(jnp.asarray(noise)), expected, rtol=1e-4)
    assert concentration(jnp.asarray(noise)) < 0.5


@pytest.mark.parametrize("p", [6, 7])
def test_shares_of_frequencies_are_shares_of_the_energy(p):
    W = np.random.default_rng(p).normal(size=(p, 3)).astype(np.float32)
    energy = ((W - W.mean(0)) ** 2).sum()
    full = (abs(np.fft.fft(W - W.mean(0), axis=0)) ** 2).sum(1) / p
    expected = [full[k] + (full[p - k] if 2 * k != p else 0) for k in range(1, p // 2 + 1)]
    np.testing.assert_allclose(
        frequency_shares(jnp.asarray(W)), np.array(expected) / energy, rtol=1e-4
    )


def test_ranks_of_known_spectra():
    flat = {k: float(v) for k, v in ranks(jnp.ones(16)).items()}
    assert flat["rank"] == 16
    np.testing.assert_allclose([flat["effective_rank"], flat["stable_rank"]], 16, rtol=1e-5)
    np.testing.assert_allclose(flat["stable_rank_unsquared"], 4, rtol=1e-5)
    single = {k: float(v) for k, v in ranks(jnp.eye(16)[15]).items()}
    np.testing.assert_allclose(list(single.values()), 1, rtol=1e-5)


@pytest.mark.soak
def test_feature_ranks_are_those_of_the_rows_of_each_side():
    run, state, found = probed("feature_rank", "feature_spectrum")
    Z = np.asarray(run.setup.model.features(state.params, run.data.table_input))[:, 0]
    train = np.asarray(state.rows.train_N)
    for side, mask in (("train", train), ("val", ~train)):
        expected = np.linalg.eigvalsh(Z[mask].T.astype(np.float64) @ Z[mask])
        got = [found[f"{side}_eigenvalue/{i}"] for i in range(4)]
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5 * expected[-1])
        share = expected / expected.sum()
        entropy = -(share * np.log(share)).sum()
        np.testing.assert_allclose(found[f"{side}_effective_rank"], np.exp(entropy), rtol=1e-3)
    masked = eigenvalues(jnp.asarray(Z)[:, None], jnp.asarray(train))
    np.testing.assert_allclose(masked[-1], np.linalg.norm(Z[train], 2) ** 2, rtol=1e-4)


@pytest.mark.soak
@pytest.mark.parametrize("model", [MLP, None], ids=["mlp", "transformer"])
def test_features_times_the_output_matrix_are_the_logits(model):
    run, state, _ = probed(**({} if model is None else {"model": model}))
    m = run.setup.model
    features = m.features(state.params, run.data.table_input)
    logits = features @ m.output_matrix(state.params) + state.params.get("b_U", 0)
    np.testing.assert_allclose(logits, m.apply(state.params, run.data.table_input), atol=1e-5)


@pytest.mark.soak
def test_entropy_of_attention():
    run, state, found = probed("attention_entropy")
    w, tokens = weights(state), run.table.tokens_NT
    x = w["W_E"][tokens] + w["W_pos"]
    q, k = ((x @ w[f"blocks.0.W_{n}"]).reshape(-1, 3, 2, 2) for n in "QK")
    scores = np.einsum("nqhc,nkhc->nhqk", q, k) / np.sqrt(2)
    scores = np.where(np.tril(np.ones((3, 3), bool)), scores, -np.inf)
    a = np.exp(scores - scores.max(-1, keepdims=True))
    by_head = a / a.sum(-1, keepdims=True)

    def entropy(a):
        return -(a * np.log(np.where(a > 0, a, 1))).sum(-1).mean()

    expected = entropy(by_head.mean(1))
    np.testing.assert_allclose(found["attention_entropy"], expected, rtol=1e-4)
    assert found["attention_entropy"] == found["attention_entropy/0"]
    assert "attention_entropy/0/0" not in found
    _, _, split = probed({"kind": "attention_entropy", "by_head": True})
    for head in range(2):
        expected = entropy(by_head[:, head])
        np.testing.assert_allclose(split[f"attention_entropy/0/{head}"], expected, rtol=1e-4)


@pytest.mark.soak
@pytest.mark.parametrize(
    "ln",
    ["pre", *(pytest.param(x, marks=pytest.mark.soak) for x in ("none", "mlp-pre", "attn-pre"))],
)
def test_shortcut_loss_is_that_of_the_network_with_a_unit_input(ln):
    model = {"kind": "transformer", "d_model": 4, "n_heads": 2, "d_mlp": 6, "ln": ln}
    run, state, found = probed("shortcut", model=model)
    clean = "attn-pre+mlp-inpnorm" if ln in ("pre", "attn-pre") else "mlp-inpnorm"
    for placement, suffix in ((clean, ""), ("mlp-inpnorm", "_as_published")):
        changed = run.settings.model.model_copy(update={"ln": placement})
        logits = reference.logits(reference.as_float64(weights(state)), changed, run.table)
        loss = reference.cross_entropy(logits, run.table.targets_NA)
        train = np.asarray(state.rows.train_N)
        np.testing.assert_allclose(found[f"sr_train{suffix}"], loss[train].mean(), rtol=1e-4)
        np.testing.assert_allclose(found[f"sr_val{suffix}"], loss[~train].mean(), rtol=1e-4)


@pytest.mark.soak
def test_speed_is_the_mean_size_of_the_steps():
    _, state, found = probed("update_speed", steps=3, every=3)
    single = OneRun(train={"steps": 15, "eval_every": 1})
    step, lengths = single.evaluate(single.start())[0], []
    for _ in range(3):
        before, step = weights(step), single.evaluate(single.train(step))[0]
        change = {n: x - before[n] for n, x in weights(step).items()}
        lengths.append({n: np.linalg.norm(x) for n, x in change.items()})
        lengths[-1]["all"] = np.linalg.norm(list(lengths[-1].values()))
    sizes = {n: np.linalg.norm(x) for n, x in weights(state).items()}
    sizes["all"] = np.linalg.norm(list(sizes.values()))
    for name, size in sizes.items():
        suffix, speed = "" if name == "all" else f"/{name}", np.mean([x[name] for x in lengths])
        np.testing.assert_allclose(found[f"speed{suffix}"], speed, rtol=1e-3)
        np.testing.assert_allclose(found[f"relative_speed{suffix}"], speed / size, rtol=1e-3)


@pytest.mark.soak
def test_features_change_since_the_last_evaluation():
    run, state, found = probed("feature_change")
    plan, model = run.data.table_input, run.setup.model
    now, before = (np.asarray(model.features(p, plan)) for p in (state.params, state.previous))
    expected = np.linalg.norm(now - before) / np.linalg.norm(before)
    np.testing.assert_allclose(found["feature_change"], expected, rtol=1e-4)
    assert expected > 1e-3
    start = _measure(run.setup, run.data, run.hyper, run.start(), 1)
    assert np.isnan(start["feature_change"])
