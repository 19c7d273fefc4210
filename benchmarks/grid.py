"""Workload E: a grid whose runs end at very different times, in slots that are refilled and in lockstep."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import jax

from grokjax.driver import session
from grokjax.driver.tally import Tally
from grokjax.experiment.config import Experiment

GRID = {
    "name": "lengths",
    "task": {"kind": "modular", "operation": "x+y", "p": 23},
    "split": {"kind": "random", "train_fraction": 0.7},
    "model": {"kind": "transformer", "n_layers": 1, "d_model": 32, "n_heads": 4, "d_mlp": 128},
    "optimizer": {"kind": "adamw", "learning_rate": 1e-2, "weight_decay": 1.0, "beta2": 0.98},
    "train": {"steps": 2000, "eval_every": 25, "stop": {"val_accuracy": 0.97, "hold": 3}},
    "axes": {
        "optimizer.weight_decay": [0.5, 1.0, 1.5, 2.0, 3.0],
        "optimizer.learning_rate": [5e-3, 1e-2],
        "seed": {"range": 20},
    },
}
"""200 runs of one group."""


def train(budget: int = 2000, **execution: Any) -> tuple[float, Tally]:
    """Seconds (compilation left out) and the tally of the whole grid, in a fresh directory."""
    grid = GRID | {"train": GRID["train"] | {"steps": budget}}
    tallies: list[Tally] = []
    folder = Path(tempfile.mkdtemp())
    began = time.perf_counter()
    try:
        session.run_experiment(
            Experiment.model_validate(grid),
            {"out": str(folder / "results"), **execution},
            display=tallies.append,
        )
        return time.perf_counter() - began - tallies[-1].compile_seconds, tallies[-1]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def compare() -> list[dict[str, Any]]:
    """Slots as by default; the whole grid as slots of the same engine; a lockstep batch, one tile a device; and a grid
    of 25 times its slots, whose runs last longer."""
    n = 200
    ways: dict[str, dict[str, Any]] = {
        "slots, refilled (default)": {},
        "no refilling: 200 slots, same tile": {"slots": n},
        "lockstep: one batch of 200, as plain vmap has it": {
            "slots": n,
            "tile": n // jax.device_count(),
        },
        "8 slots, refilled, budget of 8,000": {"slots": 8, "budget": 8000},
    }
    found = []
    for name, execution in ways.items():
        seconds, tally = train(**execution)
        found.append(
            {
                "way": name,
                "seconds": round(seconds, 1),
                "compile_seconds": round(tally.compile_seconds, 1),
                "run_steps": tally.run_steps,
                "idle": round(tally.idle, 3),
                "host": round(tally.host, 4),
            }
        )
        print(f"  {found[-1]}", flush=True)
    return found
