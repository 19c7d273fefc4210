"""A grid that grows: what was trained before a setting became an axis keeps its name."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import analysis
from grokjax.driver.session import run_experiment
from grokjax.experiment.grid import make_groups, make_runs
from grokjax.experiment.loading import load_experiment
from grokjax.experiment.run_columns import columns, shapes
from grokjax.results.directory import read_experiment, write_experiment
from grokjax.results.store import GroupStore, group_stores
from grokjax.results.writer import StoreWriter
from tests.harness import write_grid

TINY = ["train.steps=8", "axes.seed=[0]", "axes.optimizer.weight_decay=null"]


def trained(out, *words):
    """The small grid with these overrides, trained."""
    config = write_grid(out.parent / "small.yaml")
    return run_experiment(load_experiment(config, [*TINY, *words]), {"out": str(out)})


@pytest.fixture(scope="module")
def two_layers(tmp_path_factory) -> Path:
    """A results directory of one run with n_layers: 2."""
    return trained(tmp_path_factory.mktemp("two") / "out", "model.n_layers=2")


def layers_and_depths(out):
    """Of each run: the depth that the results say, and the number of layers in its weights."""
    runs = analysis.load(out)
    names = [str(run) for run in runs["id"].values]
    told = dict(zip(names, runs["model.n_layers"].values.tolist(), strict=True))
    real = {}
    for _, store in group_stores(out):
        for run in store.runs:
            blocks = {n.split(".")[1] for n in store.weights.read(run) if n.startswith("blocks.")}
            real[run] = len(blocks)
    return told, real


def admitted(out, *words):
    """The runs of the small grid with these overrides, admitted as a start does it, and not trained."""
    config = write_grid(out.parent / "small.yaml")
    experiment = load_experiment(config, [*TINY, *words])
    out.mkdir(exist_ok=True)
    write_experiment(experiment, out)
    for group in make_groups(make_runs(experiment)):
        writer = StoreWriter(GroupStore(out / "groups" / group.hash))
        lacking = [run for run in group.runs if writer.store.admission(run.id) is None]
        facts = {"group": group.hash, "shape": shapes(group.first)}
        writer.admit(
            [r.id for r in lacking], ["val_accuracy"], np.arange(3), columns(lacking), facts
        )
    return {run.id: run.settings.model.n_layers for run in make_runs(experiment)}


def test_runs_admitted_before_a_setting_became_an_axis_keep_their_value(tmp_path):
    """The base of the axis, 1, is not what the first run had."""
    admitted(tmp_path / "out", "model.n_layers=2")
    real = admitted(tmp_path / "out", "axes.model.n_layers=[1, 2]")
    runs = analysis.load(tmp_path / "out")
    told = dict(
        zip(runs["id"].values.tolist(), runs["model.n_layers"].values.tolist(), strict=True)
    )
    assert told == real and sorted(told.values()) == [1, 2]


@pytest.mark.soak
@pytest.mark.parametrize("base", ["kept", "taken out"])
def test_older_runs_keep_the_value_that_a_later_axis_does_not_begin_with(
    tmp_path, two_layers, base
):
    out = shutil.copytree(two_layers, tmp_path / "out")
    config = write_grid(tmp_path / "small.yaml")
    if base == "kept":
        text = config.read_text().replace("d_mlp: 32", "d_mlp: 32, n_layers: 2")
        config.write_text(text)
    grown = load_experiment(config, [*TINY, "axes.model.n_layers=[1, 2]"])
    run_experiment(grown, {"out": str(out)})
    told, real = layers_and_depths(out)
    assert sorted(told.values()) == [1, 2]
    assert told == real


def test_the_base_value_is_what_is_stored(tmp_path):
    config = write_grid(tmp_path / "small.yaml")
    axes = ["axes.model.n_layers=[2, 1]", "axes.task.p=[5, 7]"]
    varied = load_experiment(config, axes)
    assert varied.task.p == 7 and varied.optimizer.weight_decay == 1.0
    assert varied.model.n_layers == 1  # the default
    write_experiment(varied, tmp_path)
    again = read_experiment(tmp_path)
    assert (again.task.p, again.model.n_layers) == (7, 1)
    assert [r.id for r in make_runs(again)] == [r.id for r in make_runs(varied)]


def test_a_setting_without_base_has_its_first_value(tmp_path):
    config = write_grid(tmp_path / "small.yaml")
    config.write_text(config.read_text().replace(", weight_decay: 1.0}", "}"))
    varied = load_experiment(config, ["axes.model.n_layers=[2, 3]"])
    assert varied.optimizer.weight_decay == 0.1  # has no default
    assert varied.model.n_layers == 1
    depths = {run.settings.model.n_layers for run in make_runs(varied)}
    assert depths == {2, 3}


def test_a_base_that_no_run_has_need_not_be_right(tmp_path):
    config = write_grid(tmp_path / "small.yaml")
    config.write_text(config.read_text().replace("d_model: 16", "d_model: 15"))
    varied = load_experiment(config, ["axes.model.d_model=[16, 32]"])
    assert varied.model.d_model == 16
