"""Whoever follows docs/extending.md gets what it says: its recipes, applied to a copy of the project, work."""

from __future__ import annotations

import ast
import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import analysis
from analysis.measured import load_measured
from analysis.weights import final_weights
from grokjax.experiment.grid import make_runs
from grokjax.experiment.loading import load_experiment
from tests.harness import ROOT, environment
from tests.recipes import PAGE, add_tests, apply_recipes, blocks
from tests.synthetic import write_results
from tests.test_architecture import untyped

CONFIG = """
name: toy
task: {kind: maximum, n: 6}
split: {kind: by_operand, validation_below: 2}
model: {kind: bilinear, width: 8}
optimizer: {kind: signs, learning_rate: 0.01, weight_decay: 0.1, decay_form: to_sparse}
train: {steps: 8, eval_every: 4, snapshot_every: 1}
probes: [{kind: norms}, {kind: largest}, {kind: output_layer}]
intervention: {kind: clip, limit: 0.25, when: {kind: fitted, level: 100.0}}
measurements: [{kind: smallest}]
execution: {devices: 1, slots: 2}
axes:
  intervention.armed: [true, false]
  seed: [0]
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    return apply_recipes(tmp_path_factory.mktemp("followed") / "project")


def run(tree: Path, *words: str) -> str:
    """The command line of the copy, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "run.py", *words],
        cwd=tree,
        capture_output=True,
        text=True,
        env={**environment(), "PYTHONPATH": str(tree)},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.soak
def test_kinds_of_the_recipes_are_planned_trained_resumed_measured_and_drawn(tree, tmp_path):
    config, out = tmp_path / "toy.yaml", tmp_path / "out"
    config.write_text(CONFIG)
    told = run(tree, str(config), "--plan", "--out", str(out))
    assert "2 runs of bilinear, 96 parameters, 24 training rows" in told
    assert "rows per step 24; " in told
    run(tree, str(config), "--out", str(out), "--no-figures")
    first = analysis.load(out)
    assert (first["evaluations_done"] == 3).all() and set(first["status"].values) == {"finished"}
    run(tree, str(config), "--out", str(out), "train.steps=16")
    second = analysis.load(out)
    assert (second["evaluations_done"] == 5).all()
    np.testing.assert_array_equal(second["value"][:, :3], first["value"])
    largest = second["value"].sel(probe="largest_weight")
    armed = second["intervention.armed"].to_numpy() == "True"
    assert armed.sum() == 1
    # Clipped after the evaluation at step 0; in 4 steps no weight moves further than 4 of them.
    assert (largest[armed, 1] <= 0.25 + 4.001 * 0.01).all() and (largest[~armed, 1] > 0.4).all()
    assert (second["value"].sel(probe="intervened_at")[armed, 1:] == 0).all()
    check_outputs(out, largest[:, -1].to_numpy())
    run(tree, "--measure", str(out))
    check_measured(out)


def check_outputs(out: Path, last: np.ndarray) -> None:
    """Figures and table: the value has a panel, a column, and a figure of its own."""
    drawn = {file.name for file in (out / "figures").iterdir()}
    assert {"largest_weight.png", "probes.png", "curves.png"} <= drawn
    with (out / "runs.csv").open() as file:
        final = [float(row["final_largest_weight"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(final, last, rtol=1e-6)


def check_measured(out: Path) -> None:
    measured = load_measured(out, "smallest")
    weights = final_weights(analysis.load(out))
    expected = {tuple(float(abs(w[n]).min()) for n in ("W_E", "W_U")) for w in weights}
    rows = np.asarray(measured["smallest_weight"]).reshape(-1, 2).tolist()
    assert len(rows) == 2 and {tuple(row) for row in rows} <= expected


@pytest.mark.soak
def test_an_operation_a_format_and_a_scheme_of_the_recipes_are_settings(tree, tmp_path):
    words = ["task.operation=x^2-y^2", "task.format=b a =", "model={kind: mlp, init: small}"]
    words += ["probes=[{kind: fourier}]", "--plan", "--out", str(tmp_path / "x")]
    assert "80 runs in 5 groups" in run(tree, str(ROOT / "configs" / "quickstart.yaml"), *words)


@pytest.mark.soak
def test_figures_of_the_recipes_do_not_break_other_directories(tree, tmp_path):
    path = write_results(tmp_path / "x", {"seed": range(2)})
    done = subprocess.run([sys.executable, "-m", "analysis", str(path)], cwd=tree, capture_output=True,
                          text=True, env={**environment(), "PYTHONPATH": str(tree)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {file.stem for file in (path / "figures").iterdir()} == {"curves", "probes"}


ASKED_OF_EVERY_KIND = (
    *("architecture", "bad_input", "help", "interventions", "model_kinds", "models", "optim"),
    *("probes", "samples", "splits", "tasks", "wrong_kinds"),
)


@pytest.mark.soak
def test_the_tests_of_the_project_pass_with_everything_added(tmp_path):
    """What they ask of every kind is what the page tells, and no list of kinds is written out in a sentence."""
    tree = add_tests(apply_recipes(tmp_path / "project"))
    files = [f"tests/test_{name}.py" for name in ASKED_OF_EVERY_KIND]
    files.append("tests/test_measure_mistakes.py::test_a_wrong_measurement")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not soak", "-p", "no:cacheprovider", *files],
        cwd=tree,
        capture_output=True,
        text=True,
        env={**environment(), "PYTHONPATH": str(tree)},
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    assert " passed" in done.stdout


def test_recipes_name_their_types():
    found = [told for place, code in blocks("python") for told in untyped(ast.parse(code).body)]
    assert found == [] and len(blocks("python")) >= 10


def test_recipes_pass_the_projects_own_lint(tree):
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "--select", "E,F,W,UP,B,SIM", "--ignore", "F722",
                           "--config", "lint.pycodestyle.max-line-length=120", "."],
                          cwd=tree, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stdout


def small_configuration(folder: Path) -> Path:
    """The configuration of the page that trains in seconds."""
    (text,) = re.findall(
        r"^```yaml\n(name: toy\n.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    file = folder / "toy.yaml"
    file.write_text(text)
    return file


def test_the_small_configuration_of_the_page_is_two_runs(tmp_path):
    runs = make_runs(load_experiment(small_configuration(tmp_path)))
    assert [run.settings.seed for run in runs] == [0, 1] and runs[0].steps == 200


@pytest.mark.soak
def test_the_small_configuration_of_the_page_trains(tree, tmp_path):
    file, out = small_configuration(tmp_path), tmp_path / "out"
    words = [str(file), "task.operation=x^2-y^2", 'task.format="b a ="', "--out", str(out)]
    run(tree, *words, "--no-figures")
    assert set(analysis.load(out)["status"].values) == {"finished"}


def test_every_dictionary_of_the_table_has_a_recipe():
    table = PAGE.read_text().split("## How to read")[0]
    listed = {
        line.split("| `")[-1].split("`")[0] for line in table.splitlines() if "` in `" in line
    }
    changed = {line.strip().split(":")[0] for _, text in blocks("diff") for line in text.splitlines()
               if line.startswith(" ") and line.endswith("{")}  # fmt: skip
    assert listed == changed
