"""Every kind of file on disk x every kind of damage: noticed, said in one sentence, mended by the next start."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from safetensors.numpy import load_file

import analysis
from analysis.__main__ import main as analyse
from analysis.measured import load_measured
from analysis.weights import final_weights
from grokjax.cli.commands import main
from grokjax.driver import session
from grokjax.experiment.loading import load_experiment
from tests.harness import assert_same, results

CONFIG = """
name: small
task: {kind: modular, operation: x+y, p: 5, format: a b =}
split: {kind: random, train_fraction: 0.6}
model: {kind: mlp, d_model: 4, hidden: [6]}
optimizer: {kind: adamw, learning_rate: 1e-2}
train: {steps: 8, eval_every: 2, snapshot_every: 2}
measurements: [{kind: pruning}]
execution: {slots: 2, devices: 1, checkpoint_seconds: 0}
axes: {optimizer.weight_decay: [0.1, 1.0], seed: [0, 1]}
"""
LARGER = ["train.steps=12", "axes.seed=[0, 1, 2]"]


def command(out: Path, *words: str) -> int:
    return main([str(out.parent / "small.yaml"), "--out", str(out), "--no-figures", *words])


def make(root: Path) -> Path:
    (root / "small.yaml").write_text(CONFIG)
    return root / "out"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Trained, measured and analysed."""
    out = make(tmp_path_factory.mktemp("whole"))
    assert command(out) == 0
    assert main(["--measure", str(out)]) == 0
    assert analyse([str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    """Stopped by a signal during the training of its first runs."""
    out, calls = make(tmp_path_factory.mktemp("stopped")), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            session.StopSignal, "__call__", lambda self: (calls.append(1), len(calls) > 2)[1]
        )
        with pytest.raises(session.Interrupted):
            session.run_experiment(
                load_experiment(out.parent / "small.yaml", ["execution.chunk=1"]),
                {"out": str(out)},
                display=lambda tally: None,
            )
    assert list(out.glob("groups/*/running.safetensors"))
    return out


@pytest.fixture(scope="module")
def larger(tmp_path_factory) -> Path:
    """Trained at once with the larger budget and the third seed."""
    out = make(tmp_path_factory.mktemp("larger"))
    assert command(out, *LARGER) == 0
    return out


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """To damage."""
    make(tmp_path)
    return Path(shutil.copytree(whole, tmp_path / "out"))


# -- damages -----------------------------------------------------------------------------------------------------------


def _flip(where: float) -> Callable[[Path], None]:
    def flip(file: Path) -> None:
        data = bytearray(file.read_bytes())
        data[min(int(where * len(data)), len(data) - 1)] ^= 1
        file.write_bytes(bytes(data))

    return flip


def _directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "flipped at the start": _flip(0),
    "flipped in the middle": _flip(0.5),
    "flipped at the end": _flip(1),
    "truncated": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "empty": lambda file: file.write_bytes(b""),
    "missing": Path.unlink,
    "a directory": _directory,
    "not UTF-8": lambda file: file.write_bytes(b"\xff\xfe" * 50),
}

FILES = {
    "experiment": "experiment.yaml",
    "its copy": ".experiment.json",
    "admission": "groups/*/admitted/0.safetensors",
    "results": "groups/*/ended/0*.safetensors",
    "log of results": "groups/*/ended/contents.jsonl",
    "snapshots": "groups/*/snapshots/0*.safetensors",
    "log of snapshots": "groups/*/snapshots/contents.jsonl",
    "measurements": "groups/*/measured/pruning.safetensors",
}
HISTORIES = {"results"}
"""What the analysis reads and cannot do without."""
# Of measurements that are missing nobody knows that they were there; asking for them says how to make them.
TABLE = [(f, d) for f in FILES for d in DAMAGES if (f, d) != ("measurements", "missing")]


SOME = ("flipped in the middle", "truncated", "missing")


def damage(out: Path, file: str, how: str) -> Path:
    (victim,) = out.glob(FILES[file])
    DAMAGES[how](victim)
    return victim


def told(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> str:
    """All that was said; no traceback, and no sentence that goes on for pages."""
    captured = capsys.readouterr()
    text = captured.out + captured.err + caplog.text
    assert "Traceback" not in text
    assert max(map(len, text.splitlines()), default=0) < 700
    return text


def says(text: str, file: Path) -> bool:
    """Whether the file, or for a missing one its directory, is named."""
    return str(file) in text or str(file.parent) in text


def the_same_or_left_out(now: xr.Dataset, before: xr.Dataset, text: str) -> None:
    """The runs that are there are as they were; of those that are not, a sentence speaks."""
    kept = [run for run in before["id"].values if run in now["id"].values]
    places = [list(now["id"].values).index(run) for run in kept]
    expected = before.isel(run=np.isin(before["id"], kept))
    same = now.isel(run=places)
    done = same["evaluations_done"].values == expected["evaluations_done"].values
    left_out = len(kept) < before.sizes["run"] or not done.all()
    assert not left_out or "cannot be used" in text or "written again" in text, text
    a, b = same.isel(run=done), expected.isel(run=done)
    np.testing.assert_array_equal(a["value"], b["value"])
    assert (a["status"].values == b["status"].values).all()


@pytest.mark.parametrize(
    ("file", "how"),
    [pytest.param(f, d, marks=() if d in SOME else pytest.mark.soak) for f, d in TABLE],
)
def test_an_analysis_and_a_check_notice_it(file, how, copy, whole, capsys, caplog) -> None:
    before = analysis.load(whole)
    victim = damage(copy, file, how)
    with caplog.at_level(logging.INFO, "grokjax"):
        assert main(["--verify", str(copy)]) == 1
    text = told(capsys, caplog)
    assert says(text, victim), text
    caplog.clear()
    try:
        now = analysis.load(copy)
    except analysis.ResultsError as error:
        assert file in {"results", "admission"} and "\n" not in str(error)
        assert "cannot be used" in str(error)
    else:
        the_same_or_left_out(now, before, told(capsys, caplog))
    if file == "measurements":
        with pytest.raises(analysis.ResultsError, match="delete it and measure again"):
            load_measured(copy, "pruning")


@pytest.mark.parametrize("file", FILES)
def test_no_flipped_byte_is_silent(file, copy, whole, caplog) -> None:
    """Of every file, some hundred bytes, one by one."""
    before, measured = analysis.load(whole), load_measured(whole, "pruning")
    (victim,) = copy.glob(FILES[file])
    data = victim.read_bytes()
    for at in range(0, len(data), max(1, len(data) // 100)):
        caplog.clear()
        victim.write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
        if file == "measurements":
            with pytest.raises(analysis.ResultsError):
                load_measured(copy, "pruning")
            continue
        try:
            now = analysis.load(copy)
        except analysis.ResultsError:
            continue
        if now.identical(before.assign_attrs(now.attrs)):
            continue
        the_same_or_left_out(now, before, caplog.text)
    victim.write_bytes(data)
    assert analysis.load(copy).identical(before.assign_attrs(path=str(copy)))
    assert load_measured(copy, "pruning").identical(measured)


def mends(out: Path, whole: Path, capsys, caplog, *words: str) -> None:
    """A start makes the directory as it would have been."""
    assert command(out, *words) == 0
    told(capsys, caplog)
    assert_same(results(whole), results(out))


QUICK = [
    ("results", "flipped in the middle"),
    ("snapshots", "missing"),
    ("admission", "truncated"),
    ("experiment", "not UTF-8"),
]
OTHERS = [pytest.param(*pair, marks=pytest.mark.soak) for pair in TABLE if pair not in QUICK]


@pytest.mark.parametrize(("file", "how"), [*QUICK, *OTHERS])
def test_a_start_mends_it(file, how, copy, whole, capsys, caplog) -> None:
    victim = damage(copy, file, how)
    with caplog.at_level(logging.WARNING, "grokjax"):
        assert main(["--verify", str(copy)]) == 1  # weights are read only there
        caplog.clear()
        mends(copy, whole, capsys, caplog)
    if file == "measurements":
        victim.rmdir() if victim.is_dir() else victim.unlink(missing_ok=True)
        assert main(["--measure", str(copy)]) == 0
    capsys.readouterr()
    assert main(["--verify", str(copy)]) == 0, told(capsys, caplog)


# Where a byte is flipped matters to what notices it, which is tried above, and not to what mends it.
MENDED = [(f, d) for f, d in TABLE if f != "measurements" and not d.endswith(("start", "end"))]


@pytest.mark.soak
@pytest.mark.parametrize(("file", "how"), MENDED)
def test_a_grown_grid_mends_it(file, how, copy, larger, capsys, caplog) -> None:
    """Results that were lost are trained from the start, or from the older of two results of a run."""
    damage(copy, file, how)
    main(["--verify", str(copy)])
    mends(copy, larger, capsys, caplog, *LARGER)


@pytest.mark.soak
@pytest.mark.parametrize(("file", "how"), TABLE)
def test_measuring_leaves_out_what_is_lost_and_says_so(
    file, how, copy, whole, capsys, caplog
) -> None:
    before = load_measured(whole, "pruning")
    victim = damage(copy, file, how)
    with caplog.at_level(logging.INFO, "grokjax"):
        code = main(["--measure", str(copy)])
    text = told(capsys, caplog)
    if code == 2:
        assert text.strip() and (file in {"results"} or says(text, victim)), text
        return
    assert code == 0
    after = load_measured(copy, "pruning")
    kept = np.isin(before["id"], after["id"])
    assert kept.all() or ("cannot be used" in text and says(text, victim))
    for name in before.data_vars:
        np.testing.assert_array_equal(after[name], before[name].isel(run=kept))


@pytest.mark.soak
@pytest.mark.parametrize("how", DAMAGES)
def test_lost_histories_of_runs_in_training_are_made_again(
    how, stopped, whole, tmp_path, capsys, caplog
) -> None:
    make(tmp_path)
    out = Path(shutil.copytree(stopped, tmp_path / "out"))
    (victim,) = out.glob("groups/*/running.safetensors")
    DAMAGES[how](victim)
    if how != "missing":  # else it says nothing of runs that were in training
        assert main(["--verify", str(out)]) == 1
        assert says(told(capsys, caplog), victim)
    with caplog.at_level(logging.WARNING, "grokjax"):
        mends(out, whole, capsys, caplog)
    assert "trained again from the start" in caplog.text
    assert main(["--verify", str(out)]) == 0


def test_a_whole_group_that_is_missing_is_noticed(copy, capsys, caplog) -> None:
    (group,) = copy.glob("groups/*")
    shutil.rmtree(group)
    with caplog.at_level(logging.INFO, "grokjax"):
        assert main(["--verify", str(copy)]) == 1
    assert f"{group}: is missing, with all results of its group" in told(capsys, caplog)


def test_nothing_is_noticed_where_nothing_is_damaged(copy, stopped, capsys, caplog) -> None:
    for out, n in ((copy, 4), (stopped, 0)):
        caplog.clear()
        with caplog.at_level(logging.INFO, "grokjax"):
            assert main(["--verify", str(out)]) == 0
        assert f"{n} of 4 runs have ended; nothing is damaged" in told(capsys, caplog)


def test_a_checkpoint_that_is_damaged_is_named(stopped, tmp_path, capsys, caplog) -> None:
    make(tmp_path)
    out = Path(shutil.copytree(stopped, tmp_path / "out"))
    (checkpoints,) = out.glob("groups/*/checkpoints")
    files = [f for f in checkpoints.rglob("*") if f.is_file() and "state/d/" in str(f)]
    _flip(0.5)(max(files, key=lambda f: f.stat().st_size))
    with caplog.at_level(logging.INFO, "grokjax"):
        assert main(["--verify", str(out)]) == 1
    assert "this checkpoint is damaged" in told(capsys, caplog)  # and no traceback


def test_weights_of_one_run_are_exported(whole, tmp_path) -> None:
    runs = analysis.load(whole)
    run = str(runs["id"].values[1])
    file = analysis.export_weights(whole, run, tmp_path / "end.safetensors")
    final = final_weights(runs.isel(run=[1]))[0]
    assert load_file(file).keys() == final.keys()
    early = load_file(analysis.export_weights(whole, run, tmp_path / "early.safetensors", step=4))
    assert any((early[name] != final[name]).any() for name in final)
    for words in ((run, 3), ("nobody", None)):
        with pytest.raises(analysis.ResultsError, match=f"no weights of run {words[0]} at "):
            analysis.export_weights(whole, words[0], tmp_path / "x", step=words[1])


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(24, "Too many open files")]
)
def test_what_the_machine_is_to_blame_for_loses_nothing(copy, error, monkeypatch, capsys) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    before = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    monkeypatch.setattr("grokjax.results.sealed.safe_open", refuse)
    with pytest.raises(analysis.ResultsError, match=f"cannot be read \\({error.strerror}\\)"):
        analysis.load(copy)
    for words in (["--verify", str(copy)], ["--measure", str(copy)]):
        capsys.readouterr()
        assert main(words) == 2
        assert error.strerror in capsys.readouterr().err
    assert command(copy) == 2 and error.strerror in capsys.readouterr().err
    monkeypatch.undo()
    after = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    assert {p: after.get(p) for p in before} == before
    assert main(["--verify", str(copy)]) == 0
