"""What measuring writes and reads: files, groups of different shape, runs without weights, the end of a run."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from analysis import load
from analysis.load import ResultsError
from analysis.measured import at_the_end, load_measured
from grokjax.cli.commands import main
from grokjax.driver.session import run_experiment
from grokjax.experiment.config import Experiment
from grokjax.experiment.grid import make_groups, make_runs
from grokjax.results.directory import check_directory, directory_of
from grokjax.results.saved_weights import shelves_of
from grokjax.results.store import GroupStore
from grokjax.results.writer import StoreWriter
from tests.made_results import BASE, NAMES, TRANSFORMER, Made, bytes_below, ended_with


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    return Made(tmp_path_factory.mktemp("made") / "mlp", split=BASE["split"] | {"label_noise": 0.2})


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A small grid, really trained, each run on a split of its own; some stop early."""
    path = tmp_path_factory.mktemp("trained") / "x"
    experiment = Experiment.model_validate(
        BASE
        | {
            "measurements": [{"kind": "pruning", "thresholds": [0.0, 0.01], "at": "all"}],
            "train": BASE["train"] | {"stop": {"val_accuracy": 0.35, "then": 2}},
            "optimizer": BASE["optimizer"] | {"weight_decay": 2.0},
            "axes": {"seed": [0, 1, 2], "split.train_fraction": [0.5, 0.8]},
        }
    )
    run_experiment(experiment, {"out": str(path), "tile": 1}, display=lambda _: None)
    return path


@pytest.mark.soak
def test_unpruned_accuracies_are_those_that_training_recorded(trained) -> None:
    """Row by row the same split: another run's would show in almost every number."""
    assert main(["--measure", str(trained)]) == 0
    measured, history = load_measured(trained, "pruning"), load(trained)
    assert measured.sizes["run"] == 6 and len(set(measured["group"].values)) > 1
    assert {"finished", "stopped"} == set(measured["status"].values)
    ids = list(history["id"].values)
    for i, run in enumerate(measured["id"].values):
        past = history.isel(run=ids.index(run))
        steps = measured["step"][i].values
        assert np.isfinite(steps).sum() >= 2 and steps[0] == 0
        assert np.nanmax(steps) == past["step"][int(past["evaluations_done"]) - 1]
        for j, step in enumerate(steps):
            one = measured.isel(run=i, snapshot=j).sel(threshold=0)
            if np.isnan(step):
                assert np.isnan(one["val_loss"])
                continue
            then = past["value"][int(np.flatnonzero(past["step"] == step)[0])]
            for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
                np.testing.assert_allclose(one[name], then.sel(probe=name), rtol=1e-5, err_msg=name)


def test_measuring_twice_writes_the_same_bytes(made) -> None:
    directory = made
    directory.measure(kind="pruning")
    stores = list(directory.path.rglob("measured/*"))
    assert stores and {p.suffix for p in stores} == {".safetensors"}
    before = bytes_below(directory.path)
    directory.measure(kind="pruning")
    assert bytes_below(directory.path) == before


@pytest.mark.soak
def test_new_settings_replace_what_was_measured(made) -> None:
    directory = made
    directory.measure(kind="pruning", at="all")
    found = directory.measure(kind="pruning", thresholds=[0.5])
    assert found.sizes == {"run": 3, "snapshot": 1, "threshold": 1}
    assert json.loads(found.attrs["settings"])["thresholds"] == [0.5]
    assert "set to 0" in found.attrs["meaning"]
    assert list(found["split_seed"].values) == [0, 5, 6]
    assert found["val_loss"].dims == ("run", "snapshot", "threshold")


def test_many_sets_of_weights_go_in_several_calls_of_one_program(made, monkeypatch) -> None:
    directory = made
    whole = directory.measure(kind="pruning", at="all")
    monkeypatch.setattr("grokjax.driver.measure.BATCH", 4)
    xr.testing.assert_identical(directory.measure(kind="pruning", at="all"), whole)


@pytest.mark.soak
def test_groups_of_different_shape_are_padded_with_nan(tmp_path) -> None:
    models = [TRANSFORMER, TRANSFORMER | {"n_layers": 2}]
    directory = Made(tmp_path / "x", axes={"model": models})
    found = directory.measure(kind="attention_entropy")
    n_layers = [json.loads(m).get("n_layers", 1) for m in found["model"].values]
    assert sorted(n_layers) == [1, 2] and found.sizes["layer"] == 2
    for i, n in enumerate(n_layers):
        assert np.isfinite(found["entropy"][i, 0]).values.tolist() == [True, n == 2]


def test_runs_without_weights_are_left_out_and_counted(tmp_path, caplog) -> None:
    directory = Made(tmp_path / "x", without=[1])
    with caplog.at_level(logging.INFO, "grokjax"):
        found = directory.measure(kind="embedding_fourier")
    assert list(found["id"].values) == [directory.runs[0].id, directory.runs[2].id]
    assert "1 run was left out" in caplog.text


@pytest.mark.soak
def test_a_diverged_run_is_nan_and_harms_no_other(tmp_path) -> None:
    directory = Made(tmp_path / "x")
    store = GroupStore(next(directory.path.glob("groups/*")))
    run = directory.runs[1].id
    weights = {n: x * np.nan for n, x in store.weights.read(run).items()}
    StoreWriter(store).add_ended([ended_with(run, 40, weights)], NAMES)
    for kind, name in (
        ("spectrum", "eigenvalue"), ("pca", "embedding"), ("ntk", "distance"),
        ("effective_sparsity", "neurons_same_accuracy"), ("subnetworks", "faithfulness"),
    ):  # fmt: skip
        values = directory.measure(kind=kind)[name].values.reshape(3, -1)
        assert np.isnan(values).all(1).tolist() == [False, True, False], kind
        assert np.isfinite(values[[0, 2]]).all(), kind


def test_measurements_can_change_in_a_directory_and_make_no_new_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    old = Made(Path("results/m")).experiment
    new = Experiment.model_validate(BASE | {"measurements": [{"kind": "ntk", "n_rows": 3}]})
    check_directory(new, make_runs(new))
    assert directory_of(new) == Path("results/m")
    assert [r.id for r in make_runs(new)] == [r.id for r in make_runs(old)]


def test_loading_what_was_not_measured(made, tmp_path) -> None:
    made.measure(kind="pruning")
    with pytest.raises(ResultsError, match=r"nkt was not measured; there are .*pruning.*--measure"):
        load_measured(made.path, "nkt")
    with pytest.raises(ResultsError, match=r"pruning was not measured; python run.py"):
        load_measured(tmp_path, "pruning")


def test_loading_needs_no_jax() -> None:
    code = "import analysis.measured, grokjax.results.measured_store, sys; sys.exit('jax' in sys.modules)"
    root = Path(__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0


def test_the_last_weights_of_each_run_are_found():
    step = [[0.0, 10.0, np.nan], [0.0, 10.0, 20.0]]
    measured = xr.Dataset(
        {"x": (("run", "snapshot"), [[1.0, 2.0, np.nan], [3.0, 4.0, 5.0]])},
        coords={"step": (("run", "snapshot"), step)},
    )
    last = at_the_end(measured)
    assert last["x"].dims == ("run",) and last["x"].values.tolist() == [2, 5]
    assert last["step"].values.tolist() == [10, 20]


@pytest.mark.parametrize(
    ("status", "expected"), [("finished", 40), ("running", None), ("waiting", None)]
)
def test_the_end_of_a_smaller_budget_is_not_the_end_of_a_run_that_goes_on(
    status, expected, tmp_path
):
    (group,) = make_groups(make_runs(Experiment.model_validate(BASE | {"axes": {"seed": [0]}})))
    store = GroupStore(tmp_path / "groups" / group.hash)
    run = group.first.id
    writer = StoreWriter(store)
    writer.add_ended([ended_with(run, 40, {"W_E": np.zeros((2, 3), np.float32)})], NAMES)
    if status != "finished":
        columns = {"seed": [0], "budget_evaluations": [5]}
        writer.admit([run], NAMES, np.arange(0, 81, 20), columns, {})
    if status == "running":
        writer.write_running([(run, 4, np.zeros((5, 1), np.float32))], NAMES)
    assert GroupStore(store.directory).progress(run).status == status
    (shelf,) = shelves_of(group, tmp_path)
    assert shelf.final == expected and shelf.steps == ({} if expected is None else {40: None})
