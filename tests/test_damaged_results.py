"""Directories that hold no results, or damaged ones: one sentence, whoever asks for what."""

from __future__ import annotations

import builtins
import errno
import itertools
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

import analysis
from analysis.__main__ import main
from analysis.figures import FIGURES
from analysis.measured import load_measured
from tests.harness import ROOT, put_experiment
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
    for name, words in {
        "none": "does not exist",
        "file": "is a file",
        "file/below": "does not exist",
        "a" * 5000: "does not exist",
        "a\0b": "does not exist",
        "empty": "contains no experiment.yaml",
        "foreign": "contains no experiment.yaml",
    }.items():
        assert words in refused(str(tmp_path / name), capsys)


def test_results_in_which_nothing_is_recorded(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
        (b"\n", "has no setting train.steps"),
        (b"- 1\n", "has no setting train.steps"),
        (b"a: [1, \n", "is damaged (YAML syntax: "),
        (b"a: &x {b: *x}\n", "is damaged (a.b: contains itself"),
        (b"schema: 1\ntrain: {steps: 1}\naxes: [1]\n", "axes must be a mapping"),
        (b"schema: 1\ntrain: {steps: 1}\naxes: {seed: 3}\n", "axes must be a mapping"),
        (b"schema: 9\ntrain: {steps: 1}\n", "schema is 9"),
        (b"schema: " + b"9" * 250 + b"\ntrain: {steps: 1}\n", "schema is 99"),
    ],
)
def test_a_damaged_experiment(
    results: Path, capsys: pytest.CaptureFixture[str], data: bytes, words: str
) -> None:
    put_experiment(results, data.decode())
    assert words in refused(results, capsys)


def test_an_experiment_that_was_cut_anywhere(results: Path) -> None:
    (results / ".experiment.json").unlink()
    file = results / "experiment.yaml"
    text = file.read_bytes()
    for end in range(0, len(text), 7):
        file.write_bytes(text[:end])
        with pytest.raises(analysis.ResultsError, match=r"is damaged .*; restore it from a copy"):
            analysis.load(results)


def test_an_experiment_that_is_a_directory(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("experiment.yaml", ".experiment.json"):
        (results / name).unlink()
        (results / name).mkdir()
    assert "is a directory, but must be a file" in refused(results, capsys)


# -- histories of older versions (those of this one: test_damage) ------------------------------------------------------


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A results directory of schema 1, and its only history store."""
    with tarfile.open(ROOT / "tests" / "fixtures" / "older.tar.gz") as file:
        file.extractall(tmp_path, filter="data")
    return tmp_path / "older"


def _write(text: str) -> Callable[[Path], None]:
    return lambda path: (path.write_text(text), None)[1]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def _remove_data(path: Path) -> None:
    shutil.rmtree(path.parent / "c")


def _one_long(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shape": [1]}))


DAMAGES = [_write(""), _write("[]"), _write("{}"), _truncate]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *itertools.product(
            ["", "value", "step", "probe", "id", "status", "evaluations_done"], DAMAGES
        ),
        *itertools.product(["id", "status", "probe", "budget_evaluations"], [_remove_data]),
        *itertools.product(["step", "probe", "status", "budget_evaluations"], [_one_long]),
    ],
)
def test_a_broken_store_is_left_out_with_a_sentence(
    older: Path, caplog: pytest.LogCaptureFixture, name: str, damage: Callable[[Path], None]
) -> None:
    (store,) = older.glob("groups/*/history/*.zarr")
    damage(store / name / "zarr.json")
    with pytest.raises(analysis.ResultsError, match=r"no run has results yet \(1 files cannot"):
        analysis.load(older)
    assert f"{store}: is damaged (" in caplog.text and "Traceback" not in caplog.text


def test_a_lost_chunk_is_no_measurement(older: Path, caplog: pytest.LogCaptureFixture) -> None:
    (store,) = older.glob("groups/*/history/*.zarr")
    shutil.rmtree(store / "value" / "c" / "0")
    runs = analysis.load(older)
    assert runs["status"].values.tolist() == ["waiting", "finished"]
    assert runs["evaluations_done"].values.tolist() == [0, 3]
    assert "lacks files; the measurements of 1 run (" in caplog.text
    assert runs.attrs["unverified"] == 2


def test_a_broken_chunk_is_one_sentence(older: Path) -> None:
    (store,) = older.glob("groups/*/history/*.zarr")
    chunk = next(p for p in (store / "value" / "c" / "0").rglob("*") if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[:9])
    with pytest.raises(analysis.ResultsError, match=r"0.zarr: is damaged \(.*restore it"):
        analysis.load(older)


def test_what_an_older_version_measured_and_is_damaged(results: Path) -> None:
    store = results / "groups/a/measured/pruning.zarr"
    store.mkdir(parents=True)
    (store / "zarr.json").write_text("{")
    with pytest.raises(analysis.ResultsError, match=r"is damaged .*; delete it and measure again"):
        load_measured(results, "pruning")


# -- what is in the way ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["runs.csv", "runs.parquet", "cells.csv"])
def test_a_table_that_is_a_directory(
    results: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (results / name).mkdir()
    assert f"{name}: cannot be written (Is a directory)" in refused(results, capsys, loads=True)
    assert not list(results.rglob("*.partial"))


def test_figures_that_are_a_file(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "figures").write_text("x")
    assert "figures: cannot be written (File exists)" in refused(results, capsys, loads=True)


@pytest.mark.soak
def test_a_figure_that_is_a_directory(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.draw.FIGURES", {"curves": FIGURES["curves"]})
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
