"""Slingshots in made-up histories, where their number, places and sizes are known."""

import numpy as np
import pytest

import analysis
from analysis.slingshots import History, SlingshotRule, find_slingshots, norm_cycles, slingshots_of
from tests.synthetic import Row, write_results

RULE = SlingshotRule()
N = 400
SPIKES = (100, 200, 300)


def history(spikes=SPIKES, height=100.0, missed=True, rests=True, base=1e-4):
    """Memorised at record 20; the norm grows by 1 % a record for 30 records up to each spike, and then rests."""
    record = np.arange(N)
    loss = np.where(record < 20, 1.0, base)
    accuracy = np.where(record < 20, record / 20, 1.0)
    growth = np.zeros(N)
    for at in spikes:
        loss[at : at + 4] = base * height ** np.array([0.6, 1.0, 0.7, 0.2])
        accuracy[at + 1] = 0.9 if missed else 1.0
        growth[at - 30 : at + 1] = 0.01
    if not rests:
        growth[:] = 0.01
    return History(record * 50.0, loss, accuracy, np.exp(growth.cumsum()), np.full(N, np.nan))


def test_every_slingshot_is_found_with_its_place_height_and_gain():
    found = find_slingshots(history(), RULE)
    assert found.memorised_at == 20 * 50
    assert (found.spikes, found.events, found.count) == (3, 3, 3)
    np.testing.assert_array_equal(found.step, [at * 50 for at in SPIKES])
    np.testing.assert_allclose(found.height, 2.0)
    # From ten records before the spike: nine steps of growth up to the last one before it, and one at it.
    np.testing.assert_allclose(found.norm_gain, np.exp(0.1))
    assert found.cycles == 3


def test_a_norm_that_grows_all_along_makes_events_but_no_slingshots():
    found = find_slingshots(history(rests=False), RULE)
    assert (found.events, found.count, found.cycles) == (3, 0, 0)


def test_a_spike_without_a_misclassified_row_is_no_event():
    found = find_slingshots(history(missed=False), RULE)
    assert (found.spikes, found.events) == (3, 0) and found.jumps == 0


def test_a_rise_below_a_decade_counts_only_if_it_is_large_in_nats():
    assert find_slingshots(history(height=9.0), RULE).spikes == 0
    assert find_slingshots(history(height=9.0, base=0.1), RULE).spikes == 3
    # 0.4 to 0.9 is half a nat exactly: not above it.
    one = history((), base=0.4)
    one.loss[150] = 0.9
    assert find_slingshots(one, RULE).spikes == 0


def test_a_slow_rise_over_more_than_the_window_is_no_spike():
    slow = history(())
    slow.loss[100:160] = 1e-4 * 10 ** (np.arange(60) / 20)
    assert find_slingshots(slow, RULE).spikes == 0
    # Twice as fast, the window of ten records sees a decade.
    slow.loss[100:160] = 1e-4 * 10 ** (np.arange(60) / 10)
    assert find_slingshots(slow, RULE).spikes == 1


def test_what_happens_before_memorisation_is_no_slingshot():
    late = history()
    late.accuracy[:250] = 0.99
    found = find_slingshots(late, RULE)
    assert found.memorised_at == 250 * 50 and found.step.tolist() == [300 * 50]
    late.accuracy[:] = 0.99
    found = find_slingshots(late, RULE)
    assert np.isnan(found.memorised_at) and found.events == 0


def test_a_spike_between_two_evaluations_is_seen_in_the_largest_loss():
    hidden = history()
    hidden.loss_max[:] = hidden.loss
    hidden.loss[20:] = 1e-4
    assert find_slingshots(hidden, RULE).count == 3
    hidden.loss_max[:] = np.nan
    assert find_slingshots(hidden, RULE).events == 0


def test_a_jagged_spike_is_one():
    jagged = history((100,))
    jagged.loss[100:108] = 1e-4 * np.array([50, 12, 60, 11, 70, 12, 50, 2])
    assert find_slingshots(jagged, RULE).spikes == 1


def test_the_second_threshold_compares_neighbours():
    jumpy = history(())
    jumpy.loss[100], jumpy.accuracy[200] = 0.51, 0.89
    assert find_slingshots(jumpy, RULE).jumps == 2
    jumpy.loss[100], jumpy.accuracy[200] = 0.49, 0.91
    assert find_slingshots(jumpy, RULE).jumps == 0


@pytest.mark.parametrize("cycles", [0, 1, 4])
def test_cycles_of_the_norm_are_rises_followed_by_rests(cycles):
    growth = np.concatenate([*[np.r_[np.full(20, 0.01), np.zeros(20)]] * cycles, np.full(20, 0.01)])
    assert norm_cycles(np.exp(growth.cumsum()), RULE) == cycles


def test_a_norm_measured_at_every_fourth_evaluation_will_do():
    sparse = history()
    sparse.norm[np.arange(N) % 4 != 0] = np.nan
    assert find_slingshots(sparse, RULE).count == 3


def test_all_runs_of_a_directory_are_searched(tmp_path):
    probes = ("train_loss", "train_accuracy", "output_frobenius", "val_loss", "val_accuracy")

    def row(point):
        h = history(SPIKES[: point["seed"]])
        value = np.stack([h.loss, h.accuracy, h.norm, h.loss, h.accuracy], 1)
        return Row(point, value.astype(np.float32), "finished")

    path = write_results(tmp_path / "x", {"seed": range(4)}, row, (N - 1) * 100, probes)
    dataset = analysis.load(path)
    counts = [found.count for found in slingshots_of(dataset)]
    assert [counts[i] for i in np.argsort(dataset["seed"].to_numpy())] == [0, 1, 2, 3]
