"""Whatever happens while something is written, the old content or the new one is there, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from grokjax.atomic import own_name, replacing
from grokjax.results import sealed
from grokjax.results.measured_store import Variable, write_measured
from grokjax.results.status import Progress
from grokjax.results.store import GroupStore
from grokjax.results.writer import Ended, StoreWriter


def _names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("before", [None, "old"])
def test_a_file_is_replaced(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "a.txt"
    if before is not None:
        path.write_text(before)
    (tmp_path / "a.txt.new").write_text("left by a process that was killed")
    with replacing(path) as aside:
        assert aside.name == "a.txt.new" and not aside.exists()
        aside.write_text("new")
        assert (path.read_text() if path.exists() else None) == before
    assert path.read_text() == "new" and _names(tmp_path) == ["a.txt"]


def test_others_may_read_results_as_they_may_read_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    sealed.write_sealed(tmp_path / "sealed", {}, {"part": {"x": np.ones(3)}})
    assert (tmp_path / "sealed").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_directory_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    for name in ("a.zarr", "a.zarr.new", "a.zarr.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").touch()
    with replacing(path) as aside:
        aside.mkdir()
        (aside / "new").touch()
        assert _names(path) == ["old"]
    assert _names(path) == ["new"] and _names(tmp_path) == ["a.zarr"]


@pytest.mark.parametrize("error", [OSError("no space"), KeyboardInterrupt()])
def test_a_write_that_fails_changes_nothing(tmp_path: Path, error: BaseException) -> None:
    file, folder = tmp_path / "a.txt", tmp_path / "a.zarr"
    file.write_text("old")
    folder.mkdir()
    (folder / "old").touch()
    with pytest.raises(type(error)), replacing(file, own_name(file)) as aside:
        aside.write_text("half")
        raise error
    with pytest.raises(type(error)), replacing(folder) as aside:
        aside.mkdir()
        (aside / "half").touch()
        raise error
    assert file.read_text() == "old" and _names(folder) == ["old"]
    assert _names(tmp_path) == ["a.txt", "a.zarr"]


def test_a_move_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, move = tmp_path / "a.zarr", os.replace
    folder.mkdir()
    (folder / "old").touch()

    def refuse(source: Path, target: Path) -> None:
        if source.name == "a.zarr.new":
            raise OSError("refused")
        move(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="refused"), replacing(folder) as aside:
        aside.mkdir()
    assert _names(folder) == ["old"] and _names(tmp_path) == ["a.zarr"]


def test_what_cannot_be_written_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = StoreWriter(GroupStore(tmp_path))
    columns = {"budget_evaluations": [2]}
    writer.admit(["a"], ["loss"], np.array([0, 50]), columns, {})
    ended = Ended("a", Progress("finished", 2, -1), 50, np.zeros((2, 1)), {"w": np.zeros(2)})
    writer.add_ended([ended], ["loss"])
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def full(*_: object, **__: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(sealed, "save_file", full)
    for write in (
        lambda: writer.add_ended([ended], ["loss"]),
        lambda: writer.add_snapshots([("a", 10, {"w": np.zeros(2)})]),
        lambda: writer.admit(["b"], ["loss"], np.array([0, 50]), columns, {}),
        lambda: writer.write_running([("b", 1, np.zeros((2, 1)))], ["loss"]),
    ):
        with pytest.raises(OSError, match="no space"):
            write()
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert GroupStore(tmp_path).progress("a").status == "finished"


def test_measurements_that_cannot_be_written_leave_the_old_ones(tmp_path: Path) -> None:
    path = tmp_path / "measured" / "spectra.safetensors"
    write_measured(path, {"x": Variable(("run",), [1.0])}, {}, {"of": "old"})
    old = path.read_bytes()
    with pytest.raises(TypeError):
        write_measured(path, {"x": Variable(("run",), [2.0])}, {}, {"of": object()})
    assert path.read_bytes() == old and _names(path.parent) == ["spectra.safetensors"]


def test_a_file_does_not_replace_a_directory(tmp_path: Path) -> None:
    folder = tmp_path / "runs.csv"
    folder.mkdir()
    with pytest.raises(IsADirectoryError), replacing(folder) as aside:
        aside.write_text("a,b")
    assert folder.is_dir() and _names(tmp_path) == ["runs.csv"]
