"""Measurements on saved weights, against NumPy and against what training itself recorded.

Most directories here are made up: random weights under the names that training would have given them.
"""

from __future__ import annotations

# ruff: noqa: E501 - a sentence is read as a whole
import itertools
import json
import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray as xr

from analysis import load
from analysis.load import ResultsError
from analysis.measured import at_the_end, load_measured
from grokjax.cli.commands import main
from grokjax.driver.measure import measure_directory
from grokjax.driver.session import run_experiment
from grokjax.experiment.config import Experiment
from grokjax.experiment.grid import make_groups, make_runs
from grokjax.experiment.places import ConfigError
from grokjax.measurements import MEASUREMENTS, kernel, sharpness
from grokjax.measurements.projection import principal_components
from grokjax.models import tensor_names
from grokjax.models.checks import offering
from grokjax.results.directory import check_directory, directory_of, write_experiment
from grokjax.results.locks import hold
from grokjax.results.saved_weights import shelves_of
from grokjax.results.status import Progress
from grokjax.results.store import GroupStore
from grokjax.results.writer import Ended, StoreWriter
from grokjax.training import one_run, passes, runstate
from tests import reference
from tests.words import one_of

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


def is_right(logits_NAC, wanted_NA):
    """The label's logit is above all others; a tie is wrong."""
    others = logits_NAC.copy()
    np.put_along_axis(others, wanted_NA[..., None], -np.inf, -1)
    label = np.take_along_axis(logits_NAC, wanted_NA[..., None], -1)[..., 0]
    return label > others.max(-1)


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


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Made]:
    """A directory for each model."""
    path = tmp_path_factory.mktemp("made")
    return {
        "mlp": Made(path / "mlp", split=BASE["split"] | {"label_noise": 0.2}),
        "transformer": Made(path / "transformer", model=TRANSFORMER),
        "perceptron": Made(path / "perceptron", **PARITY),
    }


EVERY_MODEL = pytest.mark.parametrize("model", ["mlp", "transformer", "perceptron"])
ONE_MODEL = pytest.mark.parametrize(
    "model",
    ["mlp", *(pytest.param(m, marks=pytest.mark.soak) for m in ("transformer", "perceptron"))],
)


# Sharpness --------------------------------------------------------------------------------------------------------


@ONE_MODEL
def test_sharpness_starts_from_the_training_loss_and_no_point_of_the_box_is_above_it(made, model):
    """Loss by the reference in float64; random corners of the box are not above the largest loss found."""
    found, rng = (
        made[model].measure(kind="sharpness", epsilon=1e-2, steps=40, at="all"),
        np.random.default_rng(0),
    )
    for run, _, weights, one in made[model].each(found):
        _, _, labels_NA, train_N = made[model].rows(run)

        def loss(w, run=run, labels_NA=labels_NA, train_N=train_N):
            loss_of = reference.LOSSES[run.settings.train.loss]
            per_NA = loss_of(made[model].logits(run, w), labels_NA)
            return per_NA[train_N].mean()

        before, largest = float(one["loss"]), float(one["largest_loss"])
        assert before == pytest.approx(loss(weights), rel=1e-4, abs=1e-5)
        assert float(one["sharpness"]) == pytest.approx(
            100 * (largest - before) / (1 + before), rel=1e-4, abs=1e-3
        )
        corners = [
            {
                n: w + 1e-2 * (np.abs(w) + 1) * rng.choice([-1, 1], w.shape)
                for n, w in weights.items()
            }
            for _ in range(20)
        ]
        assert largest >= max(loss(corner) for corner in corners) - 1e-4
        assert largest > before
        inputs, targets_NA, _, train_N = made[model].rows(run)
        right = is_right(made[model].logits(run, weights, inputs), targets_NA)[~train_N].mean()
        assert float(one["val_accuracy"]) == pytest.approx(right, abs=1e-6)


def test_the_largest_value_of_a_bowl_in_a_box_is_at_its_corner():
    rng = np.random.default_rng(0)
    w, b, a = (rng.uniform(0.5, 2, size=7) * rng.choice([-1, 1], 7) for _ in range(3))
    b, a = np.abs(b), np.abs(a)
    for steps in (4, 20, 100):
        found = sharpness.largest_in_box(
            lambda p: (a * p["w"] ** 2).sum(), {"w": w.astype(np.float32)}, {"w": b}, steps
        )
        assert float(found) == pytest.approx((a * (np.abs(w) + b) ** 2).sum(), rel=1e-5)


def test_a_summit_within_the_box_is_found_by_small_steps():
    start, bound = {"w": np.zeros(3, np.float32)}, {"w": np.ones(3)}
    top = np.array([0.3, -0.5, 0.9])
    found = sharpness.largest_in_box(lambda p: -((p["w"] - top) ** 2).sum(), start, bound, 80)
    assert -0.01 < float(found) <= 0


# Pruning ----------------------------------------------------------------------------------------------------------


@ONE_MODEL
def test_pruning_is_numpys_forward_pass_with_the_small_weights_gone(made, model) -> None:
    directory, thresholds = made[model], [0, 0.05, 0.4, 2]
    found = directory.measure(kind="pruning", at="all", thresholds=thresholds)
    for run, _, weights, one in directory.each(found):
        _, targets_NA, labels_NA, train_N = directory.rows(run)
        flat = np.concatenate([w.ravel() for w in weights.values()])
        for i, threshold in enumerate(thresholds):
            at = one.isel(threshold=i)
            pruned = {n: np.where(np.abs(w) < threshold, 0, w) for n, w in weights.items()}
            logits = directory.logits(run, pruned)
            assert at["threshold"] == threshold
            assert np.isclose(at["share_pruned"], (np.abs(flat) < threshold).mean())
            for side, mask, wanted in (
                ("train", train_N, labels_NA),
                ("val", ~train_N, targets_NA),
            ):
                loss = reference.LOSSES[run.settings.train.loss](logits, wanted)[mask].mean()
                right = is_right(logits, wanted)[mask].mean()
                assert np.isclose(at[f"{side}_loss"], loss, rtol=1e-4), (side, threshold)
                assert np.isclose(at[f"{side}_accuracy"], right), (side, threshold)


def test_accuracies_of_equations_with_an_end_token_count_whole_rows(tmp_path) -> None:
    """As the probe metrics does: the answer and the end token behind it must both be right."""
    task = BASE["task"] | {"format": "| a op b = c |"}
    directory = Made(
        tmp_path / "ends", task=task, model=TRANSFORMER, axes={"split_seed": list(range(12))}
    )
    pruned = directory.measure(kind="pruning", at="all", thresholds=[0])
    sharp = directory.measure(kind="sharpness", at="all", steps=1)
    differ = 0
    for (run, _, weights, one), (*_, other) in zip(
        directory.each(pruned), directory.each(sharp), strict=True
    ):
        _, targets_NA, _, train_N = directory.rows(run)
        right_NA = is_right(directory.logits(run, weights), targets_NA)[~train_N]
        assert right_NA.shape[1] == 2
        assert np.isclose(one["val_accuracy"].item(), right_NA.all(1).mean())
        assert np.isclose(other["val_accuracy"].item(), right_NA.all(1).mean())
        differ += right_NA.all(1).mean() != right_NA.mean()
    assert differ


# Neurons ----------------------------------------------------------------------------------------------------------


def layer_names(model: str) -> tuple[str, str]:
    return ("blocks.0.W_in", "blocks.0.W_out") if model == "transformer" else ("W_0", "W_U")


def only(weights, model: str, neurons) -> dict:
    """The weights with the outgoing ones of all other neurons at 0."""
    name = layer_names(model)[1]
    kept = np.zeros_like(weights[name])
    kept[list(neurons)] = weights[name][list(neurons)]
    return weights | {name: kept}


def by_norm(weights, model: str) -> list[int]:
    norms = [np.linalg.norm(column) for column in weights[layer_names(model)[0]].T]
    return sorted(range(len(norms)), key=lambda i: -norms[i])


def fewest(directory: Made, run, weights, model: str) -> tuple[int, int]:
    """Brute force: the first prefix with the full network's accuracy, and with its predictions."""
    inputs, _, labels_NA, train_N = directory.rows(run)
    order = by_norm(weights, model)
    full = directory.logits(run, weights, inputs).argmax(-1)[train_N]
    taught = labels_NA[train_N]
    prefixes = [only(weights, model, order[:k]) for k in range(1, len(order) + 1)]
    answers = [directory.logits(run, p, inputs).argmax(-1)[train_N] for p in prefixes]
    accuracy = [(a == taught).mean() == (full == taught).mean() for a in answers]
    return 1 + accuracy.index(True), 1 + [(a == full).all() for a in answers].index(True)


@pytest.mark.soak
@EVERY_MODEL
def test_the_fewest_neurons_are_those_of_brute_force(made, model) -> None:
    directory = made[model]
    found = directory.measure(kind="effective_sparsity", at="all")
    wanted = []
    for run, _, weights, one in directory.each(found):
        wanted.append(fewest(directory, run, weights, model))
        got = (one["neurons_same_accuracy"], one["neurons_same_predictions"])
        assert tuple(map(int, got)) == wanted[-1]
        assert one["neurons"] == weights[layer_names(model)[0]].shape[1]
    assert len(set(wanted)) > 2, "all the same would show nothing"


@ONE_MODEL
def test_subnetworks_are_numpys(made, model) -> None:
    directory = made[model]
    found = directory.measure(kind="subnetworks", at="all")
    for run, _, weights, one in directory.each(found):
        end = directory.weights[run.id, STEPS[-1]]
        n = fewest(directory, run, end, model)[0]
        order = by_norm(end, model)
        _, targets_NA, labels_NA, train_N = directory.rows(run)
        full = directory.logits(run, weights).argmax(-1)
        for part, neurons in (("generalising", order[:n]), ("complement", order[n:])):
            at = one.sel(part=part)
            logits = directory.logits(run, only(weights, model, neurons))
            into, out = (weights[name] for name in layer_names(model))
            squares = (into[:, neurons] ** 2).sum() + (out[neurons] ** 2).sum()
            assert at["size"] == len(neurons)
            assert np.isclose(at["norm"], squares**0.5)
            assert np.isclose(at["faithfulness"], (logits.argmax(-1) == full).mean())
            assert np.isclose(at["train_accuracy"], is_right(logits, labels_NA)[train_N].mean())
            assert np.isclose(at["val_accuracy"], is_right(logits, targets_NA)[~train_N].mean())
        assert one["size"].sel(part="control") == n


@pytest.mark.soak
def test_the_control_is_drawn_anew_for_each_run_and_stays_the_same_for_its_snapshots(made) -> None:
    directory = made["perceptron"]
    into, out = layer_names("perceptron")
    found = directory.measure(kind="subnetworks", at="all")["norm"].sel(part="control")
    chosen: dict[str, set[tuple[int, ...]]] = {}
    for i, run in enumerate(directory.runs):
        n = fewest(directory, run, directory.weights[run.id, 40], "perceptron")[0]
        for j, step in enumerate(STEPS):
            w = directory.weights[run.id, step]
            squares = (w[into] ** 2).sum(0) + (w[out] ** 2).sum(1)
            fitting = {
                c
                for c in itertools.combinations(range(len(squares)), n)
                if np.isclose(squares[list(c)].sum() ** 0.5, found[i, j], rtol=1e-5)
            }
            chosen[run.id] = chosen.get(run.id, fitting) & fitting
    assert all(len(c) == 1 for c in chosen.values())
    sets = [set(*c) for c in chosen.values()]
    # One random order for all runs would give sets of which one contains the other.
    assert any(not a <= b and not b <= a for a, b in itertools.combinations(sets, 2))


# Spectra ----------------------------------------------------------------------------------------------------------


def test_eigenvalues_are_those_of_the_hidden_activations(made) -> None:
    directory = made["mlp"]
    found = directory.measure(kind="spectrum", at="all")["eigenvalue"].to_dataset()
    for run, _, w, one in directory.each(found):
        tokens_NT, _, _, train_N = directory.rows(run)
        x = np.concatenate([w["W_E"][column] for column in tokens_NT.T], 1)
        Z = np.maximum(x @ w["W_0"] + w["b_0"], 0)
        for side, mask in (("train", train_N), ("val", ~train_N)):
            squares = np.linalg.svd(Z[mask], compute_uv=False) ** 2
            got = one["eigenvalue"].sel(rows=side)
            np.testing.assert_allclose(got, squares, rtol=1e-4, atol=1e-6 * squares[0])


@pytest.mark.parametrize("p", [5, 6])
def test_frequency_shares_are_those_of_sines_and_cosines(p, tmp_path) -> None:
    directory = Made(tmp_path / "x", task=BASE["task"] | {"p": p})
    found = directory.measure(kind="embedding_fourier", at="all")
    assert list(found["frequency"]) == list(range(1, p // 2 + 1))
    for _, _, weights, one in directory.each(found):
        numbers = weights["W_E"][:p] - weights["W_E"][:p].mean(0)
        angle = 2 * np.pi * np.outer(range(1, p // 2 + 1), range(p)) / p
        waves = np.stack([np.cos(angle), np.sin(angle)])
        size = np.where((waves**2).sum(-1) > 1e-9, (waves**2).sum(-1), np.inf)
        energy = (((waves @ numbers) ** 2).sum(-1) / size).sum(0)
        np.testing.assert_allclose(one["energy_share"], energy / (numbers**2).sum(), rtol=1e-5)


# Projections ------------------------------------------------------------------------------------------------------


def by_covariance(points):
    """Coordinates by the covariance's eigenvectors, whose largest entry is positive; shares of variance."""
    values, vectors = np.linalg.eigh(np.cov(points.T))
    first = vectors[:, [-1, -2]]
    first = np.stack([v if max(v, key=abs) > 0 else -v for v in first.T], 1)
    return (points - points.mean(0)) @ first, values[[-1, -2]] / values.sum()


@pytest.mark.parametrize("model", ["mlp", "transformer"])
def test_projections_are_those_on_the_covariances_eigenvectors(made, model) -> None:
    directory = made[model]
    found = directory.measure(kind="pca", of="both", rows_y=3, at="all")
    assert list(found["token"]) == list(range(6)) and list(found["x"]) == list(range(5))
    for run, _, weights, one in directory.each(found):
        rows = [i for i, (x, y) in enumerate(run.table.operands_N2) if y == 3]
        points = {"embedding": weights["W_E"], "logits": directory.logits(run, weights)[rows, 0]}
        for name, x in points.items():
            xy, share = by_covariance(x)
            np.testing.assert_allclose(one[name], xy, atol=1e-3)
            np.testing.assert_allclose(one[f"{name}_share"], share, atol=1e-4)


def test_a_projection_of_a_diverged_run_is_nan_and_of_one_dimension_flat() -> None:
    xy, share = principal_components(np.array([[1.0, np.nan], [2, 3]]))
    assert np.isnan(xy).all() and np.isnan(share).all()
    xy, share = principal_components(np.array([[1.0], [3.0]]))
    assert xy.tolist() == [[-1, 0], [1, 0]] and share.tolist() == [1, 0]


# Attention --------------------------------------------------------------------------------------------------------


def test_attention_entropy_is_numpys(made) -> None:
    directory = made["transformer"]
    found = directory.measure(kind="attention_entropy", at="all")
    for run, _, w, one in directory.each(found):
        stream = w["W_E"][directory.rows(run)[0]] + w["W_pos"]
        heads = []
        for own in (slice(0, 3), slice(3, 6)):
            q, k = (stream @ w[f"blocks.0.W_{x}"][:, own] for x in "QK")
            scores = np.where(np.tri(3), q @ k.swapaxes(1, 2) / 3**0.5, -np.inf)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            heads.append(weights / weights.sum(-1, keepdims=True))
        a = sum(heads) / 2
        entropy = [-sum(x * np.log(x) for x in row if x > 0) for row in a.reshape(-1, 3)]
        by_position = np.mean(np.reshape(entropy, (-1, 3)), 0)
        np.testing.assert_allclose(one["entropy_by_position"][0], by_position, atol=1e-5)
        np.testing.assert_allclose(one["entropy"][0], by_position.mean(), atol=1e-5)


# Tangent kernel ---------------------------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.parametrize(("model", "most"), [("mlp", 2**24), ("mlp", 500), ("perceptron", 2**24)])
def test_the_kernels_distance_is_that_of_explicit_jacobians(made, model, most, monkeypatch) -> None:
    """On all training rows: complex steps through NumPy's forward pass, no automatic differentiation."""
    monkeypatch.setattr(kernel, "MOST", most)
    directory = made[model]
    found = directory.measure(kind="ntk", n_rows=1000, at="all")
    grams = {}
    for run, step, weights, one in directory.each(found):
        inputs, _, _, train_N = directory.rows(run)

        def total(params, row, run=run):
            logits = directory.logits(run, params, row[None])
            # Two classes share one output f, whose logits are -f/2 and f/2.
            one_output = logits[..., 1:] - logits[..., :1]
            return (one_output if model == "perceptron" else logits).sum((-1, -2, -3))

        jacobian = [
            np.concatenate(
                [
                    g.ravel()
                    for g in reference.gradient(lambda p, x=x: total(p, x), weights).values()
                ]
            )
            for x in inputs[train_N]
        ]
        grams[step] = np.array(jacobian) @ np.array(jacobian).T
        distance = np.linalg.norm(grams[step] - grams[0]) / np.linalg.norm(grams[0])
        np.testing.assert_allclose(one["distance"], distance, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(one["norm"], np.linalg.norm(grams[step]), rtol=1e-4)
        assert one["rows"] == train_N.sum()


@pytest.mark.soak
def test_the_kernel_of_fewer_rows_uses_training_rows_of_each_run(made) -> None:
    directory = made["mlp"]
    found = directory.measure(kind="ntk", n_rows=1, at=[0])
    for i, run in enumerate(directory.runs):
        inputs, _, _, train_N = directory.rows(run)
        weights = directory.weights[run.id, 0]
        squares = []
        for row in inputs[train_N]:
            f = lambda p, x=row, r=run: directory.logits(r, p, x[None]).sum((-1, -2, -3))  # noqa: E731
            squares.append(sum((g**2).sum() for g in reference.gradient(f, weights).values()))
        assert np.isclose(squares, found["norm"][i, 0].item(), rtol=1e-4).any()
        assert found["rows"][i, 0] == 1
    # Here the bucket has one row more than the 21 that train.
    assert (made["perceptron"].measure(kind="ntk", n_rows=20)["rows"] == 20).all()


# What is on disk --------------------------------------------------------------------------------------------------


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
    directory = made["mlp"]
    directory.measure(kind="pruning")
    stores = list(directory.path.rglob("measured/*"))
    assert stores and {p.suffix for p in stores} == {".safetensors"}
    before = bytes_below(directory.path)
    directory.measure(kind="pruning")
    assert bytes_below(directory.path) == before


@pytest.mark.soak
def test_new_settings_replace_what_was_measured(made) -> None:
    directory = made["mlp"]
    directory.measure(kind="pruning", at="all")
    found = directory.measure(kind="pruning", thresholds=[0.5])
    assert found.sizes == {"run": 3, "snapshot": 1, "threshold": 1}
    assert json.loads(found.attrs["settings"])["thresholds"] == [0.5]
    assert "set to 0" in found.attrs["meaning"]
    assert list(found["split_seed"].values) == [0, 5, 6]
    assert found["val_loss"].dims == ("run", "snapshot", "threshold")


def bytes_below(path: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_many_sets_of_weights_go_in_several_calls_of_one_program(made, monkeypatch) -> None:
    directory = made["mlp"]
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


# Mistakes ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    """Make a directory x, ask for a measurement; returns what the command says after a mistake."""
    monkeypatch.chdir(tmp_path)

    def run(*given: str, steps: tuple[int, ...] = STEPS, made: bool = True, **changes) -> str:
        directory = Made(Path("x"), steps, **changes) if made else None
        if directory:
            with hold(Path("x")):  # leaves its lock file
                pass
        before = bytes_below(Path())
        assert main(["--measure", "x", *given]) == 2
        assert bytes_below(Path()) == before, "something was written"
        out, error = capsys.readouterr()
        assert out == "" and "Traceback" not in error and error.count("\n") == 1
        first = directory.runs[0].id if directory else ""
        return error.removesuffix("\n").replace(first, "RUN") if first else error.strip()

    return run


def one(**settings) -> str:
    return words(settings)[0]


KINDS = one_of(MEASUREMENTS)
EMBEDDING = " or ".join(offering(frozenset({"embedding"})))
ATTENTION = " or ".join(offering(frozenset({"attention"})))
ADVICE = "use one of these steps, or train another directory with train.snapshot_every"


@pytest.mark.parametrize(
    ("given", "changes", "sentence"),
    [
        ({"kind": "attention_entropy"}, {}, f"measurements.0.kind: attention_entropy needs a model with attention; use model.kind {ATTENTION}; or remove this measurement"),
        ({"kind": "embedding_fourier"}, PARITY, f"measurements.0.kind: embedding_fourier needs a model with an embedding; use model.kind {EMBEDDING}; or remove this measurement"),
        ({"kind": "embedding_fourier"}, {"task": {"kind": "permutation", "group": "S3"}}, "measurements.0.kind: embedding_fourier needs a task of kind modular, whose tokens are numbers modulo p; or remove this measurement"),
        ({"kind": "effective_sparsity"}, {"model": MLP | {"hidden": [3, 4]}}, "measurements.0.kind: effective_sparsity needs a transformer or one hidden layer; or remove this measurement"),
        ({"kind": "pca", "of": "logits"}, {}, "measurements.0.kind: pca needs rows whose second operand is rows_y = 8, but there are none; use 0 to 4; or remove this measurement"),
        ({"kind": "pca", "of": "logits"}, PARITY, "measurements.0.kind: pca needs rows with two operands, but the rows of this task have none; use of: embedding; or remove this measurement"),
        ({"kind": "ntk", "at": [0, 20]}, {}, f"measurements.0.at: step 20 of run RUN was not saved, only 0, 10, 40 (final); {ADVICE}"),
        ({"kind": "ntk", "at": [0, 50]}, {}, f"measurements.0.at: no run has weights of step 50; run RUN has 0, 10, 40 (final); {ADVICE}"),
        ({"kind": "ntk", "at": "all"}, {"steps": (40,)}, "measurements.0.at: all needs snapshots, but none were saved; use final, or train another directory with train.snapshot_every"),
        ({"kind": "ntk", "at": "last"}, {}, "measurements.0.at: needs final, all or a list, got 'last'"),
        ({"kind": "ntk", "at": [-1]}, {}, "measurements.0.at.0: must be at least 0, got -1"),
        ({"kind": "ntk", "n_rows": 0}, {}, "measurements.0.n_rows: must be at least 1, got 0"),
        ({"kind": "nkt"}, {}, f"measurements.0.kind: unknown kind 'nkt'; use {KINDS} (did you mean 'ntk'?)"),
        ({"kind": "pruning", "thresholds": []}, {}, "measurements.0.thresholds: must not be empty, got []"),
    ],
)  # fmt: skip
def test_a_wrong_measurement(told, given: dict, changes: dict, sentence: str) -> None:
    assert told(one(**given), **changes) == f"override {one(**given)}: {sentence}"


@pytest.mark.parametrize("given", [{"kind": "ntk"}, {"kind": "subnetworks", "at": [0]}])
def test_the_end_of_runs_that_have_not_come_to_it(tmp_path, given) -> None:
    directory = Made(tmp_path / "x", ended=False)
    with pytest.raises(
        ConfigError, match=r"at: needs the weights at the end of a run, but no run has ended"
    ):
        measure_directory(directory.path, words(given))


def test_nothing_to_measure(told) -> None:
    assert told() == (
        "x/experiment.yaml: measurements: is empty, so there is nothing to measure; "
        "add some, for example 'measurements=[{kind: pruning}]'"
    )


def test_a_kind_that_is_there_twice(told) -> None:
    twice = words({"kind": "ntk"}, {"kind": "ntk"})[0]
    assert told(twice) == (
        f"override {twice}: measurements: ntk is there twice, but results are stored by kind; remove one of them"
    )


def test_a_directory_that_is_missing_or_none(told) -> None:
    given = one(kind="ntk")
    missing = told(given, made=False)
    assert missing == "x: this results directory does not exist; train an experiment first"
    Path("x").mkdir()
    assert (
        told(given, made=False)
        == "x: contains no experiment.yaml, so it is not a results directory; use the directory of an experiment"
    )


def test_nothing_trained_yet(told) -> None:
    given = one(kind="ntk")
    assert told(given, steps=()) == (
        "x: none of its 3 runs has saved weights yet; train it first, with the command that created it"
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["task.p=7"], "override task.p=7: only measurements can be changed for trained runs; write 'measurements=[{kind: pruning}]'"),
        (["measurements=[{"], "override measurements=[{: measurements: YAML syntax: "),
        (["--plan"], "--measure: cannot be used with other options; remove them, or see --help"),
        (["--out", "y"], "--measure: cannot be used with other options; remove them, or see --help"),
    ],
)  # fmt: skip
def test_words_that_do_not_go_with_measuring(told, given: list[str], sentence: str) -> None:
    assert told(*given).startswith(sentence)


def test_a_directory_in_which_training_goes_on(told, tmp_path) -> None:
    Made(tmp_path / "x")
    with hold(tmp_path / "x"):
        assert main(["--measure", str(tmp_path / "x"), one(kind="ntk")]) == 2
        with pytest.raises(ConfigError, match="this results directory does not exist"):
            measure_directory(tmp_path / "y")


def test_loading_what_was_not_measured(made, tmp_path) -> None:
    made["mlp"].measure(kind="pruning")
    with pytest.raises(ResultsError, match=r"nkt was not measured; there are .*pruning.*--measure"):
        load_measured(made["mlp"].path, "nkt")
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
