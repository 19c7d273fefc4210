"""Directories that hold no results, or damaged ones: one sentence, whoever asks for what."""

from __future__ import annotations

import builtins
import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import analysis
from analysis.__main__ import main
from analysis.measured import load_measured
from tests.synthetic import write_results
from tests.test_analysis import disturbed_row

AXES = {"split.train_fraction": [0.3, 0.5], "seed": range(2)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(
        tmp_path_factory.mktemp("whole") / "demo",
        AXES,
        lambda point: disturbed_row({"model.n_layers": 1, **point}),
    )


@pytest.fixture
def results(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(whole, tmp_path / "demo"))


def store_of(path: Path) -> Path:
    return next(path.glob("groups/*/history/*.zarr"))


def refused(path: Path | str, capsys: pytest.CaptureFixture[str], loads: bool = False) -> str:
    """What everybody who reads this directory is told; `loads`: only drawing fails."""
    with pytest.raises(analysis.ResultsError) as caught:
        analysis.draw_everything(path)
    if loads:
        analysis.load(path)
    else:
        with pytest.raises(analysis.ResultsError):
            analysis.load(path)
    capsys.readouterr()
    assert main([str(path)]) == 2
    out, error = capsys.readouterr()
    assert out == "" and error == f"{caught.value}\n" and error.count("\n") == 1
    assert len(error) < 600
    return str(caught.value)


# -- no results --------------------------------------------------------------------------------------------------------


def test_paths_without_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/thesis.tex").write_text("x")
    (tmp_path / "odd/experiment.yaml").mkdir(parents=True)
    for name, words in {
        "none": "does not exist",
        "file": "is a file",
        "file/below": "does not exist",
        "a" * 5000: "does not exist",
        "a\0b": "does not exist",
        "empty": "contains no experiment.yaml",
        "foreign": "contains no experiment.yaml",
        "odd": "contains no experiment.yaml",
    }.items():
        assert words in refused(str(tmp_path / name), capsys)


def test_results_in_which_nothing_is_recorded(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (store_of(results) / "zarr.json").unlink()
    told = refused(results, capsys)
    assert "no run has results yet (1 incomplete history stores were left out)" in told
    shutil.rmtree(results / "groups")
    assert "no run has results yet; start or continue" in refused(results, capsys)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--level", "9" * 5000], "expected an accuracy above 0 and at most 1, got 999"),
        (["--sustain", "9" * 5000], "expected a whole number, got 999"),
        (["--sustain", str(2**31)], "expected a whole number from 1 to 2147483647, got 2147483648"),
        (["--delay-steps", "x" * 5000], "expected a number, got xxx"),
        (["--" + "x" * 5000], "unrecognized arguments: --xxx"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_options_are_refused_in_one_sentence(
    capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["nowhere", *words])
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1 and len(error) < 300


# -- the experiment ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "has no setting train.steps"),
        (b"- 1", "has no setting train.steps"),
        (b"\x00\xff\xfe", "is damaged ("),
        (b"a: [1, ", "is damaged (YAML syntax: "),
        (b"a: &x {b: *x}", "is damaged (a.b: contains itself"),
        (b"schema: 1\ntrain: {steps: 1}\naxes: [1]", "axes must be a mapping"),
        (b"schema: 1\ntrain: {steps: 1}\naxes: {seed: 3}", "axes must be a mapping"),
        (b"schema: 9\ntrain: {steps: 1}", "schema is 9"),
        (b"schema: " + b"9" * 250 + b"\ntrain: {steps: 1}", "schema is 99"),
    ],
)
def test_a_damaged_experiment(
    results: Path, capsys: pytest.CaptureFixture[str], data: bytes, words: str
) -> None:
    (results / "experiment.yaml").write_bytes(data)
    assert words in refused(results, capsys)


def test_an_experiment_that_was_cut_anywhere(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = results / "experiment.yaml"
    text = file.read_bytes()
    for end in range(0, len(text), 7):
        file.write_bytes(text[:end])
        try:
            analysis.load(results)
        except analysis.ResultsError as error:
            assert "\n" not in str(error)


# -- the histories -----------------------------------------------------------------------------------------------------


def _write(text: str) -> Callable[[Path], None]:
    return lambda path: (path.write_text(text), None)[1]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


@pytest.mark.parametrize("name", ["value", "step", "probe", "id", "status", "evaluations_done"])
@pytest.mark.parametrize("damage", [_write(""), _write("[]"), _write("{}"), _truncate])
def test_a_broken_description_of_an_array(
    results: Path, capsys: pytest.CaptureFixture[str], name: str, damage: Callable[[Path], None]
) -> None:
    damage(store_of(results) / name / "zarr.json")
    told = refused(results, capsys)
    assert "is damaged (" in told or "incomplete history stores" in told


@pytest.mark.parametrize("damage", [_write(""), _write("[]"), _write("{}"), _truncate])
def test_a_broken_description_of_a_store(
    results: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    damage(store_of(results) / "zarr.json")
    told = refused(results, capsys)
    assert "is damaged (" in told or "incomplete history stores" in told


@pytest.mark.parametrize("name", ["step", "probe", "status", "budget_evaluations"])
def test_an_array_of_another_length(
    results: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    file = store_of(results) / name / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"shape": [1]}))
    assert "is damaged (" in refused(results, capsys)


def test_a_store_that_is_a_file(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = store_of(results)
    shutil.rmtree(store)
    store.write_text("x")
    told = refused(results, capsys)
    assert "is damaged (" in told or "incomplete history stores" in told


def test_what_was_measured_and_is_damaged(results: Path) -> None:
    store = results / "groups/a/measured/pruning.zarr"
    store.mkdir(parents=True)
    (store / "zarr.json").write_text("{")
    with pytest.raises(analysis.ResultsError, match=r"is damaged .*; delete it and measure again"):
        load_measured(results, "pruning")


# -- what is in the way ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["runs.csv", "cells.csv"])
def test_a_table_that_is_a_directory(
    results: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (results / name).mkdir()
    assert f"{name}: cannot be written (Is a directory)" in refused(results, capsys, loads=True)
    assert not list(results.rglob("*.partial"))


def test_figures_that_are_a_file(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "figures").write_text("x")
    assert "figures: cannot be written (File exists)" in refused(results, capsys, loads=True)


def test_a_figure_that_is_a_directory(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    analysis.draw_everything(results)
    figure = min((results / "figures").glob("*.png"))
    figure.unlink()
    figure.mkdir()
    told = refused(results, capsys, loads=True)
    assert f"{figure}: cannot be written (Is a directory)" in told
    assert not list(results.rglob("*.partial"))


def test_a_directory_that_cannot_be_written(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, mode: str = "r", *args, **words):
        if "w" in mode:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return builtins.open(path, mode, *args, **words)

    monkeypatch.setattr(Path, "open", refuse)
    assert "cannot be written (Permission denied)" in refused(results, capsys, loads=True)
