"""Splits: the sources' counts, partitions, padding."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokjax.settings import Kind, SettingError, hyper, shape
from grokjax.splits import (
    SPLITS,
    AnswerSplit,
    PairSplit,
    RandomSplit,
    SplitSettings,
    add_label_noise,
    bucket_of,
    draw_split,
    make_split,
    row_weights,
    share_of,
    training_index,
)
from grokjax.tasks import make_table
from grokjax.tasks.modular import Modular

P113 = make_table(Modular(p=113))
P97 = make_table(Modular(p=97, format="a op b ="))
P7 = make_table(Modular(p=7))
DIVISION = make_table(Modular(p=7, operation="x/y"))


@pytest.fixture(autouse=True)
def strict():
    """Broadcasts are written out in the splits."""
    with jax.numpy_rank_promotion("raise"):
        yield


def draw(seed, split, table, counts=None):
    """Mask over the table of the rows that train."""
    counts = jnp.asarray(split.counts if counts is None else counts, jnp.int32)
    strata = tuple(map(jnp.asarray, split.strata_UW))
    return draw_split(jax.random.key(seed), strata, counts, table.n_rows)


# Counts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.parametrize(
    ("table", "split", "n_train"),
    [
        (P113, RandomSplit(train_fraction=0.3), 3830),
        (P113, RandomSplit(train_fraction=0.3, rounding="ceil"), 3831),
        (P113, RandomSplit(train_fraction=0.3, rounding="round"), 3831),
        (P97, RandomSplit(train_fraction=0.8, rounding="ceil"), 7528),
        (P97, AnswerSplit(validation_below=20), 7469),
    ],
)
def test_counts_of_the_sources(table, split, n_train):
    made = make_split(split, table)
    assert made.n_train == n_train
    assert int(draw(0, made, table).sum()) == n_train


def test_by_answer_validates_the_rows_with_the_smallest_answers():
    made = make_split(AnswerSplit(validation_below=20), P97)
    train_N = np.asarray(draw(3, made, P97))
    assert (train_N == (P97.targets_NA[:, 0] >= 20)).all()
    assert (~train_N).sum() == 1940


@given(st.integers(1, 999), st.integers(0, 200_000), st.sampled_from(["floor", "round", "ceil"]))
@settings(deadline=None, max_examples=200)
def test_share_is_that_of_the_decimal(thousandths, n, rounding):
    exact = Decimal(thousandths) / 1000 * n
    how = {"floor": ROUND_FLOOR, "round": ROUND_HALF_EVEN, "ceil": ROUND_CEILING}[rounding]
    assert share_of(thousandths / 1000, n, rounding) == int(exact.to_integral_value(how))


def test_share_where_floats_would_be_wrong():
    assert share_of(0.3, 10, "floor") == share_of(0.3, 10, "ceil") == 3
    assert int(0.29 * 100) == 28
    assert share_of(0.29, 100, "floor") == 29
    assert share_of(0.1, 10, "ceil") == 1
    assert share_of(0.5, 5, "round") == 2


@pytest.mark.parametrize(
    ("split", "setting", "side"),
    [
        (RandomSplit(train_fraction=0.01), "train_fraction", "train"),
        (RandomSplit(train_fraction=0.999, rounding="ceil"), "train_fraction", "validate"),
        (AnswerSplit(validation_below=7), "validation_below", "train"),
    ],
)
def test_an_empty_side_is_refused(split, setting, side):
    with pytest.raises(ValueError, match=rf"^{setting}: .* leaves no row of 49 to {side}"):
        make_split(split, P7)


# Draws ----------------------------------------------------------------------------------------------------------------


def test_splits_differ_between_seeds_and_repeat_with_one():
    made = make_split(RandomSplit(train_fraction=0.5), P7)
    masks = [np.asarray(draw(seed, made, P7)) for seed in (0, 0, 1, 2)]
    assert (masks[0] == masks[1]).all()
    assert len({m.tobytes() for m in masks}) == 3


def test_every_row_trains_equally_often():
    made = make_split(RandomSplit(train_fraction=0.4), P7)
    seeds = jnp.arange(2000)
    often = np.asarray(jax.vmap(lambda seed: draw(seed, made, P7))(seeds)).mean(0)
    share = made.n_train / 49
    assert np.abs(often - share).max() < 4.5 * np.sqrt(share * (1 - share) / 2000)


@pytest.mark.parametrize("table", [P7, DIVISION], ids=["x+y", "x/y"])
@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.8])
def test_pairs_never_part(table, fraction):
    made = make_split(PairSplit(train_fraction=fraction), table)
    everything = np.concatenate([s.ravel() for s in made.strata_UW])
    assert sorted(everything) == list(range(table.n_rows))
    train_N = np.asarray(draw(1, made, table))
    trains = dict(zip(map(tuple, table.operands_N2.tolist()), train_N, strict=True))
    assert sum(train_N) == made.n_train
    assert all(trains[y, x] == side for (x, y), side in trains.items() if (y, x) in trains)
    pairs = sum(trains[x, y] for x, y in trains if x < y and (y, x) in trains)
    total = sum(x < y and (y, x) in trains for x, y in trains)
    assert pairs == int(Decimal(str(fraction)) * total)


def test_random_splits_do_part_pairs():
    train_N = np.asarray(draw(0, make_split(RandomSplit(), P7), P7))
    assert (train_N != train_N[P7.mirror_N()]).any()


def test_two_fractions_of_one_bucket_in_one_program():
    splits = [make_split(RandomSplit(train_fraction=f), P7) for f in (0.68, 0.7, 0.72)]
    counts = [s.n_train for s in splits]
    assert counts == [33, 34, 35]
    (bucket,) = {bucket_of(n, 49) for n in counts}

    def one(seed, n):
        train_N = draw(seed, splits[0], P7, counts=n[None])
        return train_N, training_index(train_N, bucket), row_weights(n, bucket)

    seeds, n = jnp.array([5, 5, 6]), jnp.array(counts)
    for i, (train_N, index_B, weights_B) in enumerate(
        zip(*jax.jit(jax.vmap(one))(seeds, n), strict=True)
    ):
        alone = np.asarray(draw(int(seeds[i]), splits[i], P7))
        assert (train_N == alone).all()
        assert index_B[: counts[i]].tolist() == np.flatnonzero(alone).tolist()
        assert not alone[index_B[counts[i] :]].any()
        assert len(set(index_B.tolist())) == bucket
        assert weights_B.tolist() == [1.0] * counts[i] + [0.0] * (bucket - counts[i])


# Label noise ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.33, 1.0])
def test_label_noise_is_exact_and_always_wrong(noise):
    split = make_split(RandomSplit(train_fraction=0.6, label_noise=noise), P7)
    assert split.n_noisy == int(Decimal(str(noise)) * 29)
    train_N = draw(0, split, P7)
    targets_NA = jnp.asarray(P7.targets_NA)
    labels = np.asarray(
        add_label_noise(jax.random.key(1), targets_NA, train_N, jnp.int32(split.n_noisy), 7)
    )
    wrong_N = (labels != P7.targets_NA)[:, 0]
    assert wrong_N.sum() == split.n_noisy
    assert not wrong_N[~np.asarray(train_N)].any()
    assert ((labels >= 0) & (labels < 7)).all()


def test_wrong_labels_are_uniform_over_the_wrong_answers():
    train_N, targets_NA = jnp.ones(49, bool), jnp.asarray(P7.targets_NA)
    draws = jax.vmap(lambda k: add_label_noise(k, targets_NA, train_N, jnp.int32(49), 7))(
        jax.random.split(jax.random.key(0), 200)
    )
    shift = (np.asarray(draws) - P7.targets_NA) % 7
    counts = np.bincount(shift.ravel(), minlength=7)
    assert counts[0] == 0
    assert np.abs(counts[1:] - counts.sum() / 6).max() < 4.5 * np.sqrt(counts.sum() * 5 / 36)


# Buckets --------------------------------------------------------------------------------------------------------------


def test_bucket_ladder():
    buckets = np.array([bucket_of(n, 10**9) for n in range(1, 20_000)])
    n = np.arange(1, 20_000)
    assert (buckets >= n).all()
    assert (np.diff(buckets) >= 0).all()
    large = n > 8
    assert (buckets[large] - n[large] <= buckets[large] / 9).all()
    assert len(set(buckets)) < 100
    assert bucket_of(3831, 12_769) == 3840


def test_bucket_is_a_step_of_its_own_ladder():
    for bucket in {bucket_of(n, 10**9) for n in range(1, 20_000)}:
        assert bucket_of(bucket, 10**9) == bucket


def test_bucket_never_exceeds_the_table():
    assert bucket_of(5, 6) == 6
    assert bucket_of(3841, 3900) == 3900
    assert all(n <= bucket_of(n, 49) <= 49 for n in range(1, 50))


@pytest.mark.parametrize(("low", "side"), [(0, "validate"), (7, "train")])
def test_a_new_split_that_leaves_no_row_is_refused_at_its_first_setting(monkeypatch, low, side):
    class Operand(SplitSettings):
        kind: Literal["operand"] = shape("operand")
        lowest: int = shape(2, ge=0)
        label_noise: float = hyper(0.0, ge=0, le=1)

    def by_operand(s, table):
        rows = np.arange(table.n_rows, dtype=np.int32)[:, None]
        held_out = table.operands_N2[:, 0] < s.lowest
        return [rows[~held_out], rows[held_out]], [int((~held_out).sum()), 0]

    monkeypatch.setitem(SPLITS, "operand", Kind(Operand, by_operand))
    table = make_table(Modular(p=7))
    assert make_split(Operand(), table).n_train == 35
    with pytest.raises(SettingError, match=rf"^lowest: {low} leaves no row of 49 to {side}"):
        make_split(Operand(lowest=low), table)
