"""Quantities of source 001, from made-up curves whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.sources.core.claims import MissingError, Results
from analysis.sources.source_001 import special
from tests.synthetic import PROBES, Row, write_results

STEP = np.arange(0, 1001, 100)
NAMES = (
    *PROBES,
    "restricted_loss",
    *(f"val_loss/digit_{i}" for i in range(3)),
    *(f"val_loss/copy_{i}" for i in (1, 2, 3)),
)


def falling(at: float, high: float = 4.0, low: float = 0.05) -> np.ndarray:
    return np.where(at <= STEP, low, high)


def row(point: dict) -> Row:
    """Seed s is s evaluations later in everything but the training loss."""
    late = 100 * point["seed"]
    val = falling(700 + late) + np.where(STEP == 300, 6.0, 0.0)
    columns = {
        "train_loss": falling(200),
        "train_accuracy": np.ones(len(STEP)),
        "val_loss": val,
        "val_accuracy": np.ones(len(STEP)),
        "restricted_loss": np.where(STEP % 200 == 0, falling(500, 4.0, 0.01), np.nan),
        "val_loss/digit_0": falling(100),
        "val_loss/digit_1": falling(400 + late),
        "val_loss/digit_2": falling(300),
        "val_loss/copy_1": np.full(len(STEP), 4.5),
        "val_loss/copy_2": falling(400, 4.5, 1.0),
        "val_loss/copy_3": falling(400, 4.5, 0.5),
    }
    value = np.stack([columns[name] for name in NAMES], 1)
    return Row(point, value.astype(np.float32), "finished")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    path = tmp_path_factory.mktemp("results")
    write_results(path / "made_up", {"seed": range(3)}, row, 1000, NAMES)
    return Results(path).runs("made_up")


def test_steps_between_two_curves(runs):
    np.testing.assert_array_equal(special.gap(runs, 0.1).values, [500, 600, 700])


def test_a_fall_counts_from_the_peak_on(runs):
    # The peak is at 300; only from there on is the loss looked for.
    np.testing.assert_array_equal(
        special.falls_from_peak(runs, "val_loss", 4.0).values, [400, 400, 400]
    )
    np.testing.assert_array_equal(
        special.falls_from_peak(runs, "val_loss", 1.0).values, [700, 800, 900]
    )


def test_peaks_and_ends_are_told_as_ratios(runs):
    np.testing.assert_allclose(special.peak_over_start(runs, "val_loss").values, 2.5)
    np.testing.assert_allclose(special.end_over_peak(runs, "val_loss").values, 0.005)


def test_digits_are_read_in_their_order(runs):
    assert special.digits(runs) == [f"val_loss/digit_{i}" for i in range(3)]
    np.testing.assert_array_equal(special.last_digit(runs, 1.0).values, [400, 500, 600])
    np.testing.assert_array_equal(special.digits_in_order(runs, 1.0).values, 0.5)


def test_what_is_learned_in_context_is_the_last_copy_minus_the_first(runs):
    np.testing.assert_allclose(special.in_context(runs).values, -4.0)
    whole = special.with_in_context(runs)
    curve = whole["value"].sel(probe="in_context").to_numpy()
    np.testing.assert_allclose(curve[0], np.where(STEP >= 400, -4.0, 0.0))
    assert special.copies(whole) == special.copies(runs)


def test_the_restricted_loss_is_held_against_the_loss_of_the_same_step(runs):
    # The loss is below 1 from 700, 800 and 900 on; the restricted loss is measured at every second evaluation.
    np.testing.assert_allclose(special.restricted_before(runs, 1.0).values, 0.01 / 0.05, rtol=1e-5)


def test_what_was_not_measured_is_missing(runs):
    without = runs.sel(probe=[n for n in NAMES if "/" not in n])
    for read in (special.digits, special.copies):
        with pytest.raises(MissingError, match="measured alone in made_up"):
            read(without)
