"""Models against the NumPy reference and against what the sources report: counts, statistics, formulas, causality."""

from __future__ import annotations

import dataclasses
import math
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.losses import cross_entropy
from grokjax.models import Model, n_parameters, tensor_names
from grokjax.models.init import SCHEMES
from grokjax.models.mlp import MLPSettings
from grokjax.models.quadratic import QuadraticSettings
from grokjax.models.transformer_settings import Placement, TransformerSettings
from grokjax.tasks import make_table
from grokjax.tasks.modular import Modular
from tests import reference

PLACEMENTS = get_args(Placement)
P113 = make_table(Modular(p=113))
TINY = make_table(Modular(p=4, format="a op b =", operation="x^2+xy+y^2+x"))
SMALL = {"d_model": 6, "n_heads": 2, "d_mlp": 5}


def fresh(model, seed=0, scale=1.0):
    """Initial parameters by dotted name."""
    return tensor_names(jax.jit(model.init)(jax.random.key(seed), scale))


def random_params(model, seed=0, size=0.4):
    """Parameters in general position: no zero biases, no gains of 1."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree.map(
        lambda x: jnp.asarray(rng.normal(0.5 * (x.ndim == 1), size, x.shape), jnp.float32), shapes
    )


def loss_and_gradient(model, params, labels_NA):
    """Mean cross entropy of the dense forward pass over the table, and its gradient by dotted name.

    Not under jit: here each operation is compiled once for all models, which is ten times faster. The shared forward
    pass, which training uses, is tested under jit.
    """

    def f(params):
        logits_NAC = model.dense(params, jnp.asarray(model.table.tokens_NT))
        return cross_entropy(logits_NAC, labels_NA).mean()

    loss, grads = jax.value_and_grad(f)(params)
    return float(loss), tensor_names(grads)


def assert_agrees_with_reference(model, params, rtol=1e-6, grad_rtol=1e-5):
    table = model.table
    loss, grads = loss_and_gradient(model, params, jnp.asarray(table.targets_NA))
    named = reference.as_float64(tensor_names(params))
    rows = np.arange(table.n_rows)

    def f(named):
        return reference.mean_loss(named, model.settings, table, rows, table.targets_NA)

    np.testing.assert_allclose(loss, f(named), rtol=rtol)
    expected = reference.gradient(f, named)
    assert grads.keys() == expected.keys()
    for name, g in expected.items():
        # Relative to the tensor, or where its gradient vanishes by symmetry, to a thousandth of the largest.
        size = max(np.linalg.norm(g), 1e-3 * max(map(np.linalg.norm, expected.values())))
        assert np.linalg.norm(grads[name] - g) <= grad_rtol * size, name


# What the sources count -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "settings", "count"),
    [
        (Modular(p=113), TransformerSettings(), 226_816),
        (Modular(p=113), TransformerSettings(ln="mlp-pre"), 227_072),
        (Modular(p=113), TransformerSettings(n_layers=3, d_model=64, d_mlp=256), 163_200),
        (Modular(p=97, format="a op b ="), MLPSettings(), 91_107),
        (Modular(p=97, classes="p"), QuadraticSettings(d_mlp=500), (2 * 97 + 97) * 500),
    ],
)
def test_number_of_parameters(task, settings, count):
    assert n_parameters(Model(settings, make_table(task))) == count


def test_number_of_parameters_in_the_matrices_of_power_et_al():
    model = Model(TransformerSettings(n_layers=2, mlp_bias=False), P113)
    shapes = tensor_names(jax.eval_shape(model.init, jax.random.key(0)))
    assert sum(x.size for name, x in shapes.items() if name.startswith("blocks.")) == 393_216


def test_placements_create_only_the_norms_they_use():
    norms = {}
    for ln in PLACEMENTS:
        model = Model(TransformerSettings(ln=ln, **SMALL), TINY)
        shapes = tensor_names(jax.eval_shape(model.init, jax.random.key(0)))
        norms[ln] = {n.split(".")[2] for n in shapes if ".ln" in n}
    assert norms.pop("none") == set()
    assert norms.pop("mlp-pre") == {"ln2"}
    assert norms.pop("peri") == {"ln1", "ln2", "ln1_out", "ln2_out"}
    assert norms.pop("mlp-inpnorm") == set()
    both = {"pre", "pre-v", "post"}
    assert norms == {ln: {"ln1", "ln2"} if ln in both else {"ln1"} for ln in norms}


@pytest.mark.soak
def test_every_parameter_has_a_gradient():
    for ln in PLACEMENTS:
        settings = TransformerSettings(ln=ln, n_layers=1, final_ln=ln == "peri", **SMALL)
        model = Model(settings, TINY)
        _, grads = loss_and_gradient(model, random_params(model), jnp.asarray(TINY.targets_NA))
        assert all(np.abs(g).max() > 1e-6 for g in grads.values()), ln
    for settings in (MLPSettings(d_model=4, hidden=(5, 6)), QuadraticSettings(d_mlp=7)):
        model = Model(settings, TINY)
        _, grads = loss_and_gradient(model, random_params(model), jnp.asarray(TINY.targets_NA))
        assert all(np.abs(g).max() > 1e-6 for g in grads.values()), settings.kind


# What the sources draw ------------------------------------------------------------------------------------------------


def assert_normal(x, std):
    """Mean, deviation and fourth moment within four standard errors."""
    x, n = np.asarray(x, np.float64).ravel() / std, x.size
    assert abs(x.mean()) < 4 / math.sqrt(n)
    assert abs((x**2).mean() - 1) < 4 * math.sqrt(2 / n)
    assert abs((x**4).mean() - 3) < 4 * math.sqrt(96 / n)


def assert_uniform(x, limit):
    x, n = np.asarray(x, np.float64).ravel() / limit, x.size
    assert np.abs(x).max() <= 1
    assert abs((x**2).mean() - 1 / 3) < 4 * math.sqrt(4 / 45 / n)
    assert abs((x**4).mean() - 1 / 5) < 4 * math.sqrt(16 / 225 / n)


def assert_truncated(x, parent_std):
    """A normal cut at two standard deviations and not stretched back: 0.8796 of its parent's deviation."""
    x, n = np.asarray(x, np.float64).ravel() / parent_std, x.size
    assert np.abs(x).max() <= 2
    assert np.abs(x).max() > 1.99
    assert abs(x.mean()) < 4 / math.sqrt(n)
    assert abs(x.std() - 0.8796) < 4 * 0.8796 / math.sqrt(2 * n)


def is_zero(x):
    return not np.any(x)


def test_init_nanda():
    w = fresh(Model(TransformerSettings(init="nanda", attn_bias=True, unembed_bias=True), P113))
    for name, x in w.items():
        if ".b_" in name or name == "b_U":
            assert is_zero(x)
        else:  # W_out too, although its fan-in is 512
            assert_normal(x, 1 / math.sqrt(114 if name == "W_U" else 128))


def test_init_layernorm_grok():
    w = fresh(Model(TransformerSettings(init="layernorm-grok", ln="mlp-pre"), P113))
    assert_normal(w["W_E"], 128**-0.5)
    assert_normal(w["W_pos"], 0.02)
    assert_normal(w["W_U"], 128**-0.5)
    for x in "QKV":
        assert_uniform(w[f"blocks.0.W_{x}"], math.sqrt(6 / (128 + 384)))
    assert_truncated(w["blocks.0.W_O"], 128**-0.5)
    assert_truncated(w["blocks.0.W_in"], 128**-0.5)
    assert_truncated(w["blocks.0.W_out"], 512**-0.5)
    assert is_zero(w["blocks.0.b_in"])
    assert is_zero(w["blocks.0.b_out"])
    assert is_zero(w["blocks.0.ln2.b"])
    assert is_zero(w["blocks.0.ln2.w"] - 1)


def test_init_layernorm_grok_has_the_norm_the_source_reports():
    w = fresh(Model(TransformerSettings(init="layernorm-grok"), P113), seed=1)
    assert math.sqrt(
        sum((np.asarray(x, np.float64) ** 2).sum() for x in w.values())
    ) == pytest.approx(31.9, abs=0.3)


def test_init_layernorm_grok_kaiming():
    w = fresh(Model(TransformerSettings(init="layernorm-grok-kaiming"), P113))
    assert_normal(w["blocks.0.W_O"], math.sqrt(2 / 128))
    assert_normal(w["blocks.0.W_in"], math.sqrt(2 / 128))
    assert_normal(w["blocks.0.W_out"], math.sqrt(2 / 512))
    assert_uniform(w["blocks.0.W_Q"], math.sqrt(6 / (128 + 384)))
    assert_normal(w["W_U"], 128**-0.5)


def test_init_torch():
    w = fresh(Model(TransformerSettings(init="torch", attn_bias=True, unembed_bias=True), P113))
    assert_normal(w["W_E"], 1.0)
    assert_normal(w["W_pos"], 1.0)
    for x in ("Q", "K", "V", "O", "in"):
        assert_uniform(w[f"blocks.0.W_{x}"], 128**-0.5)
        assert_uniform(w[f"blocks.0.b_{x}"], 128**-0.5)
    assert_uniform(w["blocks.0.W_out"], 512**-0.5)
    assert_uniform(w["blocks.0.b_out"], 512**-0.5)
    assert_uniform(w["W_U"], 128**-0.5)
    assert_uniform(w["b_U"], 128**-0.5)


def test_init_grokking_mlp():
    w = fresh(Model(MLPSettings(), make_table(Modular(p=97, format="a op b ="))))
    assert_normal(w["W_E"], 1.0)
    assert_normal(w["W_0"], math.sqrt(2 / 512))
    assert_normal(w["W_U"], math.sqrt(2 / 128))
    assert is_zero(w["b_0"])
    assert is_zero(w["b_U"])


def test_init_quadratic():
    w = fresh(Model(QuadraticSettings(), P113))
    assert_normal(w["W_in"], 1.0)
    assert_normal(w["W_U"], 1.0)


def test_no_two_tensors_are_drawn_alike():
    w = fresh(Model(TransformerSettings(n_layers=2, d_model=16, d_mlp=16), P113))
    square = [x for name, x in w.items() if x.shape == (16, 16)]
    assert len(square) == 12
    assert len({np.asarray(x).tobytes() for x in square}) == 12


def test_init_lecun():
    w = fresh(Model(TransformerSettings(init="lecun", attn_bias=True), P113))
    for name, spread in (("W_E", 128), ("W_pos", 128), ("blocks.0.W_Q", 128), ("blocks.0.W_in", 128),
                         ("blocks.0.W_out", 512), ("W_U", 128)):  # fmt: skip
        np.testing.assert_allclose(
            np.std(w[name]), spread**-0.5, rtol=0.15 if name == "W_pos" else 0.03
        )
    assert not w["blocks.0.b_Q"].any()


@pytest.mark.soak
@pytest.mark.parametrize("init", SCHEMES)
def test_every_model_takes_every_scheme(init):
    for settings in (
        TransformerSettings(init=init, **SMALL),
        MLPSettings(init=init, d_model=4, hidden=(5,)),
    ):
        w = fresh(Model(settings, TINY))
        assert w["W_E"].any() and all(np.isfinite(x).all() for x in w.values())


def test_init_scale_multiplies_tensors_of_two_dimensions():
    model = Model(TransformerSettings(ln="pre", init="torch", attn_bias=True, **SMALL), TINY)
    one, four = fresh(model), fresh(model, scale=4.0)
    for name, x in one.items():
        np.testing.assert_array_equal(four[name], x * (4 if x.ndim >= 2 else 1))


REST = [(True, 2), (True, 1), (False, 2), (True, 3), (False, 3)]

# What they compute ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("causal", "n_layers"),
    [(False, 1), *(pytest.param(*x, marks=pytest.mark.soak) for x in REST)],
)
@pytest.mark.parametrize("ln", PLACEMENTS)
def test_transformer_agrees_with_reference(ln, n_layers, causal):
    settings = TransformerSettings(ln=ln, n_layers=n_layers, causal=causal, **SMALL)
    model = Model(settings, TINY)
    assert_agrees_with_reference(model, random_params(model, seed=n_layers))


@pytest.mark.parametrize(
    "options",
    [
        {"ln": "pre", "ln_kind": "rms", "final_ln": True},
        {"ln": "peri", "ln_kind": "rms", "activation": "gelu", "mlp_bias": False},
        {"ln": "post", "final_ln": True, "tied": True},
        {"ln": "mlp-pre", "ln_eps": 0.0, "attn_bias": True, "unembed_bias": True},
        *(
            pytest.param(options, marks=pytest.mark.soak)
            for options in (
                {"activation": "gelu", "positions": "sinusoidal", "n_heads": 3, "causal": False},
                {
                    "positions": "sinusoidal",
                    "tied": True,
                    "attn_bias": True,
                    "n_heads": 1,
                    "n_layers": 2,
                },
                {"ln": "pre", "ln_eps": 0.5, "n_heads": 6, "n_layers": 2},
            )
        ),
    ],
)
def test_transformer_options_agree_with_reference(options):
    model = Model(TransformerSettings(**(SMALL | options)), TINY)
    assert_agrees_with_reference(model, random_params(model, seed=1))


@pytest.mark.parametrize(
    "settings",
    [
        MLPSettings(d_model=3, hidden=(7,)),
        MLPSettings(d_model=3, hidden=(5, 6, 4), activation="gelu"),
        MLPSettings(d_model=2, hidden=(5, 6), bias=False),
        QuadraticSettings(d_mlp=9),
    ],
)
def test_mlps_agree_with_reference(settings):
    model = Model(settings, TINY)
    assert_agrees_with_reference(model, random_params(model, seed=2))


@pytest.mark.soak
@pytest.mark.parametrize("causal", [True, False])
def test_an_answer_depends_on_later_positions_only_without_the_mask(causal):
    middle = dataclasses.replace(TINY, answer_positions=(1,))
    settings = TransformerSettings(n_layers=2, causal=causal, ln="pre", **SMALL)
    model = Model(settings, middle)
    params = random_params(model)
    plan = model.plan(middle.n_rows)

    def loss(params, logits):
        return cross_entropy(logits(params), jnp.asarray(middle.targets_NA)).mean()

    def of_positions(logits):
        return jax.grad(loss)(params, logits)["W_pos"]

    dense = of_positions(lambda params: model.dense(params, jnp.asarray(middle.tokens_NT)))
    shared = jax.jit(lambda: of_positions(lambda params: model.apply(params, plan)))()
    for gradient in map(np.asarray, (dense, shared)):
        assert (np.abs(gradient[:2]).max(1) > 1e-6).all()
        assert ((np.abs(gradient[2:]).max(1) > 1e-6) == (not causal)).all()
        assert is_zero(gradient[2:]) == causal
