"""A grid that grows: what was trained before a setting became an axis keeps its name."""

from __future__ import annotations

import json

import pytest

import analysis
from grokjax.grid import make_runs
from grokjax.loading import load_experiment
from grokjax.results import read_experiment
from grokjax.session import run_experiment
from tests.harness import write_grid

TINY = ["train.steps=8", "axes.seed=[0]", "axes.optimizer.weight_decay=null"]


def trained(tmp_path, *words):
    """The small grid with these overrides, trained in one directory."""
    config = write_grid(tmp_path / "small.yaml")
    return run_experiment(load_experiment(config, [*TINY, *words]), {"out": str(tmp_path / "out")})


def layers_and_depths(out):
    """Of each run: the depth that the results say, and the depth of its weights."""
    runs = analysis.load(out)
    names = {str(r): str(g) for r, g in zip(runs["id"].values, runs["group"].values, strict=True)}
    told = dict(zip(names, runs["model.n_layers"].values.tolist(), strict=True))
    experiment = read_experiment(out)
    real = {run.id: run.settings.model.n_layers for run in make_runs(experiment)}
    return told, {run: real[run] for run in told}


@pytest.mark.parametrize("base", ["kept", "taken out"])
def test_older_runs_keep_the_value_that_a_later_axis_does_not_begin_with(tmp_path, base):
    out = trained(tmp_path, "model.n_layers=2")
    fixed = ["model.n_layers=2"] if base == "kept" else []
    config = write_grid(tmp_path / "small.yaml")
    if fixed:
        text = config.read_text().replace("d_mlp: 32", "d_mlp: 32, n_layers: 2")
        config.write_text(text)
    grown = load_experiment(config, [*TINY, "axes.model.n_layers=[1, 2, 3]"])
    run_experiment(grown, {"out": str(out)})
    told, real = layers_and_depths(out)
    assert sorted(told.values()) == [1, 2, 3]
    assert told == real


def test_older_stores_that_do_not_say_are_told_by_the_base_and_then_say(tmp_path):
    """Directories of a version that did not store shape settings."""
    out = trained(tmp_path, "model.n_layers=2")
    (description,) = out.glob("groups/*/history/0.zarr/zarr.json")
    stored = json.loads(description.read_text())
    assert stored["attributes"].pop("shape")["model.n_layers"] == 2
    description.write_text(json.dumps(stored))
    grown = trained(tmp_path, "axes.model.n_layers=[3, 2]")
    told, real = layers_and_depths(grown)
    assert told == real and sorted(told.values()) == [2, 3]


def test_the_base_value_is_what_is_stored(tmp_path):
    config = write_grid(tmp_path / "small.yaml")
    varied = load_experiment(config, ["axes.model.n_layers=[1, 2]", "axes.task.p=[5, 7]"])
    assert varied.task.p == 7 and varied.optimizer.weight_decay == 1.0
    assert varied.model.n_layers == 1  # the default
    out = trained(tmp_path, "axes.model.n_layers=[2, 1]", "axes.task.p=[5, 7]")
    again = read_experiment(out)
    assert (again.task.p, again.model.n_layers) == (7, 1)


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
