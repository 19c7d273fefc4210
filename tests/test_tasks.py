"""Tables against brute force: plain Python arithmetic and permutations as dictionaries."""

from __future__ import annotations

import math
import re
from itertools import permutations
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from grokjax.settings import leaves
from grokjax.tasks import TASKS, make_table
from grokjax.tasks.equations import FORMATS
from grokjax.tasks.modular import OPERATIONS, Modular
from grokjax.tasks.permutation import OPERATIONS as PRODUCTS
from grokjax.tasks.permutation import Permutation


def quotient(x, y, p):
    """The z with zy = x, by trying them all."""
    (z,) = (z for z in range(p) if z * y % p == x)
    return z


SPECIAL = {
    "x/y": quotient,
    "x*y, y != 0": lambda x, y, p: x * y % p,
    "x/y if y odd else x-y": lambda x, y, p: quotient(x, y, p) if y % 2 else (x - y) % p,
}
"""What an operation gives whose name is no polynomial. `random` has tests of its own."""
POLYNOMIAL = re.compile(r"[xy0-9^+*-]+")


def polynomial(name):
    """The function that a name such as x^2+xy says, modulo p, in Python's whole numbers."""
    if not POLYNOMIAL.fullmatch(name):
        pytest.fail(f"{name} is no polynomial in x and y; say in SPECIAL what it gives")
    written = re.sub(r"(?<=[xy0-9])(?=[xy])", "*", name).replace("^", "**")
    return lambda x, y, p: eval(written, {"x": x, "y": y}) % p


REQUIRED = {"written": {"cells": [["a", "?"], ["b", "a"]]}}
"""Settings of a task that have no default."""
SMALL = [
    *(Modular(operation=name, p=p) for name in OPERATIONS for p in (7, 13)),
    *(Permutation(group=group, operation=name) for name in PRODUCTS for group in ("S3", "S4")),
]


def answers(table):
    """{(x, y): answer}"""
    pairs = map(tuple, table.operands_N2.tolist())
    return dict(zip(pairs, table.targets_NA[:, 0].tolist(), strict=True))


def compose(first, second):
    """Permutations as dictionaries: first one, then the other."""
    return {point: second[image] for point, image in first.items()}


def invert(permutation):
    return {image: point for point, image in permutation.items()}


def is_even(permutation):
    """An even permutation has as many points as cycles, modulo 2."""
    points, n_cycles = set(permutation), 0
    while points:
        n_cycles, point = n_cycles + 1, next(iter(points))
        while point in points:
            points.remove(point)
            point = permutation[point]
    return (len(permutation) - n_cycles) % 2 == 0


def group_by_hand(group):
    every = [dict(enumerate(images)) for images in sorted(permutations(range(int(group[1]))))]
    return [element for element in every if group[0] == "S" or is_even(element)]


@pytest.mark.parametrize("p", [7, 13])
@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name != "random"])
def test_modular_answers_match_plain_arithmetic(operation, p):
    rows = answers(make_table(Modular(operation=operation, p=p)))
    expected = SPECIAL.get(operation) or polynomial(operation)
    assert rows == {(x, y): expected(x, y, p) for x, y in rows}
    skipped = {(x, 0) for x in range(p)} if OPERATIONS[operation].skips_zero else set()
    assert set(rows) == {(x, y) for x in range(p) for y in range(p)} - skipped


def test_polynomials_do_not_overflow_32_bits():
    p = 1301
    table = make_table(Modular(operation="x^3+xy^2+y", p=p))
    last = tuple(table.operands_N2[-1].tolist())
    assert last == (p - 1, p - 1)
    assert table.targets_NA[-1, 0] == polynomial("x^3+xy^2+y")(p - 1, p - 1, p)


def test_every_operation_has_a_function_and_an_expectation():
    assert list(get_args(Modular.model_fields["operation"].annotation)) == list(OPERATIONS)
    assert list(get_args(Permutation.model_fields["operation"].annotation)) == list(PRODUCTS)
    assert SPECIAL.keys() <= OPERATIONS.keys()


@pytest.mark.parametrize(
    ("name", "answer"), [("x^2-y^2", 4 - 9), ("x^3+xy^2+y", 8 + 18 + 3), ("2x+y", 7), ("xy", 6)]
)
def test_a_name_is_read_as_the_polynomial_that_it_says(name, answer):
    assert polynomial(name)(2, 3, 101) == answer % 101


def test_a_name_that_is_no_polynomial_asks_for_an_expectation():
    with pytest.raises(pytest.fail.Exception, match="say in SPECIAL what it gives"):
        polynomial("max(x,y)")


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([2, 3, 5, 31, 97, 113]), st.data())
def test_division_inverts_multiplication(p, data):
    table = make_table(Modular(operation="x/y", p=p))
    row = data.draw(st.integers(0, table.n_rows - 1))
    (x, y), z = table.operands_N2[row].tolist(), int(table.targets_NA[row, 0])
    assert z * y % p == x


@pytest.mark.parametrize(
    ("task", "n_rows"),
    [
        (Modular(operation="x+y", p=97), 9409),
        (Modular(operation="x/y", p=97), 9312),
        (Modular(operation="x/y if y odd else x-y", p=97), 9409),
        (Permutation(group="S5"), 14400),
        (Permutation(group="A5"), 3600),
        (Permutation(group="S4"), 576),
        (Permutation(group="S3"), 36),
    ],
)
def test_row_counts_of_the_sources(task, n_rows):
    assert make_table(task).n_rows == n_rows


@pytest.mark.parametrize(
    ("task", "first_row", "n_vocab", "n_classes"),
    [
        (Modular(p=113), [0, 0, 113], 114, 114),
        (Modular(p=97, format="a b"), [0, 0], 97, 97),
        (Modular(p=97, format="a b", classes="p+1"), [0, 0], 97, 98),
        (Modular(p=97, format="a op b ="), [0, 97, 0, 98], 99, 99),
        (Modular(p=97, format="a op b =", classes="p"), [0, 97, 0, 98], 99, 97),
        (Modular(p=97, format="a op b =", classes="p+1"), [0, 97, 0, 98], 99, 98),
        (Permutation(), [0, 0, 120], 121, 121),
        (Permutation(format="a op b ="), [0, 120, 0, 121], 122, 122),
        (Permutation(group="A5", classes="elements"), [0, 0, 60], 61, 60),
        (Permutation(group="A5", classes="elements+1"), [0, 0, 60], 61, 61),
    ],
)
def test_layout_follows_format_and_classes(task, first_row, n_vocab, n_classes):
    table = make_table(task)
    assert table.tokens_NT[0].tolist() == first_row
    assert (table.n_vocab, table.n_classes) == (n_vocab, n_classes)
    assert table.answer_positions == (len(first_row) - 1,)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("task", SMALL, ids=lambda task: f"{task.kind}-{task.operation}")
def test_tables_keep_the_contract(task, format):
    table = make_table(task.model_copy(update={"format": format}))
    x_N, y_N = table.operands_N2.T
    assert {a.dtype for a in (table.tokens_NT, table.targets_NA, table.operands_N2)} == {
        np.dtype(np.int32)
    }
    words, ends = FORMATS[format], "c" in FORMATS[format]
    assert table.targets_NA.shape == (table.n_rows, 1 + ends)
    assert table.tokens_NT.min() >= 0 and table.tokens_NT.max() == table.n_vocab - 1
    assert table.targets_NA.min() >= 0 and table.targets_NA[:, 0].max() < table.n_answers
    assert table.n_answers <= table.n_classes
    row_NT = (
        np.concatenate([table.tokens_NT, table.targets_NA[:, -1:]], 1) if ends else table.tokens_NT
    )
    symbols = {"a": x_N, "b": y_N, "c": table.targets_NA[:, 0]}
    for word, tokens_N in zip(words, row_NT.T, strict=True):
        expected = symbols.setdefault(word, np.full_like(x_N, table.n_answers + len(symbols) - 3))
        assert (tokens_N == expected).all(), word
    assert (np.diff(x_N * table.n_answers + y_N) > 0).all(), "rows ascend in (x, y)"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_modular_commutativity(operation):
    table = make_table(Modular(operation=operation, p=13))
    by_pair = answers(table)
    both = [pair for pair in by_pair if pair[::-1] in by_pair]
    assert table.commutative == all(by_pair[pair] == by_pair[pair[::-1]] for pair in both)
    if operation in ("x+y", "x-y", "x*y", "x/y", "x^2+y^2"):
        assert table.commutative == (operation not in ("x-y", "x/y"))


@pytest.mark.parametrize("operation", PRODUCTS)
def test_permutation_groups_do_not_commute(operation):
    assert not make_table(Permutation(group="S3", operation=operation)).commutative


def test_commutativity_is_computed_where_both_orders_exist():
    # 1/2 = 2/1 modulo 3, and (0, y) has no mirror; subtraction is addition modulo 2.
    assert make_table(Modular(operation="x/y", p=3)).commutative
    assert make_table(Modular(operation="x-y", p=2)).commutative


@pytest.mark.parametrize("task", SMALL, ids=lambda task: f"{task.kind}-{task.operation}")
def test_mirror_is_an_involution_that_swaps_operands(task):
    table = make_table(task)
    mirror_N = table.mirror_N()
    rows = np.flatnonzero(mirror_N >= 0)
    assert (mirror_N[mirror_N[rows]] == rows).all()
    assert (table.operands_N2[mirror_N[rows]] == table.operands_N2[rows, ::-1]).all()
    without = [pair for pair in answers(table) if pair[::-1] not in answers(table)]
    assert table.operands_N2[mirror_N < 0].tolist() == list(map(list, without))
    same = table.targets_NA[mirror_N[rows]] == table.targets_NA[rows]
    assert same.all() == table.commutative


def test_random_table_depends_on_its_seed_alone():
    first, again, other = (
        make_table(Modular(operation="random", p=97, table_seed=seed)).targets_NA
        for seed in (3, 3, 4)
    )
    assert (first == again).all()
    assert (first == other).mean() < 0.05
    other_layout = Modular(operation="random", p=97, table_seed=3, format="a op b =", classes="p")
    assert (make_table(other_layout).targets_NA == first).all()


def test_random_answers_are_uniform():
    counts = np.bincount(make_table(Modular(operation="random", p=97)).targets_NA[:, 0])
    chi_square = ((counts - 97) ** 2 / 97).sum()
    assert len(counts) == 97
    assert abs(chi_square - 96) < 5 * math.sqrt(2 * 96)


@pytest.mark.parametrize("operation", ["x/y", "x/y if y odd else x-y"])
@pytest.mark.parametrize(
    ("p", "advice"), [(12, "use 11 or 13"), (4, "use 3 or 5"), (4096, "use 4093")]
)
def test_division_refuses_a_composite_modulus(operation, p, advice):
    sentence = f"p: {p} is not prime, but {operation} needs a modular inverse; {advice}"
    with pytest.raises(ValidationError, match=re.escape(sentence)):
        Modular(operation=operation, p=p)


@pytest.mark.soak
def test_division_accepts_exactly_the_primes():
    primes = {p for p in range(2, 200) if all(math.gcd(p, d) == 1 for d in range(2, p))}
    for p in primes:
        assert Modular(operation="x/y", p=p).p == p
    for p in set(range(2, 200)) - primes:
        with pytest.raises(ValidationError, match="is not prime"):
            Modular(operation="x/y", p=p)


def test_composite_modulus_is_fine_without_division():
    assert make_table(Modular(operation="x*y", p=12)).n_rows == 144


@pytest.mark.parametrize(
    "wrong",
    [{"p": 1}, {"p": 4097}, {"p": 7.0}, {"operation": "x%y"}, {"table_seed": -1}, {"q": 7}],
    ids=str,
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        Modular(**wrong)


@pytest.mark.parametrize("kind", TASKS)
def test_settings_are_shapes_with_a_meaning(kind):
    task = TASKS[kind].settings(**REQUIRED.get(kind, {}))
    # Only the size of a sample of numbers is no part of a program.
    others = [leaf.name for leaf in leaves(task) if leaf.role != "shape"]
    assert others == (["n_train"] if getattr(make_table(task), "traced_size", False) else [])
    undocumented = [leaf.name for leaf in leaves(task) if not leaf.field.description]
    assert undocumented == ["kind"]
    assert task.kind == kind


@pytest.mark.parametrize("group", ["S3", "S4", "A5"])
@pytest.mark.parametrize("operation", PRODUCTS)
def test_permutation_answers_match_composition_by_hand(group, operation):
    elements = group_by_hand(group)
    for (x, y), z in answers(make_table(Permutation(group=group, operation=operation))).items():
        first, second = elements[x], elements[y]
        last = {"xy": None, "xyx^-1": invert(first), "xyx": first}[operation]
        product = compose(first, second)
        assert elements[z] == (product if last is None else compose(product, last))


@pytest.mark.parametrize("group", ["S3", "S4", "S5", "A5"])
def test_composition_is_a_group(group):
    table = make_table(Permutation(group=group))
    n = table.n_answers
    product = table.targets_NA.reshape(n, n)
    assert (product[0] == np.arange(n)).all() and (product[:, 0] == np.arange(n)).all()
    assert (np.sort(product, axis=0) == np.arange(n)[:, None]).all()
    assert (np.sort(product, axis=1) == np.arange(n)).all()
    x, y, z = np.random.default_rng(0).integers(n, size=(3, 2000))
    assert (product[product[x, y], z] == product[x, product[y, z]]).all()


def test_conjugation_keeps_the_cycle_type():
    table = make_table(Permutation(group="S5", operation="xyx^-1"))
    elements = group_by_hand("S5")
    fixed = np.array([sum(element[i] == i for i in range(5)) for element in elements])
    assert (fixed[table.targets_NA[:, 0]] == fixed[table.operands_N2[:, 1]]).all()
