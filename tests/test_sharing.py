"""The shared forward pass against the dense one, gradients included, and the number of rows it executes."""

from __future__ import annotations

import dataclasses
import functools
from typing import get_args

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.losses import cross_entropy
from grokjax.models import Model, tensor_names
from grokjax.models.mlp import MLPSettings
from grokjax.models.quadratic import QuadraticSettings
from grokjax.models.sharing_plan import _distinct_rows, make_plan, n_rows_executed
from grokjax.models.transformer_settings import Placement, TransformerSettings
from grokjax.tasks import make_table
from grokjax.tasks.modular import Modular
from grokjax.tasks.permutation import Permutation

PLACEMENTS = get_args(Placement)
SMALL = {"d_model": 6, "n_heads": 2, "d_mlp": 5}


def read_at(table, *positions):
    """The table with an answer read at each of the positions, all with the same target."""
    targets_NA = np.repeat(table.targets_NA[:, :1], len(positions), axis=1)
    return dataclasses.replace(table, targets_NA=targets_NA, answer_positions=positions)


def with_repeated_rows(table):
    """Rows that occur twice, in no order, as a drawn sample has them."""
    rows = np.random.default_rng(0).integers(table.n_rows, size=2 * table.n_rows)
    cut = {name: getattr(table, name)[rows] for name in ("tokens_NT", "targets_NA", "operands_N2")}
    return dataclasses.replace(table, **cut)


MODULAR = make_table(Modular(p=5, operation="x/y"))
TABLES = {
    "a b =": MODULAR,
    "a op b =": make_table(Modular(p=4, format="a op b =", operation="x-y")),
    "permutation": make_table(Permutation(group="S3", operation="xyx^-1", format="a op b =")),
    "answers everywhere": read_at(make_table(Modular(p=5)), 0, 1, 2),
    "answers inside": read_at(make_table(Modular(p=4, format="a op b =")), 1, 2),
    "repeated rows": with_repeated_rows(MODULAR),
}


def sweep():
    """Placements, depths, tables, masks and selections of rows go round at different paces."""
    selections = ("all", "subset", "batch of 3")
    for i in range(12):
        ln, n_layers = PLACEMENTS[i % 9], 1 + (i + i // 9) % 3
        table, which = list(TABLES)[(i + i // 6) % 6], selections[(i // 2 + i // 6) % 3]
        name = f"{ln}-{n_layers}-{table}-{which}"
        marks = () if i == 0 else pytest.mark.soak
        yield pytest.param(table, ln, n_layers, i % 4 != 3, which, id=name, marks=marks)


def select(table, which):
    """Rows to execute, and the argument that says so."""
    if which == "all":
        return np.arange(table.n_rows), None
    n = 3 if which == "batch of 3" else table.n_rows * 2 // 3
    rows = np.random.default_rng(1).permutation(table.n_rows)[:n]
    return rows, jnp.asarray(rows)


def assert_equal_to_dense(model, rows, index_N, rtol=1e-5):
    """Logits, and the gradient of a loss that weighs every row differently."""
    table = model.table
    labels = jnp.asarray(table.targets_NA[rows])
    weights = jnp.linspace(1, 2, len(rows))[:, None]
    plan = model.plan(len(rows))
    tokens_NT = jnp.asarray(table.tokens_NT[rows])

    def loss(logits_NAC):
        return (cross_entropy(logits_NAC, labels) * weights).mean(), logits_NAC

    # Compiled without optimisation: these are many small programs, each run once.
    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def both(params, plan, index_N, tokens_NT):
        shared = jax.grad(lambda p: loss(model.apply(p, plan, index_N)), has_aux=True)(params)
        return shared, jax.grad(lambda p: loss(model.dense(p, tokens_NT)), has_aux=True)(params)

    shapes = jax.eval_shape(model.init, jax.random.key(0))
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: jnp.asarray(rng.normal(0.5 * (x.ndim == 1), 0.4, x.shape), jnp.float32), shapes
    )
    (grads, logits), (expected, dense) = both(params, plan, index_N, tokens_NT)
    assert logits.shape == (len(rows), len(table.answer_positions), table.n_classes)
    np.testing.assert_allclose(logits, dense, rtol=rtol, atol=rtol)
    grads, expected = tensor_names(grads), tensor_names(expected)
    largest = max(np.linalg.norm(g) for g in expected.values())
    for name, g in expected.items():
        error = np.linalg.norm(grads[name] - g)
        assert error <= rtol * max(np.linalg.norm(g), 1e-2 * largest), name


@pytest.mark.parametrize(("table", "ln", "n_layers", "causal", "which"), list(sweep()))
def test_shared_transformer_is_the_dense_one(table, ln, n_layers, causal, which):
    settings = TransformerSettings(ln=ln, n_layers=n_layers, causal=causal, **SMALL)
    model = Model(settings, TABLES[table])
    assert_equal_to_dense(model, *select(TABLES[table], which))


@st.composite
def combinations(draw):
    """Anything that the sharing plan must serve."""
    settings = {
        "ln": draw(st.sampled_from(PLACEMENTS)),
        "n_layers": draw(st.integers(1, 4)),
        "causal": draw(st.booleans()),
        "ln_kind": draw(st.sampled_from(["layer", "rms"])),
        "final_ln": draw(st.booleans()),
        "attn_bias": draw(st.booleans()),
        "n_heads": draw(st.sampled_from([1, 2, 3])),
    }
    selection = draw(st.sampled_from(["all", "subset", "batch of 3"]))
    return settings, draw(st.sampled_from(list(TABLES))), selection


@pytest.mark.soak
@hypothesis.settings(max_examples=15, deadline=None, derandomize=True)
@hypothesis.given(combinations())
def test_shared_transformer_is_the_dense_one_for_any_combination(combination):
    settings, table, which = combination
    model = Model(TransformerSettings(**SMALL | settings), TABLES[table])
    # Rounding grows with depth, and weighs most in gradients that nearly cancel; a wrong row is an error of order 1.
    assert_equal_to_dense(model, *select(TABLES[table], which), rtol=1e-4)


@pytest.mark.soak
def test_a_single_head_is_the_dense_one():
    model = Model(TransformerSettings(**SMALL | {"n_heads": 1, "n_layers": 2}), TABLES["a op b ="])
    assert_equal_to_dense(model, *select(model.table, "subset"))


@pytest.mark.soak
@pytest.mark.parametrize(
    "options",
    [
        {"n_layers": 2, "attn_bias": True, "unembed_bias": True, "positions": "sinusoidal"},
        {
            "n_layers": 2,
            "tied": True,
            "final_ln": True,
            "ln_kind": "rms",
            "activation": "gelu",
            "causal": False,
        },
    ],
)
def test_shared_transformer_options_are_the_dense_ones(options):
    model = Model(TransformerSettings(**SMALL, **options), TABLES["a op b ="])
    assert_equal_to_dense(model, *select(model.table, "subset"))


@pytest.mark.parametrize(
    ("table", "which"), [("a b =", "all"), ("permutation", "subset"), ("a op b =", "batch of 3")]
)
@pytest.mark.parametrize(
    "settings",
    [MLPSettings(d_model=3, hidden=(5, 4)), QuadraticSettings(d_mlp=5)],
    ids=["mlp", "quadratic"],
)
def test_shared_mlps_are_the_dense_ones(settings, table, which):
    assert_equal_to_dense(Model(settings, TABLES[table]), *select(TABLES[table], which))


@pytest.mark.soak
def test_model_without_sharing_is_the_dense_one():
    table = TABLES["a b ="]
    model = Model(TransformerSettings(n_layers=2, **SMALL), table)
    unshared = make_plan(table, 2, True, table.n_rows, share=False)
    assert n_rows_executed(unshared, table.n_rows) == [3 * 20, 3 * 20, 20]
    model.plan = lambda n_rows: unshared
    assert_equal_to_dense(model, *select(table, "all"))


# The plan -------------------------------------------------------------------------------------------------------------


def sizes(plan):
    return [[block.size for block in depth] for depth in plan]


def test_plan_of_modular_addition():
    plan = make_plan(make_table(Modular(p=113)), 1, True, 3831)
    assert sizes(plan) == [[113, 113, 1], [None]]
    assert n_rows_executed(plan, 3831) == [227, 3831]


def test_plan_of_two_causal_layers():
    plan = make_plan(make_table(Modular(p=97, format="a op b =")), 2, True, 4705)
    assert sizes(plan) == [[97, 1, 97, 1], [97, 97, None, None], [None]]
    assert n_rows_executed(plan, 4705) == [196, 2 * 97 + 2 * 4705, 4705]


def test_plan_of_a_batch_smaller_than_the_vocabulary_shares_what_is_constant():
    plan = make_plan(make_table(Modular(p=113, format="a op b =")), 1, True, 64)
    assert sizes(plan) == [[None, 1, None, 1], [None]]


@pytest.mark.parametrize(
    ("n_rows", "largest"), [(1, [4]), (40, [1, 3, 0, 2]), (3000, [238, 9, 238])]
)
def test_distinct_rows_are_those_of_numpy_in_its_order(n_rows, largest):
    rows = np.random.default_rng(0).integers(0, np.array(largest) + 1, (n_rows, len(largest)))
    first, codes = _distinct_rows(rows)
    expected = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    assert np.array_equal(rows[first], expected[0])
    assert np.array_equal(first, expected[1]) and np.array_equal(codes, expected[2].reshape(-1))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("n", [3, 17, 10**6])
def test_plan_executes_the_distinct_contexts(table, causal, n):
    """Counted by hand: what a position has seen, as a set of tuples; no more rows than are executed."""
    table, n_layers = TABLES[table], 2
    n = min(n, table.n_rows)
    rows = [tuple(row) for row in table.tokens_NT.tolist()]
    width = len(rows[0])

    def count(positions, seen):
        return sum(min(n, len({seen(row, t) for row in rows})) for t in positions)

    def context(row, t):
        return row[: t + 1] if causal else row

    expected = [count(range(width), lambda row, t: row[t]), count(range(width), context)]
    expected.append(count(table.answer_positions, context))
    assert n_rows_executed(make_plan(table, n_layers, causal, n), n) == expected
