"""Whatever happens while something is written, the old content or the new one is there, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from grokjax.atomic import own_name, replacing
from grokjax.results import store
from grokjax.results.measured_store import Variable, write_measured


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


def test_stores_and_weights_that_cannot_be_written_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = store.GroupStore(tmp_path)
    steps = np.array([0, 50])
    group.add(["a"], ["loss"], steps, {}, {})
    group.write_weights("a", {"w": np.zeros(2)}, {"step": "50"})

    def full(*_: object, **__: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(store, "save_file", full)
    monkeypatch.setattr(store, "_write_column", full)
    with pytest.raises(OSError, match="no space"):
        group.write_weights("a", {"w": np.ones(2)}, {"step": "100"})
    with pytest.raises(OSError, match="no space"):
        group.add(["a"], ["loss"], steps, {}, {})
    assert group.final_step("a") == 50
    assert _names(tmp_path / "weights") == ["a.safetensors"]
    assert _names(tmp_path / "history") == ["0.zarr"]


def test_measurements_that_cannot_be_written_leave_the_old_ones(tmp_path: Path) -> None:
    path = tmp_path / "measured" / "spectra.zarr"
    write_measured(path, {"x": Variable(("run",), [1.0])}, {}, {"of": "old"})
    old = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    with pytest.raises(TypeError):
        write_measured(path, {"x": Variable(("run",), [2.0])}, {}, {"of": object()})
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == old
    assert _names(path.parent) == ["spectra.zarr"]


def test_a_file_does_not_replace_a_directory(tmp_path: Path) -> None:
    folder = tmp_path / "runs.csv"
    folder.mkdir()
    with pytest.raises(IsADirectoryError), replacing(folder) as aside:
        aside.write_text("a,b")
    assert folder.is_dir() and _names(tmp_path) == ["runs.csv"]
