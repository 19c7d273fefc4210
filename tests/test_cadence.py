"""Evaluation steps: three views of one sequence."""

from __future__ import annotations

import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokjax.experiment.cadence import Cadence


@st.composite
def cadences(draw):
    every = draw(st.integers(1, 60))
    if draw(st.booleans()):
        return Cadence(every)
    dense = draw(st.integers(1, 20))
    return Cadence(every, dense, dense * draw(st.integers(1, 12)))


def listed(c, n):
    """The first n evaluation steps, one after the other."""
    steps = [0]
    while len(steps) < n:
        steps.append(steps[-1] + (c.early_every if steps[-1] < c.early_until else c.every))
    return steps


@given(cadences())
@settings(deadline=None, max_examples=50)
def test_three_views_of_one_sequence(c):
    expected = listed(c, 40)
    assert c.steps(40).tolist() == expected
    for step in range(expected[12]):
        assert c.count(step) == sum(s <= step for s in expected)
        assert c.hits(step) == (step in expected)


@given(cadences())
@settings(deadline=None, max_examples=50)
def test_every_evaluation_falls_between_two_blocks(c):
    gaps = {b - a for a, b in zip(listed(c, 39), listed(c, 40)[1:], strict=True)}
    assert all(gap % c.unit == 0 for gap in gaps)


@pytest.mark.parametrize("c", [Cadence(50), Cadence(50, 10, 100), Cadence(7, 3, 6)])
def test_step_of_works_on_arrays(c):
    numbers = jnp.arange(30)
    assert c.step_of(numbers).tolist() == listed(c, 30)


def test_the_dense_beginning_of_the_design():
    c = Cadence(100, early_every=10, early_until=30)
    assert c.steps(6).tolist() == [0, 10, 20, 30, 130, 230]
    assert c.unit == 10
    assert Cadence(100).unit == 100
