"""Optimisers against the papers' algorithms in float64, update by update from the same state."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from grokjax import optim
from grokjax.optim import OPTIMIZERS, SGD, Adagrad, Adam, AdamW, Decaying, RMSProp, Schedule
from grokjax.settings import leaves, shape
from tests import reference

SHAPES = {"W": (5, 4), "b": (4,), "W_3": (2, 3, 2)}
FACTORS = {"embedding": 0.5, "matrices": 2.0, "unembedding": 0.0, "rest": 3.0}


def numbers(s):
    """The optimiser's traced scalars."""
    return {x.name: jnp.asarray(x.value) for x in leaves(s) if x.role == "hyper"}


def draw(rng, size=1.0):
    return {n: rng.normal(0, size, shape).astype(np.float32) for n, shape in SHAPES.items()}


MOMENTS = {
    optax.ScaleByAdamState: lambda s: (s.mu, s.nu),
    optax.TraceState: lambda s: (s.trace, s.trace),
    optax.ScaleByRmsState: lambda s: (jax.tree.map(jnp.zeros_like, s.nu), s.nu),
    optax.ScaleByRssState: lambda s: (
        jax.tree.map(jnp.zeros_like, s.sum_of_squares),
        s.sum_of_squares,
    ),
}


def moments(opt_state, t):
    """optax's state in the reference's words."""
    (inner,) = (x for x in opt_state if type(x) in MOMENTS)
    m, v = map(reference.as_float64, MOMENTS[type(inner)](inner))
    return {"m": m, "v": v, "t": t}


@pytest.mark.parametrize(
    "s",
    [
        AdamW(learning_rate=3e-3, weight_decay=1.0),
        AdamW(learning_rate=3e-3, weight_decay=1.0, decays="matrices", beta1=0.0, beta2=0.999),
        AdamW(learning_rate=1e-2, weight_decay=0.1, warmup=10, eps=1e-3),
        AdamW(learning_rate=1e-2, weight_decay=0.0, schedule="cosine", horizon=40, warmup=5),
        Adam(learning_rate=1e-3, l2=0.1, beta2=0.95),
        Adam(learning_rate=1e-3, l2=1.0, decays="matrices"),
        SGD(learning_rate=0.1),
        SGD(learning_rate=0.1, momentum=0.9, l2=0.01, warmup=3, warmup_start="one"),
        RMSProp(learning_rate=1e-3, l2=0.1, beta2=0.9, eps=1e-4),
        Adagrad(learning_rate=1e-2, warmup=5),
        Adagrad(learning_rate=1e-2, l2=0.1, decays="matrices", eps=1e-3),
    ],
    ids=lambda s: f"{s.kind}-{s.decays}-{s.schedule}-{s.warmup}",
)
def test_fifty_updates(s):
    rng, n = np.random.default_rng(0), numbers(s)
    params = {k: jnp.asarray(w) for k, w in draw(rng).items()}
    state = optim.init_optimizer(s, params)
    update = jax.jit(lambda *now: optim.update(s, n, *now))
    for step in range(50):
        grads = draw(rng, 10.0 ** rng.uniform(-4, 1))
        before, old = reference.as_float64(params), moments(state, step)
        updates, state = update(step, grads, state, params)
        moved, new = reference.OPTIMIZERS[s.kind](s, reference.as_float64(grads), old, before)
        for k, w in moved.items():
            # A step and a decay, like the terms of a moment, can nearly cancel: the error is measured against both.
            lr, decay = reference.learning_rate(s, step), getattr(s, "weight_decay", 0.0)
            bound = np.abs(w - before[k]) + lr * (0.1 + decay * np.abs(before[k]))
            assert (np.abs(updates[k] - (w - before[k])) <= 1e-5 * bound).all()
            found = moments(state, step)
            np.testing.assert_allclose(found["m"][k], new["m"][k], rtol=1e-5, atol=1e-7)
            if s.kind != "sgd":  # 1 - 0.999 has an error of 6e-5 in float32
                np.testing.assert_allclose(found["v"][k], new["v"][k], rtol=1e-4, atol=1e-7)
        params = {k: params[k] + u for k, u in updates.items()}


def test_decay_of_matrices_leaves_vectors_alone():
    s = AdamW(learning_rate=0.1, weight_decay=1.0, decays="matrices")
    params = {k: jnp.asarray(w) for k, w in draw(np.random.default_rng(0)).items()}
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optim.update(s, numbers(s), 0, zero, optim.init_optimizer(s, params), params)
    assert not np.any(updates["b"])
    np.testing.assert_allclose(updates["W"], -0.1 * params["W"], rtol=1e-6)
    np.testing.assert_allclose(updates["W_3"], -0.1 * params["W_3"], rtol=1e-6)


def test_adamw_without_decay_is_adam_without_l2():
    rng = np.random.default_rng(0)
    params, grads = draw(rng), draw(rng)
    one, two = AdamW(weight_decay=0.0), Adam()
    first, _ = optim.update(one, numbers(one), 3, grads, optim.init_optimizer(one, params), params)
    second, _ = optim.update(two, numbers(two), 3, grads, optim.init_optimizer(two, params), params)
    for k in params:
        np.testing.assert_array_equal(first[k], second[k])


def rates(s, steps):
    n = numbers(s)
    return np.array([float(optim.learning_rate(s, n, step)) for step in steps])


def test_warmup_from_zero():
    s = SGD(learning_rate=2.0, warmup=4)
    np.testing.assert_allclose(rates(s, range(7)), [0, 0.5, 1, 1.5, 2, 2, 2], rtol=1e-6)


def test_warmup_from_one():
    s = SGD(learning_rate=2.0, warmup=4, warmup_start="one")
    np.testing.assert_allclose(rates(s, range(6)), [0.5, 1, 1.5, 2, 2, 2], rtol=1e-6)


@pytest.mark.parametrize("start", ["zero", "one"])
def test_no_warmup(start):
    s = SGD(learning_rate=2.0, warmup=0, warmup_start=start)
    assert (rates(s, range(3)) == 2).all()


def test_cosine():
    s = SGD(learning_rate=2.0, schedule="cosine", horizon=8)
    expected = [2, 1 + np.cos(np.pi / 4), 1, 0, 0, 0]
    np.testing.assert_allclose(rates(s, [0, 2, 4, 8, 9, 100]), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("start", ["zero", "one"])
def test_schedules_agree_with_reference(start):
    s = SGD(learning_rate=0.3, schedule="cosine", horizon=30, warmup=7, warmup_start=start)
    expected = [reference.learning_rate(s, step) for step in range(40)]
    np.testing.assert_allclose(rates(s, range(40)), expected, rtol=1e-5, atol=1e-7)


def test_cosine_whose_horizon_lies_inside_the_warmup_is_finite():
    s = SGD(learning_rate=1.0, schedule="cosine", horizon=5, warmup=10)
    assert np.isfinite(rates(s, range(20))).all()


@pytest.mark.parametrize(("eps", "bounded"), [(1e-30, False), (1e-18, True)])
def test_an_eps_below_the_root_of_the_smallest_float_lets_updates_explode(eps, bounded):
    """The square of 1e-19 underflows where its mean does not (configs/source_004/eps0.yaml)."""
    s = AdamW(learning_rate=1e-3, weight_decay=0.0, beta1=0.9, beta2=0.98, eps=eps)
    params = {"W": jnp.zeros((2, 2))}
    grads, state = {"W": jnp.full((2, 2), 1e-19)}, optim.init_optimizer(s, params)
    updates, _ = jax.jit(lambda g, st: optim.update(s, numbers(s), 0, g, st, params))(grads, state)
    largest = float(jnp.abs(updates["W"]).max())
    assert (largest <= 1e-3) if bounded else (largest > 1e3)


@pytest.mark.parametrize("kind", [AdamW, SGD])
def test_decay_by_group_is_the_decay_of_each_group_alone(kind):
    """Each tensor moves as it does where its group's decay is that of all."""
    rng = np.random.default_rng(0)
    shapes = {"W_E": (3, 4), "W_pos": (2, 4), "W_Q": (4, 4), "W_U": (4, 3), "b_in": (4,)}
    groups = dict(
        zip(shapes, ("embedding", "embedding", "matrices", "unembedding", "rest"), strict=True)
    )
    params, grads = (
        {n: jnp.asarray(rng.normal(size=x), jnp.float32) for n, x in shapes.items()}
        for _ in range(2)
    )
    name = "weight_decay" if kind is AdamW else "l2"

    def moved(strength, **more):
        s = kind(learning_rate=0.1, **{name: strength}, **more)
        state = optim.init_optimizer(s, params)
        return optim.update(s, numbers(s), 0, grads, state, params)[0]

    factors = {f"decay_{group}": factor for group, factor in FACTORS.items()}
    together = moved(0.3, decays="by_group", **factors)
    for tensor, group in groups.items():
        alone = moved(0.3 * FACTORS[group])
        np.testing.assert_allclose(together[tensor], alone[tensor], rtol=1e-6, err_msg=tensor)


def test_a_factor_without_groups_is_refused():
    with pytest.raises(ValueError, match=r"decay_rest: 0\.0 has no effect with decays: matrices"):
        SGD(decays="matrices", decay_rest=0.0)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_decays_has_an_effect_wherever_it_is_a_setting(kind):
    """Otherwise two runs with different ids would have the same numbers."""
    settings = OPTIMIZERS[kind].settings
    assert issubclass(settings, Decaying) == ("decays" in settings.model_fields)
    if not issubclass(settings, Decaying):
        return
    (strength,) = {"weight_decay", "l2"} & settings.model_fields.keys()
    params = {k: jnp.asarray(w) for k, w in draw(np.random.default_rng(0)).items()}
    grads = {k: jnp.asarray(w) for k, w in draw(np.random.default_rng(1)).items()}

    def moved(**more):
        s = settings(learning_rate=0.1, **{strength: 0.3}, **more)
        return optim.update(s, numbers(s), 0, grads, optim.init_optimizer(s, params), params)[0][
            "b"
        ]

    assert (moved() != moved(decays="matrices")).any()
    assert (moved() != moved(decays="by_group", decay_rest=0.5)).any()


def test_an_optimiser_without_decay_has_no_settings_of_it():
    class Signs(Schedule):
        kind: Literal["signs"] = shape("signs")

    assert not [name for name in Signs.model_fields if name.startswith("decay")]
    with pytest.raises(ValueError, match="decays"):
        Signs(decays="matrices")


def test_every_optimiser_keeps_the_order_of_its_settings():
    """In this order they stand in the experiment.yaml of directories that exist."""
    first = ["learning_rate", "warmup", "warmup_start", "schedule", "horizon", "decays"]
    factors = ["decay_embedding", "decay_matrices", "decay_unembedding", "decay_rest", "kind"]
    later = {"noise", "noise_scale", "decay_form"}  # written only where they are not as before
    for name in ("adamw", "adam", "sgd", "rmsprop", "adagrad"):
        names = [f for f in OPTIMIZERS[name].settings.model_fields if f not in later]
        assert names[:11] == first + factors
