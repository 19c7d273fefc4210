"""Whoever adds a kind writes one function and one line: kinds that only their dictionaries list go through all."""

from __future__ import annotations

import csv
import subprocess
import sys

import numpy as np

import analysis
from analysis.measured import load_measured
from analysis.weights import final_weights
from tests.harness import ROOT, environment

CONFIG = """
name: toy
task: {kind: maximum, n: 6}
split: {kind: random, train_fraction: 0.7}
model: {kind: bilinear, width: 8}
optimizer: {kind: signs, learning_rate: 0.01}
train: {steps: 8, eval_every: 4, snapshot_every: 1}
probes: [{kind: norms}, {kind: largest}]
measurements: [{kind: smallest}]
execution: {devices: 1, slots: 2}
axes:
  optimizer.learning_rate: [0.01, 0.02]
  seed: [0]
"""


def run(*words: str) -> str:
    """The command line with the toy kinds, in a process of its own."""
    command = [sys.executable, "-m", "tests.toy_kinds", *words]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=environment(), timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_kinds_listed_in_their_dictionaries_only_are_planned_trained_resumed_measured_and_drawn(
    tmp_path,
):
    config, out = tmp_path / "toy.yaml", tmp_path / "out"
    config.write_text(CONFIG)
    told = run(str(config), "--plan", "--out", str(out))
    assert "2 runs of bilinear, 96 parameters" in told
    run(str(config), "--out", str(out), "--no-figures")
    first = analysis.load(out)
    assert (first["evaluations_done"] == 3).all() and set(first["status"].values) == {"finished"}
    run(str(config), "--out", str(out), "train.steps=16")
    second = analysis.load(out)
    assert (second["evaluations_done"] == 5).all()
    np.testing.assert_array_equal(second["value"][:, :3], first["value"])
    largest = second["value"].sel(probe="largest_weight")
    # Steps of fixed length along signs: in 4 steps no weight moves further than 4 of them.
    assert (abs(np.diff(largest)) <= 4.001 * 0.02).all() and (abs(np.diff(largest)) > 0).any()
    assert (out / "figures" / "largest_weight.png").exists()
    with (out / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    final = [float(row["final_largest_weight"]) for row in rows]
    np.testing.assert_allclose(final, largest[:, -1], rtol=1e-6)
    run("--measure", str(out))
    measured = load_measured(out, "smallest")
    expected = {
        tuple(float(abs(w[n]).min()) for n in ("W_E", "W_U")) for w in final_weights(second)
    }
    rows = np.asarray(measured["smallest_weight"]).reshape(-1, 2).tolist()
    assert len(rows) == 2 and {tuple(row) for row in rows} <= expected
