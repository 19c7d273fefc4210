"""Weights on disk are the arrays that were given, however these lie in memory."""

from __future__ import annotations

import numpy as np
import pytest

from grokjax.results.store import GroupStore

BASE = np.arange(24, dtype=np.float32).reshape(4, 6)
ARRAYS = {
    "plain": BASE,
    "transposed": BASE.T,
    "every other column": BASE[:, ::2],
    "one column": BASE[:, 1],
    "backwards": BASE[::-1],
    "scalar": np.float32(3.5),
    "of a scalar": np.array(7, np.int32),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_weights_come_back_as_they_were(name, tmp_path):
    store = GroupStore(tmp_path)
    store.write_weights("run", {"w": np.asarray(ARRAYS[name])}, {"step": "3"})
    found = store.read_weights("run")["w"]
    np.testing.assert_array_equal(found, ARRAYS[name])
    assert found.shape == np.shape(ARRAYS[name])
    assert found.dtype == np.asarray(ARRAYS[name]).dtype


def test_states_come_back_in_order(tmp_path):
    store = GroupStore(tmp_path)
    store.write_state("run", [np.asarray(x) for x in ARRAYS.values()], 4)
    found = store.read_state("run")
    assert found is not None and store.state_evaluations("run") == 4
    for x, y in zip(found, ARRAYS.values(), strict=True):
        np.testing.assert_array_equal(x, y)


def test_what_was_written_does_not_change_with_the_array(tmp_path):
    store, x = GroupStore(tmp_path), BASE.copy()
    store.write_weights("run", {"w": x}, {"step": "3"})
    x[:] = 0
    np.testing.assert_array_equal(store.read_weights("run")["w"], BASE)
