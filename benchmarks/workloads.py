"""What is trained in the benchmarks, and how many operations a naive program spends on it."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from grokjax.experiment.cadence import Cadence
from grokjax.experiment.config import Experiment
from grokjax.experiment.grid import Group, make_groups, make_runs
from grokjax.training import costs, runstate
from grokjax.training.runstate import Setup

ADAMW = {"kind": "adamw", "learning_rate": 1e-3, "weight_decay": 1.0, "beta2": 0.98}
POWER = {
    "task": {"kind": "modular", "operation": "x+y", "p": 97, "format": "a op b ="},
    "split": {"kind": "random", "train_fraction": 0.5},
    "model": {"kind": "transformer", "n_layers": 2, "d_model": 128, "n_heads": 4, "d_mlp": 512}
    | {"ln": "post"},
    "optimizer": ADAMW,
}
LARGE = 4 * 10**8


@dataclasses.dataclass(frozen=True)
class Workload:
    """One program: its settings and the steps that a timed call makes."""

    name: str
    title: str
    settings: dict[str, Any]
    steps: int
    """Optimiser steps of a timed call, rounded to whole epochs."""
    batch: int | None = None
    precision: str = "float32"
    stream: bool = False
    loss: str = "cross_entropy"

    def group(self, runs: int) -> Group:
        """A group of this many seeds, with a budget that is never spent."""
        batch = {} if self.batch is None else {"batch_size": self.batch}
        train = {"steps": {"epochs": LARGE // 10**4}, "eval_every": {"epochs": 1}} | batch
        if self.batch is None or self.stream:
            train |= {"steps": LARGE, "eval_every": 50}
        train |= {"precision": self.precision, "loss": self.loss}
        experiment = {"name": "benchmark", "train": train, "axes": {"seed": {"range": runs}}}
        (group,) = make_groups(make_runs(Experiment.model_validate(self.settings | experiment)))
        return group

    def setup(self, group: Group, platform: str) -> Setup:
        """Static part in which, after two evaluations, only training is timed: blocks of `steps`."""
        setup = runstate.make_setup(group, costs.row_blocks(group.first, platform))
        unit = max(1, round(self.steps / setup.batches)) * setup.batches
        return dataclasses.replace(setup, cadence=Cadence(10**5 * unit, unit, unit))


WORKLOADS = {
    w.name: w
    for w in (
        Workload(
            "A",
            "one layer, p = 113, 3,831 rows, full batch (sources 001 and 004)",
            {
                "task": {"kind": "modular", "operation": "x+y", "p": 113},
                "split": {"kind": "random", "train_fraction": 0.3, "rounding": "ceil"},
                "model": {"kind": "transformer", "n_layers": 1, "d_model": 128, "n_heads": 4}
                | {"d_mlp": 512, "causal": False},
                "optimizer": ADAMW,
            },
            steps=10,
        ),
        Workload(
            "B",
            "MLP, p = 97, 7,528 rows in batches of 512 (source 002)",
            {
                "task": {"kind": "modular", "operation": "x+y", "p": 97}
                | {"format": "a op b =", "classes": "vocabulary"},
                "split": {"kind": "random", "train_fraction": 0.8, "rounding": "ceil"},
                "model": {"kind": "mlp", "d_model": 128, "hidden": [128], "init": "grokking-mlp"},
                "optimizer": ADAMW | {"weight_decay": 0.01},
            },
            steps=300,
            batch=512,
        ),
        Workload(
            "C",
            "two layers, LayerNorm after, p = 97, batches of 512 (source 001)",
            POWER,
            steps=20,
            batch=512,
        ),
        Workload("C full", "the same, 4,704 rows, full batch", POWER, steps=3),
        Workload(
            "D",
            "one layer, p = 31, d_model 64, 480 rows, full batch (quickstart)",
            {
                "task": {"kind": "modular", "operation": "x+y", "p": 31},
                "split": {"kind": "random", "train_fraction": 0.5},
                "model": {"kind": "transformer", "n_layers": 1, "d_model": 64, "n_heads": 4}
                | {"d_mlp": 256},
                "optimizer": ADAMW | {"learning_rate": 3e-3},
            },
            steps=200,
        ),
    )
}


_NANDA = {"kind": "transformer", "n_heads": 4, "init": "nanda"}
STREAMS = {
    "F": Workload(
        "F",
        "five-digit addition, one layer, d_model 128, 64 new rows a step (source 001)",
        {
            "task": {"kind": "addition"},
            "split": {"kind": "drawn"},
            "model": _NANDA | {"n_layers": 1, "d_model": 128, "d_mlp": 512},
            "optimizer": ADAMW | {"learning_rate": 1e-4, "weight_decay": 0.1},
        },
        steps=100,
        batch=64,
        stream=True,
    ),
    "G": Workload(
        "G",
        "repeated subsequence, two layers of attention, d_model 48, 128 new rows a step (source 001)",
        {
            "task": {"kind": "repeated_subsequence"},
            "split": {"kind": "drawn"},
            "model": _NANDA | {"n_layers": 2, "d_model": 48, "d_mlp": None},
            "optimizer": ADAMW | {"beta2": 0.999},
        },
        steps=30,
        batch=128,
        stream=True,
    ),
}
"""Tasks whose rows every step draws anew."""

BOTTLENECK = Workload(
    "H",
    "bottleneck, 1,000 features, 2 hidden dimensions, 500 rows, full batch (source 003)",
    {
        "task": {"kind": "sparse_features", "n_train": 500},
        "split": {"kind": "drawn"},
        "model": {"kind": "bottleneck", "n_hidden": 2},
        "optimizer": ADAMW | {"weight_decay": 0.01, "beta2": 0.999},
    },
    steps=500,
    loss="squared_error",
)


def training_rows(group: Group) -> np.ndarray:
    """Row numbers of the table that the group's first run trains on."""
    setup = runstate.make_setup(group)
    data, hyper = runstate.make_data(setup), runstate.make_hyper(group.first)
    from grokjax.training import one_run

    return np.asarray(jax.jit(lambda: one_run.init_rows(setup, data, hyper).index_B)())[
        : group.first.n_train
    ]
