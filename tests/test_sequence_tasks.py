"""Tasks on sequences that a run draws, once or anew for every step: their rows, and what is refused."""

from __future__ import annotations

# ruff: noqa: E501 - a sentence is read as a whole
import jax
import numpy as np
import pytest
from scipy import stats

from grokjax.experiment.config import Experiment
from grokjax.tasks import make_table
from grokjax.tasks.addition import Addition
from grokjax.tasks.repetition import Repetition
from grokjax.tasks.skip_trigram import SkipTrigram
from tests import test_bad_input
from tests.test_sequences import STREAM, YAML

told = test_bad_input.told
N = 10_000

# Rows: ours against rows made by NumPy -------------------------------------------------------------------------------


def drawn(settings, n: int = N, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, positions and targets of n rows."""
    rows, targets_NA = make_table(settings).draw_rows(jax.random.key(seed), n)
    return np.asarray(rows.tokens_NT), np.asarray(rows.at_NA), np.asarray(targets_NA)


def assert_same_distribution(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Counts of whole numbers in two samples, by a chi-squared test. One draw in 10,000 would be refused by chance."""
    values = np.union1d(ours, theirs)
    counts = [[np.sum(x == v) for v in values] for x in (ours, theirs)]
    assert stats.chi2_contingency(counts).pvalue > 1e-4


@pytest.mark.parametrize(("digits", "answer_digits"), [(5, None), (1, None), (3, 2), (2, 5)])
def test_sums_are_right(digits, answer_digits):
    tokens_NT, at_NA, targets_NA = drawn(Addition(digits=digits, answer_digits=answer_digits))
    n_answers = digits + 1 if answer_digits is None else answer_digits
    places = 10 ** np.arange(digits)[::-1]
    x_N = tokens_NT[:, :digits] @ places
    y_N = tokens_NT[:, digits + 1 : 2 * digits + 1] @ places
    assert (tokens_NT[:, digits] == 10).all() and (tokens_NT[:, 2 * digits + 1] == 11).all()
    expected = [
        [int(d) for d in f"{x + y:020d}"[20 - n_answers :]] for x, y in zip(x_N, y_N, strict=True)
    ]
    np.testing.assert_array_equal(targets_NA, expected)
    np.testing.assert_array_equal(tokens_NT[:, -n_answers:], expected)
    # A digit is predicted where the token before it stands.
    np.testing.assert_array_equal(np.take_along_axis(tokens_NT, at_NA + 1, 1), targets_NA)
    by_numpy = np.random.default_rng(0).integers(10**digits, size=N)
    assert_same_distribution(x_N * 10 // 10**digits, by_numpy * 10 // 10**digits)
    for column in range(digits):
        assert_same_distribution(tokens_NT[:, column], by_numpy // places[column] % 10)
    assert abs(np.corrcoef(x_N, y_N)[0, 1]) < 5 / np.sqrt(N)


def repeated_by_numpy(s: Repetition, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """One row, and where its copies start, made with loops."""
    copy = rng.integers(1, s.symbols + 1, s.subsequence)
    row, starts = [0], []
    for _ in range(s.intervals):
        own = rng.integers(1, s.symbols + 1, s.interval)
        start = rng.integers(s.interval - s.subsequence + 1)
        own[start : start + s.subsequence] = copy
        starts.append(len(row) + start)
        row += own.tolist()
    return row, starts


def test_copies_of_a_subsequence():
    s = Repetition(symbols=9, intervals=3, interval=7, subsequence=4)
    tokens_NT, at_NA, targets_NA = drawn(s)
    assert tokens_NT.shape == (N, 22) and at_NA.shape == targets_NA.shape == (N, 9)
    assert (tokens_NT[:, 0] == 0).all() and tokens_NT[:, 1:].min() == 1 and tokens_NT.max() == 9
    np.testing.assert_array_equal(np.take_along_axis(tokens_NT, at_NA + 1, 1), targets_NA)
    # Copies 2, 3 and 1, in this order, have the same tokens.
    second, third, first = np.split(at_NA, 3, axis=1)
    copies = [
        np.take_along_axis(tokens_NT, np.c_[at, at[:, -1:] + 1], 1) for at in (first, second, third)
    ]
    np.testing.assert_array_equal(copies[0], copies[1])
    np.testing.assert_array_equal(copies[0], copies[2])
    for i, at in enumerate((first, second, third)):
        inside = at[:, 0] - 1 - 7 * i
        assert inside.min() == 0 and inside.max() == 3
    rng = np.random.default_rng(0)
    rows, starts = zip(*(repeated_by_numpy(s, rng) for _ in range(N)), strict=True)
    for column in (1, 4, 9, 21):
        assert_same_distribution(tokens_NT[:, column], np.array(rows)[:, column])
    for i, at in enumerate((first, second, third)):
        assert_same_distribution(at[:, 0], np.array(starts)[:, i])
    assert_same_distribution(copies[0][:, 0] * 10 + copies[0][:, 1], _pairs(rows, starts))
    names = make_table(s).answer_names
    assert names == ("copy_2",) * 3 + ("copy_3",) * 3 + ("copy_1",) * 3


def _pairs(rows, starts) -> np.ndarray:
    return np.array([r[s[0]] * 10 + r[s[0] + 1] for r, s in zip(rows, starts, strict=True)])


def test_skip_trigrams():
    s = SkipTrigram(n_tokens=6, fillers=3, values=4)
    tokens_NT, at_NA, targets_NA = drawn(s)
    assert tokens_NT.shape == (N, 8) and (at_NA == 7).all()
    assert (tokens_NT[:, 0] == 0).all() and (tokens_NT[:, -1] == 1).all()
    special = tokens_NT[:, 1:-1] >= 5
    assert (special.sum(1) == 1).all() and (tokens_NT[:, 1:-1] >= 2).all()
    np.testing.assert_array_equal(tokens_NT[:, 1:-1][special] - 5, targets_NA[:, 0])
    rng = np.random.default_rng(0)
    assert_same_distribution(special.argmax(1), rng.integers(6, size=N))
    assert_same_distribution(targets_NA[:, 0], rng.integers(4, size=N))
    assert_same_distribution(tokens_NT[:, 1:-1][~special], rng.integers(2, 5, size=5 * N))


@pytest.mark.parametrize("kind", [Addition, Repetition, SkipTrigram])
def test_a_finite_sample_and_a_stream_have_one_generator(kind):
    finite, stream = make_table(kind(n_train=50)), make_table(kind(n_train="stream"))
    assert stream.stream and not finite.stream
    ours, theirs = (t.draw_rows(jax.random.key(1), 20) for t in (finite, stream))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["split={kind: random, train_fraction: 0.5}"],
            "split.kind: random divides the rows of a table, but a stream draws new rows for every step; use drawn",
        ),
        (
            ["split.label_noise=0.1"],
            "split.label_noise: 0.1 gives wrong labels to training rows, but a stream has none that stay; use 0",
        ),
        (
            ["train.batch_size=full"],
            "train.batch_size: 'full' is a share of the training rows, but a stream has no end; use a number of rows, such as 64",
        ),
        (
            ["train.steps={epochs: 3}"],
            "train.steps: a stream has no epochs; give a number of steps",
        ),
        (
            ["task.n_train=10001"],
            "task.n_train: 10001 is more than the 10,000 different rows that there are; use at most 10000, or stream",
        ),
        (
            ["task.digits=2000000000"],
            "task.digits: 2000000000 makes rows of 6,000,000,003 tokens; at most 4,096 are possible",
        ),
        (["task.digits=0"], "task.digits: must be at least 1, got 0"),
        (
            ["task.n_train=all"],
            "task.n_train: needs stream or a whole number, got 'all'",
        ),
        (
            ["task={kind: repeated_subsequence, interval: 8, subsequence: 9}"],
            "task.subsequence: 9 is longer than interval = 8; use at most 8",
        ),
        (
            ["model={kind: mlp}"],
            "model.kind: mlp reads tokens, but the rows of this task are sequences; use transformer",
        ),
        (
            ["model.d_mlp=null", "model.ln=pre"],
            "model.ln: pre norms an MLP, but d_mlp is null; use none, attn-pre, attn-pre-qk, attn-pre-v",
        ),
    ],
)
def test_what_a_stream_cannot_be(told, words, sentence):
    assert told(*words, text=YAML).endswith(sentence)


def test_a_stream_in_an_experiment_without_a_file():
    with pytest.raises(ValueError, match="d_head"):
        Experiment.model_validate(
            {"name": "a", **STREAM, "model": {"kind": "transformer", "n_heads": 5}}
        )
