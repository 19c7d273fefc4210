"""Losses against float64, down to where float32 usually gives up."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.losses import LOSSES, cross_entropy, cross_entropy_float32, is_answer, mse
from tests import reference

GAPS = np.linspace(-40, 40, 81)


@pytest.fixture(autouse=True)
def strict():
    """Broadcasts and conversions are written out in the losses."""
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


def gapped(gaps, n_others, offset=0.0):
    """Logits whose label, class 1, is ahead of all others by the gap."""
    logits = np.zeros((len(gaps), n_others + 1), np.float32)
    logits[:, 1] = gaps
    return logits + np.float32(offset), np.ones(len(gaps), np.int32)


def accurate(logits, labels):
    """log(1 + Σ exp(other − label)), never a difference of nearly equal numbers; and its gradient."""
    logits = np.asarray(logits, np.float64)
    rows = np.arange(len(logits))
    ratio = np.exp(logits - logits[rows, labels][:, None])
    ratio[rows, labels] = 0
    total = ratio.sum(1, keepdims=True)
    gradient = ratio / (1 + total)
    gradient[rows, labels] = -(total / (1 + total))[:, 0]
    return np.log1p(total)[:, 0], gradient


@pytest.mark.parametrize("n_others", [1, 2, 112])
@pytest.mark.parametrize("offset", [0.0, -8.0])
def test_cross_entropy_is_accurate_for_every_gap(n_others, offset):
    logits, labels = gapped(GAPS, n_others, offset)
    loss, gradient = accurate(logits, labels)
    got = cross_entropy(jnp.asarray(logits), jnp.asarray(labels))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, loss, rtol=1e-5)
    grads = jax.grad(lambda x: cross_entropy(x, jnp.asarray(labels)).sum())(jnp.asarray(logits))
    np.testing.assert_allclose(grads, gradient, rtol=1e-5)


def test_cross_entropy_of_random_logits():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 4, (5, 2, 7)).astype(np.float32)
    labels = rng.integers(7, size=(5, 2)).astype(np.int32)
    got = cross_entropy(jnp.asarray(logits), jnp.asarray(labels))
    np.testing.assert_allclose(
        got, reference.cross_entropy(logits.astype(float), labels), rtol=2e-6
    )


def test_textbook_cross_entropy_rounds_to_zero_where_the_other_does_not():
    logits, labels = map(jnp.asarray, gapped(np.array([5.0, 10.0, 25.0, 40.0]), 112))
    textbook, accurate_form = cross_entropy_float32(logits, labels), cross_entropy(logits, labels)
    np.testing.assert_allclose(textbook[:2], accurate_form[:2], rtol=1e-3)
    assert (np.asarray(textbook[2:]) == 0).all()
    assert (np.asarray(accurate_form[2:]) > 1e-16).all()
    grads = jax.grad(lambda x: cross_entropy_float32(x, labels).sum())(logits)
    assert (np.asarray(grads[2:, 1]) == 0).all()


def test_losses_stay_finite_for_huge_logits():
    logits, labels = map(jnp.asarray, gapped(np.array([-1e30, 1e30]), 3))
    for name in ("cross_entropy", "cross_entropy_float32"):
        np.testing.assert_allclose(LOSSES[name](logits, labels), [1e30, 0], rtol=1e-6)
        grads = jax.grad(lambda x, f=LOSSES[name]: f(x, labels).sum())(logits)
        assert np.isfinite(grads).all()


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_not_finite_where_the_logits_are_not(name):
    logits = jnp.full((1, 3), jnp.nan)
    assert np.isnan(LOSSES[name](logits, jnp.zeros(1, jnp.int32))).all()


def test_mse():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 2, 5)).astype(np.float32), rng.integers(5, size=(6, 2))
    got = mse(jnp.asarray(logits), jnp.asarray(labels, jnp.int32))
    np.testing.assert_allclose(got, reference.mse(logits.astype(float), labels), rtol=1e-6)


def test_an_answer_is_a_label_above_all_other_logits():
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(40, 2, 7)).astype(np.float32)
    labels = rng.integers(0, 7, (40, 2))
    found = is_answer(jnp.asarray(logits), jnp.asarray(labels))
    np.testing.assert_array_equal(found, logits.argmax(-1) == labels)
    assert found.any() and not found.all()
    same, gone = jnp.zeros((1, 7)), jnp.full((1, 7), jnp.nan)
    for x in (same, gone):
        assert not is_answer(x, jnp.array([0])).any()
