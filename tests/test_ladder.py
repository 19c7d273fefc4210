"""A ladder of tiny tasks with known answers, through the public interface: what the trainer must be able to learn.

When a step fails, the lowest one that does says where to look; do not raise the numbers of steps before knowing why.
"""

from __future__ import annotations

import numpy as np
import pytest

import analysis
import grokjax
from grokjax.experiment.config import Experiment

TRANSFORMER = {"kind": "transformer", "d_model": 32, "n_heads": 2, "d_mlp": 64}
MLP = {"kind": "mlp", "d_model": 32, "hidden": [64]}
BASE = {
    "name": "ladder",
    "task": {"kind": "modular", "operation": "x+y", "p": 11},
    "split": {"kind": "random", "train_fraction": 0.5},
    "model": TRANSFORMER,
    "optimizer": {"kind": "adamw", "learning_rate": 1e-2, "weight_decay": 0.0},
    "train": {"steps": 100, "eval_every": 20},
    "axes": {"seed": {"range": 2}},
}


def climb(tmp_path, **changes):
    """Histories (run, eval) by probe, of the configuration with the changes."""
    experiment = Experiment.model_validate(BASE | changes)
    results = analysis.load(grokjax.run(experiment, out=tmp_path / "ladder", devices=2, tile=2))
    assert set(results.status.values) <= {"finished", "stopped"}
    return {str(name): results.value.sel(probe=name).values for name in results.probe.values}


def last(values):
    """The last evaluation that each run made."""
    return np.array([row[~np.isnan(row)][-1] for row in values])


@pytest.mark.soak
def test_0_a_learning_rate_of_0_changes_nothing(tmp_path):
    found = climb(tmp_path, optimizer={"kind": "adamw", "learning_rate": 0.0, "weight_decay": 1.0})
    for name in ("param_norm", "train_loss", "val_accuracy"):
        assert (found[name] == found[name][:, :1]).all()
    assert (np.abs(found["train_loss"][:, 0] - np.log(12)) < 0.5).all()
    assert (found["update_norm"] == 0).all()


@pytest.mark.soak
def test_1_a_constant_label_is_learned_and_nothing_else(tmp_path):
    """Only rows with the answer 10 train: the network says 10 everywhere, and every other row is wrong."""
    found = climb(tmp_path, model=MLP, split={"kind": "by_answer", "validation_below": 10})
    assert (found["train_accuracy"][:, 1:] == 1).all()
    assert (found["val_accuracy"][:, 1:] == 0).all()
    assert (last(found["train_loss"]) < 1e-3).all()
    assert (last(found["val_loss"]) > 2).all()


@pytest.mark.soak
def test_2_eight_pairs_are_memorised_and_do_not_generalise(tmp_path):
    """Answers drawn at random: 8 of 121 rows are known, the others stay at chance (1/11, within 4 errors)."""
    task = {"kind": "modular", "operation": "random", "p": 11}
    found = climb(tmp_path, model=MLP, task=task, split={"kind": "random", "train_fraction": 0.07})
    assert (last(found["train_accuracy"]) == 1).all()
    assert (last(found["train_loss"]) < 1e-2).all()
    assert (last(found["val_accuracy"]) < 1 / 11 + 4 * np.sqrt(10 / 121 / 113)).all()
    assert (last(found["val_loss"]) > np.log(11)).all()


@pytest.mark.soak
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(TRANSFORMER, id="transformer", marks=pytest.mark.soak),
        pytest.param(MLP, id="mlp"),
    ],
)
def test_3_wrong_labels_are_memorised_too(tmp_path, model):
    """60 rows train, 15 of them with a wrong label: fitted all, so that 45 of 60 are right."""
    split = {"kind": "random", "train_fraction": 0.5, "label_noise": 0.25}
    found = climb(tmp_path, model=model, split=split, train={"steps": 200, "eval_every": 20})
    assert (last(found["train_accuracy"]) == 1).all()
    np.testing.assert_allclose(last(found["train_accuracy_clean"]), 0.75)


@pytest.mark.soak
def test_4_modular_addition_groks(tmp_path):
    """p = 23, 80 % of the rows: within 1,500 steps for at least 3 of 4 seeds (250 to 975 were seen)."""
    found = climb(
        tmp_path,
        task={"kind": "modular", "operation": "x+y", "p": 23},
        split={"kind": "random", "train_fraction": 0.8},
        model={"kind": "transformer", "d_model": 64, "n_heads": 4, "d_mlp": 256},
        optimizer={"kind": "adamw", "learning_rate": 3e-3, "weight_decay": 3.0},
        train={"steps": 1500, "eval_every": 25, "stop": {"val_accuracy": 0.99}},
        axes={"seed": {"range": 4}},
    )
    with np.errstate(invalid="ignore"):
        grokked = (found["val_accuracy"] >= 0.99).any(1)
    assert grokked.sum() >= 3
    memorised, generalised = (
        np.array([np.argmax(row >= 0.99) for row in found[f"{side}_accuracy"]])
        for side in ("train", "val")
    )
    assert (memorised < generalised)[grokked].all()
