"""Results directories with random weights under the names that training would have given them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import xarray as xr

from analysis.measured import load_measured
from grokjax.driver.measure import measure_directory
from grokjax.experiment.config import Experiment
from grokjax.experiment.grid import make_groups, make_runs
from grokjax.measurements import MEASUREMENTS
from grokjax.models import tensor_names
from grokjax.results.directory import write_experiment
from grokjax.results.status import Progress
from grokjax.results.store import GroupStore
from grokjax.results.writer import Ended, StoreWriter
from grokjax.training import one_run, passes, runstate
from tests import reference

TRANSFORMER = {"kind": "transformer", "d_model": 6, "n_heads": 2, "d_mlp": 7, "ln": "mlp-pre"}
MLP = {"kind": "mlp", "d_model": 3, "hidden": [6], "readout_scale": 1.5}
BASE = {
    "name": "m",
    "task": {"kind": "modular", "operation": "x+y", "p": 5},
    "split": {"kind": "random", "train_fraction": 0.6},
    "model": MLP,
    "optimizer": {"kind": "adamw", "learning_rate": 1e-2, "weight_decay": 0.5},
    "train": {"steps": 40, "eval_every": 5, "snapshot_every": 2},
    "axes": {"split_seed": [0, 5, 6]},
}
PARITY = {
    "task": {"kind": "sparse_parity", "n_bits": 5, "k": 2, "n_train": 21, "n_test": 9},
    "split": {"kind": "drawn"},
    "model": {"kind": "perceptron", "hidden": [9]},
    "train": BASE["train"] | {"loss": "hinge"},
}
STEPS = (0, 10, 40)
"""Of the last one the final weights, of the others snapshots."""


def words(*measurements: dict) -> list[str]:
    return ["measurements=" + json.dumps(list(measurements))]


NAMES = ["val_accuracy"]


def ended_with(run: str, step: int, weights: dict) -> Ended:
    """A run that has used its budget, without a history."""
    values = np.zeros((3, len(NAMES)), np.float32)
    return Ended(run, Progress("finished", 3, -1), step, values, weights)


class Made:
    """A results directory with random weights at STEPS of every run."""

    def __init__(
        self,
        path: Path,
        steps: tuple[int, ...] = STEPS,
        without: Sequence[int] = (),
        ended: bool = True,
        **changes,
    ):
        """`without`: numbers of runs that have no weights; `ended`: whether the last step is the runs' end."""
        self.path, self.experiment = path, Experiment.model_validate(BASE | changes)
        path.mkdir()
        write_experiment(self.experiment, path)
        self.weights, self.setups, self.data = {}, {}, {}
        self.runs = make_runs(self.experiment)
        for group in make_groups(self.runs):
            setup = runstate.make_setup(group)
            self.setups[group.hash], self.data[group.hash] = setup, runstate.make_data(setup)
            writer = StoreWriter(GroupStore(path / "groups" / group.hash))
            for number, run in enumerate(group.runs):
                if number not in without:
                    self._write(writer, number, run, setup, steps, ended)

    def _write(self, writer, number, run, setup, steps, ended) -> None:
        start = jax.jit(passes.init_params, static_argnums=0)(setup, runstate.make_hyper(run))
        named, rng = {n: np.asarray(x) for n, x in tensor_names(start).items()}, np.random
        for step in steps:
            random = rng.default_rng([number, step])
            moved = {
                n: (x + (step > 0) * random.normal(size=x.shape)).astype(np.float32)
                for n, x in named.items()
            }
            self.weights[run.id, step] = reference.as_float64(moved)
            if step < steps[-1]:
                writer.add_snapshots([(run.id, step, moved)])
            elif ended:
                writer.add_ended([ended_with(run.id, step, moved)], NAMES)

    def measure(self, **measurement) -> xr.Dataset:
        measure_directory(self.path, words(measurement))
        found = load_measured(self.path, measurement["kind"])
        assert set(found.data_vars) <= set(MEASUREMENTS[measurement["kind"]].settings.dims)
        assert all(found[d].size == n for d, n in found.sizes.items() if d != "run"), "labels fit"
        return found

    def rows(self, run):
        """Inputs, targets, labels and training mask of a run, alone and unbatched."""
        setup, data, hyper = self.setups[run.group], self.data[run.group], runstate.make_hyper(run)
        rows = jax.jit(one_run.init_rows, static_argnums=0)(setup, data, hyper)
        own = jax.jit(passes.data_of, static_argnums=0)(setup, data, hyper, 0)
        table = run.table
        inputs = getattr(table, "tokens_NT", None)
        inputs = np.asarray(own.table_input) if inputs is None else inputs
        return (*map(np.asarray, (inputs, own.targets_NA, rows.labels_NA, rows.train_N)),)

    def logits(self, run, params, inputs=None):
        s, table = run.settings.model, run.table
        inputs = self.rows(run)[0] if inputs is None else inputs
        return reference.logits(params, s, table, inputs) * s.readout_scale

    def each(self, found: xr.Dataset, steps: tuple[int, ...] = STEPS):
        """(run, step, weights, what was found in them)."""
        assert list(found["id"].values) == [run.id for run in self.runs]
        for i, run in enumerate(self.runs):
            for j, step in enumerate(steps):
                one = found.isel(run=i, snapshot=j)
                assert one["step"] == step
                yield run, step, self.weights[run.id, step], one


def bytes_below(path: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in path.rglob("*") if p.is_file()}
