"""The forms of accelerators: as accurate as those of the CPU, and what they lower to, on a machine without one."""

from __future__ import annotations

import dataclasses
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.engine import devices
from grokjax.engine.executables import executable_hash, exported
from grokjax.engine.program import Program
from grokjax.experiment.grid import make_groups, make_runs
from grokjax.experiment.loading import load_experiment
from grokjax.keys import order_of
from grokjax.models import linear
from grokjax.models.forms import CPU, GPU, TPU, by_platform, using
from grokjax.training import passes, runstate
from tests.harness import ROOT
from tests.toys import ONE_OF_EACH, toy

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 7)).astype(np.float32)
PARTS = dataclasses.replace(GPU, product_rows=16)
"""Of 40 rows: three products, with two rows of padding."""


# -- each form beside float64 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forms", "shape"), [*itertools.product([CPU, GPU], [(9,), (3, 4)]), (PARTS, (50,))]
)
def test_the_gradient_of_looked_up_rows_adds_them(forms, shape) -> None:
    rows, g = RANDOM.integers(40, size=shape), RANDOM.normal(size=(*shape, 7)).astype(np.float32)
    with using(forms):
        value, back = jax.vjp(lambda x: linear.rows_of(x, jnp.asarray(rows)), jnp.asarray(X))
        (gradient,) = back(jnp.asarray(g))
    np.testing.assert_array_equal(value, X[rows])
    expected = np.zeros((40, 7))
    np.add.at(expected, rows, g.astype(np.float64))
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("forms", [CPU, GPU])
def test_rows_of_several_axes_are_looked_up(forms) -> None:
    x, rows = RANDOM.normal(size=(5, 2, 3)).astype(np.float32), jnp.array([4, 4, 0])
    with using(forms):
        gradient = jax.grad(lambda x: (linear.rows_of(x, rows) ** 2).sum())(jnp.asarray(x))
    expected = np.zeros_like(x)
    np.add.at(expected, np.asarray(rows), 2 * x[np.asarray(rows)])
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("forms", "name"),
    [
        *itertools.product([CPU, GPU], ["column_sums", "row_sums", "weight_gradient"]),
        (PARTS, "weight_gradient"),
    ],
)
def test_sums_and_gradients_agree_with_float64(forms, name) -> None:
    exact, g = X.astype(np.float64), RANDOM.normal(size=(40, 3)).astype(np.float32)
    with using(forms):
        if name == "weight_gradient":
            computed, expected = linear.weight_gradient(jnp.asarray(X), jnp.asarray(g)), exact.T @ g
        else:
            computed = getattr(linear, name)(jnp.asarray(X))
            expected = exact.sum(0 if name == "column_sums" else 1)
    np.testing.assert_allclose(computed, expected, rtol=1e-5, atol=1e-5)


def test_a_gradient_in_parts_is_a_product_for_each_part() -> None:
    def compiled(forms) -> str:
        with using(forms):
            # A new function each time, because jit remembers the trace of one that it has seen.
            gradient = jax.jit(lambda x, g: linear.weight_gradient(x, g))
            lowered = gradient.lower(jnp.asarray(X), jnp.ones((40, 3)))
        return lowered.compile().as_text()

    assert "f32[3,7,3]" in compiled(PARTS)
    assert "f32[3,7,3]" not in compiled(GPU)


def test_scores_are_ordered_as_floats_are() -> None:
    scores = jnp.asarray([*RANDOM.random(500), 0.0, 0.5, 0.5, 2.0, 2.0, 1e-30], jnp.float32)
    np.testing.assert_array_equal(order_of(scores), np.argsort(scores, kind="stable"))


def test_forms_end_with_their_block_and_follow_the_platform() -> None:
    assert [by_platform(p) for p in ("cpu", "gpu", "tpu")] == [CPU, GPU, TPU]
    with pytest.raises(ValueError), using(TPU):
        raise ValueError
    scattered = str(jax.make_jaxpr(jax.grad(lambda x: linear.rows_of(x, jnp.arange(2)).sum()))(X))
    assert "scatter" in scattered


# -- whole programs ----------------------------------------------------------------------------------------------------


def program_of(name: str, forms=None, *words: str) -> Program:
    config = ROOT / "configs" / f"{name}.yaml"
    first = load_experiment(config, [*toy(config, 1), *words])
    group = make_groups(make_runs(first))[0]
    return Program(runstate.make_setup(group), devices.make_mesh(1), 2, 2, forms)


@pytest.mark.parametrize(
    "name", ["quickstart", pytest.param("source_002/random_split", marks=pytest.mark.soak)]
)
def test_a_gradient_with_the_forms_of_a_gpu_is_that_of_the_cpu(name) -> None:
    config = ROOT / "configs" / f"{name}.yaml"
    group = make_groups(make_runs(load_experiment(config, toy(config, 1))))[0]
    setup = runstate.make_setup(group)
    data, hyper = runstate.make_data(setup), runstate.make_hyper(group.first)
    params = passes.init_params(setup, hyper)
    index = jnp.arange(setup.bucket)
    gradients = []
    for forms in (CPU, GPU):
        with using(forms):

            def loss(p):
                logits = passes.row_logits(setup, data, p, index)
                return (logits**2).mean()

            gradients.append(jax.jit(jax.grad(loss))(params))
    for a, b in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * float(jnp.abs(a).max()) + 1e-9)


LOWERED = {
    "cuda": GPU,
    "tpu": TPU,
}
WITH_EIGENVALUES = {"feature_rank", "feature_spectrum", "dimensionality"}
EIGENVALUES = {"cusolver_syevd_ffi", "cusolver_syevj_ffi", "Eigh"}


def check_lowered(text: str, eigen: bool) -> None:
    """No float32 scatter-add, no sort of floats; products in float32; custom calls only for eigenvalues."""
    adds = re.findall(r'"stablehlo.scatter"\([^\n]*\n(.*?)\}\) :', text, re.DOTALL)
    assert not any("stablehlo.add" in body and "f32" in body for body in adds)
    sorts = re.findall(r'"stablehlo.sort"\([^\n]*\n(.*?)\}\) :', text, re.DOTALL)
    assert not any(re.search(r"compare.*f32", body) for body in sorts), "a sort of floats"
    products = re.findall(r"stablehlo.dot_general.*", text)
    assert products and all("HIGHEST, HIGHEST" in p for p in products if "f32" in p)
    calls = set(re.findall(r"stablehlo.custom_call @([\w$.]+)", text))
    assert calls <= (EIGENVALUES if eigen else set())


@pytest.mark.soak
@pytest.mark.parametrize("platform", LOWERED)
@pytest.mark.parametrize("kind", ONE_OF_EACH)
def test_programs_lower_for_accelerators(kind, platform) -> None:
    program = program_of(ONE_OF_EACH[kind], LOWERED[platform])
    eigen = {p.kind for p in program.setup.settings.probes} & WITH_EIGENVALUES
    check_lowered(exported(program, platform), bool(eigen))


@pytest.mark.soak
@pytest.mark.parametrize(
    ("precision", "words"),
    [
        ("tf32", "lhs_precision_type = tf32"),
        ("bfloat16", "lhs_precision_type = bf16"),
        ("float32x3", "num_primitive_operations = 3"),
    ],
)
def test_products_are_asked_for_in_the_precision_of_the_setting(precision, words) -> None:
    text = exported(program_of("quickstart", GPU, f"train.precision={precision}"), "cuda")
    assert any(words in line for line in text.splitlines() if "stablehlo.dot_general" in line)


def test_the_quickstart_lowers_for_cuda() -> None:
    check_lowered(exported(program_of("quickstart", GPU), "cuda"), eigen=False)


def test_the_check_of_what_is_lowered_can_fail() -> None:
    with pytest.raises(AssertionError):
        check_lowered(exported(program_of("quickstart", CPU), "cuda"), eigen=False)


@pytest.mark.soak
def test_equal_programs_have_equal_hashes() -> None:
    one, same = (executable_hash(program_of("quickstart")) for _ in range(2))
    other = executable_hash(program_of("quickstart", None, "model.d_model=16"))
    assert one == same != other
