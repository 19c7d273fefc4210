"""Mistakes in what is asked of measurements: one sentence each, and nothing is written."""

from __future__ import annotations

# ruff: noqa: E501 - a sentence is read as a whole
from pathlib import Path

import pytest

from grokjax.cli.commands import main
from grokjax.driver.measure import measure_directory
from grokjax.experiment.places import ConfigError
from grokjax.measurements import MEASUREMENTS
from grokjax.models.checks import offering
from grokjax.results.locks import hold
from tests.made_results import MLP, PARITY, STEPS, Made, bytes_below, words
from tests.words import one_of


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    """Make a directory x, ask for a measurement; returns what the command says after a mistake."""
    monkeypatch.chdir(tmp_path)

    def run(*given: str, steps: tuple[int, ...] = STEPS, made: bool = True, **changes) -> str:
        directory = Made(Path("x"), steps, **changes) if made else None
        if directory:
            with hold(Path("x")):  # leaves its lock file
                pass
        before = bytes_below(Path())
        assert main(["--measure", "x", *given]) == 2
        assert bytes_below(Path()) == before, "something was written"
        out, error = capsys.readouterr()
        assert out == "" and "Traceback" not in error and error.count("\n") == 1
        first = directory.runs[0].id if directory else ""
        return error.removesuffix("\n").replace(first, "RUN") if first else error.strip()

    return run


def one(**settings) -> str:
    return words(settings)[0]


KINDS = one_of(MEASUREMENTS)
EMBEDDING = " or ".join(offering(frozenset({"embedding"})))
ATTENTION = " or ".join(offering(frozenset({"attention"})))
ADVICE = "use one of these steps, or train another directory with train.snapshot_every"


@pytest.mark.parametrize(
    ("given", "changes", "sentence"),
    [
        ({"kind": "attention_entropy"}, {}, f"measurements.0.kind: attention_entropy needs a model with attention; use model.kind {ATTENTION}; or remove this measurement"),
        ({"kind": "embedding_fourier"}, PARITY, f"measurements.0.kind: embedding_fourier needs a model with an embedding; use model.kind {EMBEDDING}; or remove this measurement"),
        ({"kind": "embedding_fourier"}, {"task": {"kind": "permutation", "group": "S3"}}, "measurements.0.kind: embedding_fourier needs a task of kind modular, whose tokens are numbers modulo p; or remove this measurement"),
        ({"kind": "effective_sparsity"}, {"model": MLP | {"hidden": [3, 4]}}, "measurements.0.kind: effective_sparsity needs a transformer or one hidden layer; or remove this measurement"),
        ({"kind": "pca", "of": "logits"}, {}, "measurements.0.kind: pca needs rows whose second operand is rows_y = 8, but there are none; use 0 to 4; or remove this measurement"),
        ({"kind": "pca", "of": "logits"}, PARITY, "measurements.0.kind: pca needs rows with two operands, but the rows of this task have none; use of: embedding; or remove this measurement"),
        ({"kind": "ntk", "at": [0, 20]}, {}, f"measurements.0.at: step 20 of run RUN was not saved, only 0, 10, 40 (final); {ADVICE}"),
        ({"kind": "ntk", "at": [0, 50]}, {}, f"measurements.0.at: no run has weights of step 50; run RUN has 0, 10, 40 (final); {ADVICE}"),
        ({"kind": "ntk", "at": "all"}, {"steps": (40,)}, "measurements.0.at: all needs snapshots, but none were saved; use final, or train another directory with train.snapshot_every"),
        ({"kind": "ntk", "at": "last"}, {}, "measurements.0.at: needs final, all or a list, got 'last'"),
        ({"kind": "ntk", "at": [-1]}, {}, "measurements.0.at.0: must be at least 0, got -1"),
        ({"kind": "ntk", "n_rows": 0}, {}, "measurements.0.n_rows: must be at least 1, got 0"),
        ({"kind": "nkt"}, {}, f"measurements.0.kind: unknown kind 'nkt'; use {KINDS} (did you mean 'ntk'?)"),
        ({"kind": "pruning", "thresholds": []}, {}, "measurements.0.thresholds: must not be empty, got []"),
    ],
)  # fmt: skip
def test_a_wrong_measurement(told, given: dict, changes: dict, sentence: str) -> None:
    assert told(one(**given), **changes) == f"override {one(**given)}: {sentence}"


@pytest.mark.parametrize("given", [{"kind": "ntk"}, {"kind": "subnetworks", "at": [0]}])
def test_the_end_of_runs_that_have_not_come_to_it(tmp_path, given) -> None:
    directory = Made(tmp_path / "x", ended=False)
    with pytest.raises(
        ConfigError, match=r"at: needs the weights at the end of a run, but no run has ended"
    ):
        measure_directory(directory.path, words(given))


def test_nothing_to_measure(told) -> None:
    assert told() == (
        "x/experiment.yaml: measurements: is empty, so there is nothing to measure; "
        "add some, for example 'measurements=[{kind: pruning}]'"
    )


def test_a_kind_that_is_there_twice(told) -> None:
    twice = words({"kind": "ntk"}, {"kind": "ntk"})[0]
    assert told(twice) == (
        f"override {twice}: measurements: ntk is there twice, but results are stored by kind; remove one of them"
    )


def test_a_directory_that_is_missing_or_none(told) -> None:
    given = one(kind="ntk")
    missing = told(given, made=False)
    assert missing == "x: this results directory does not exist; train an experiment first"
    Path("x").mkdir()
    assert (
        told(given, made=False)
        == "x: contains no experiment.yaml, so it is not a results directory; use the directory of an experiment"
    )


def test_nothing_trained_yet(told) -> None:
    given = one(kind="ntk")
    assert told(given, steps=()) == (
        "x: none of its 3 runs has saved weights yet; train it first, with the command that created it"
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["task.p=7"], "override task.p=7: only measurements can be changed for trained runs; write 'measurements=[{kind: pruning}]'"),
        (["measurements=[{"], "override measurements=[{: measurements: YAML syntax: "),
        (["--plan"], "--measure: cannot be used with other options; remove them, or see --help"),
        (["--out", "y"], "--measure: cannot be used with other options; remove them, or see --help"),
    ],
)  # fmt: skip
def test_words_that_do_not_go_with_measuring(told, given: list[str], sentence: str) -> None:
    assert told(*given).startswith(sentence)


def test_a_directory_in_which_training_goes_on(told, tmp_path) -> None:
    Made(tmp_path / "x")
    with hold(tmp_path / "x"):
        assert main(["--measure", str(tmp_path / "x"), one(kind="ntk")]) == 2
        with pytest.raises(ConfigError, match="this results directory does not exist"):
            measure_directory(tmp_path / "y")
