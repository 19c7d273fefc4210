"""Labels of numbers: as short as tells them apart, while tables keep the values themselves."""

from __future__ import annotations

import numpy as np
import pytest

import analysis
from analysis.numbers import number_texts
from tests.test_figures import FRACTION, study_of


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (np.linspace(0.3, 0.8, 10), "0.3 0.36 0.41 0.47 0.52 0.58 0.63 0.69 0.74 0.8"),
        ([0.25, 0.5, 0.75], "0.25 0.5 0.75"),
        ([0.125, 0.5], "0.125 0.5"),
        ([31, 113, 4093, 10007], "31 113 4093 10007"),
        (np.logspace(-1, 1, 7), "0.1 0.22 0.46 1 2.2 4.6 10"),
        (np.logspace(-4, -2, 3), "0.0001 0.001 0.01"),
        ([0.1 + 0.2, 0.9], "0.3 0.9"),
        ([0.50001, 0.50002], "0.50001 0.50002"),
        ([1e-5, 250000], "1e-5 250000"),
        ([41111.1, 82222.2], "41000 82000"),
        ([-1, 0], "-1 0"),
        ([1 / 3], "0.33"),
    ],
)
def test_numbers_are_as_short_as_they_can_be(values, texts):
    assert number_texts(list(values)) == texts.split()


def test_labels_of_joint_settings_are_short_too(tmp_path):
    joint = {f"{FRACTION}, model.n_layers": [(1 / 3, 1), (1 / 3, 2), (2 / 3, 1)]}
    (axis,) = study_of(tmp_path / "x", joint).axes
    assert axis.texts == ["0.33, 1", "0.33, 2", "0.67, 1"]


def test_the_table_of_cells_keeps_the_values_themselves(tmp_path):
    values = np.linspace(0.3, 0.8, 10).tolist()
    study = study_of(tmp_path / "x", {FRACTION: values})
    found = analysis.table.cell_columns(study)[FRACTION]
    np.testing.assert_array_equal(found, values)
