"""Small grids in real processes, for the tests that kill them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from grokjax.results.experiment_file import COPY, write_both
from grokjax.results.status import DONE
from grokjax.results.store import GroupStore

ROOT = Path(__file__).parent.parent

GRID = """
name: small
task: {{kind: modular, operation: x+y, p: 7, format: a b =}}
split: {{kind: random, train_fraction: 0.6}}
model: {{kind: transformer, d_model: 16, n_heads: 2, d_mlp: 32}}
optimizer: {{kind: adamw, learning_rate: 1e-2, weight_decay: 1.0}}
train: {{steps: {steps}, eval_every: 4, batch_size: {batch}, stop: {{val_accuracy: {level}, hold: 3}},
        snapshot_every: {snapshots}}}
execution: {{slots: 4, devices: {devices}, tile: 2, chunk: {chunk}, lag: {lag}, checkpoint_seconds: {every}}}
axes:
  optimizer.weight_decay: [0.1, 1, 4]
  seed: {{range: {seeds}}}
"""


def write_grid(path: Path, **changes: object) -> Path:
    """A configuration of 3 x seeds runs that end at different times."""
    settings = {
        **{"steps": 80, "level": 0.5, "batch": "full", "seeds": 3, "snapshots": "null"},
        **{"devices": 2, "chunk": 1, "lag": 1, "every": 0},
    }
    path.write_text(GRID.format(**{**settings, **changes}))
    return path


def environment() -> dict[str, str]:
    cache = str(Path.home() / ".cache" / "grokjax-tests-processes")
    return {**os.environ, "JAX_COMPILATION_CACHE_DIR": cache, "PYTHONPATH": str(ROOT),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}  # fmt: skip


def command(config: Path, out: Path, *words: str) -> list[str]:
    return [
        sys.executable,
        str(ROOT / "run.py"),
        str(config),
        "--out",
        str(out),
        "--no-figures",
        *words,
    ]


def train(config: Path, out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Train in a process of its own, to the end."""
    return subprocess.run(
        command(config, out, *words), capture_output=True, text=True, env=environment(), timeout=300
    )


def start(config: Path, out: Path, *words: str) -> subprocess.Popen[str]:
    """Start training in a process of its own."""
    return subprocess.Popen(
        command(config, out, *words), text=True, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def results(out: Path) -> dict[str, dict[str, np.ndarray]]:
    """Everything that a run's outcome rests on, by run id."""
    found = {}
    for directory in sorted((out / "groups").iterdir()):
        store = GroupStore(directory)
        for run in sorted(store.runs):
            progress, weights = store.progress(run), store.weights
            assert progress.status in DONE, f"{run} is {progress.status}"
            _, values = store.read_block(store.source(run).block)
            found[run] = {
                "status": np.array(progress.status),
                "evaluations": np.array(progress.evaluations_done),
                "diverged_at": np.array(progress.diverged_at),
                "values": values[store.source(run).row, : progress.evaluations_done],
                **weights.read(run),
                **{
                    f"{n}@{s}": x
                    for s in weights.snapshots(run)
                    for n, x in weights.read(run, s).items()
                },
            }
    return found


def assert_same(left: dict, right: dict) -> None:
    """Bit for bit: histories, outcomes, weights."""
    assert left.keys() == right.keys()
    for run, expected in left.items():
        assert expected.keys() == right[run].keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(right[run][name], value, err_msg=f"{run} {name}")


def put_experiment(directory: Path, text: str) -> None:
    """An experiment.yaml with this text and its checksum, and no copy."""
    write_both(directory, text, {})
    (directory / COPY).unlink()
