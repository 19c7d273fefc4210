"""Interventions: made once, at the right evaluation, and otherwise leaving a run bit for bit as it is."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from grokjax import optim
from grokjax.experiment.config import Experiment
from grokjax.experiment.grid import make_runs, without_control
from grokjax.experiment.places import ConfigError
from grokjax.experiment.setting_names import alternatives
from grokjax.interventions import ACTIONS, TRIGGERS
from grokjax.models import tensor_names
from grokjax.optim import OPTIMIZERS
from tests.test_training import MLP, OneRun, configure

AT_4 = {"kind": "step", "step": 4}
DOUBLE = {"kind": "scale_output", "factor": 2.0, "when": AT_4}


def histories(n=8, **changes):
    """(parameters after each evaluation, what it measured) of one run, evaluated at every step."""
    run = OneRun(**{"train": {"steps": 20, "eval_every": 1, **changes.pop("train", {})}, **changes})
    state, weights, measured = run.start(), [], []
    for _ in range(n):
        state, found = run.evaluate(state)
        weights.append({k: np.asarray(x) for k, x in tensor_names(state.params).items()})
        measured.append({k: float(x) for k, x in found.items()})
        state = run.train(state)
    return weights, measured


@pytest.mark.soak
@pytest.mark.parametrize(
    "model", [MLP, pytest.param(None, marks=pytest.mark.soak)], ids=["mlp", "transformer"]
)
def test_the_output_matrix_is_scaled_once_after_the_evaluation_at_the_step(model):
    other = {} if model is None else {"model": model}
    weights, measured = histories(intervention=DOUBLE, **other)
    plain, without = histories(**other)
    for step in range(4):
        assert measured[step]["val_loss"] == without[step]["val_loss"]
        for name, x in plain[step].items():
            np.testing.assert_array_equal(weights[step][name], x)
    assert measured[4]["val_loss"] == without[4]["val_loss"]  # measured before, changed after
    for name, x in plain[4].items():
        factor = 2 if name == "W_U" else 1
        np.testing.assert_array_equal(weights[4][name], factor * x)
    assert measured[5]["output_frobenius"] > 1.5 * without[5]["output_frobenius"]
    growth = measured[7]["output_frobenius"] / measured[5]["output_frobenius"]
    assert growth < 1.5  # not a second time
    fired = [m["intervened_at"] for m in measured]
    np.testing.assert_array_equal(fired, [np.nan] * 5 + [4] * 3)


@pytest.mark.soak
def test_the_control_arm_is_the_run_without_an_intervention():
    weights, measured = histories(intervention=DOUBLE | {"armed": False})
    plain, _ = histories()
    for one, other in zip(weights, plain, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    assert np.isnan([m["intervened_at"] for m in measured]).all()


@pytest.mark.soak
def test_memorisation_and_what_follows_it_set_interventions_off():
    fast = {"kind": "adamw", "learning_rate": 0.1, "weight_decay": 0.0}
    common = {"optimizer": fast, "model": MLP | {"hidden": [16]}, "n": 24, "train": {"steps": 40}}
    _, plain = histories(**common)
    first = next(i for i, m in enumerate(plain) if m["train_accuracy"] >= 0.9)
    for wait in (0, 3):
        when = {"kind": "memorised", "level": 0.9, "wait": wait}
        _, measured = histories(intervention=DOUBLE | {"when": when}, **common)
        fired = [m["intervened_at"] for m in measured]
        assert np.isnan(fired[: first + wait + 1]).all()
        assert fired[first + wait + 1] == first + wait


@pytest.mark.soak
def test_a_plateau_is_a_stretch_without_a_rise_of_validation_accuracy():
    fast = {"kind": "adamw", "learning_rate": 0.1, "weight_decay": 0.0}
    common = {"optimizer": fast, "model": MLP | {"hidden": [16]}, "n": 24, "train": {"steps": 40}}
    _, plain = histories(**common)
    when = {"kind": "plateau", "level": 0.9, "wait": 5, "rise": 0.01}
    _, measured = histories(intervention=DOUBLE | {"when": when}, **common)
    best, since, expected = -np.inf, 0, None
    for step, m in enumerate(plain):
        rose = m["val_accuracy"] > best + np.float32(0.01)
        best = m["val_accuracy"] if rose else best
        since = since + 1 if m["train_accuracy"] >= 0.9 and not rose else 0
        if since >= 5:
            expected = step
            break
    assert expected is not None
    fired = [m["intervened_at"] for m in measured]
    assert next(x for x in fired if not np.isnan(x)) == expected


@pytest.mark.soak
@pytest.mark.parametrize(
    "kind",
    [
        "reset_optimizer",
        pytest.param("scale_weights", marks=pytest.mark.soak),
        pytest.param("add_noise", marks=pytest.mark.soak),
    ],
)
def test_the_other_actions_do_what_they_say(kind):
    number = {"scale_weights": {"factor": 3.0}, "add_noise": {"std": 0.1}, "reset_optimizer": {}}
    weights, _ = histories(intervention={"kind": kind, "when": AT_4, **number[kind]})
    plain, _ = histories()
    for name, x in plain[4].items():
        new = weights[4][name]
        if kind == "scale_weights":
            np.testing.assert_array_equal(new, x * np.float32(3 if x.ndim > 1 else 1))
        elif kind == "add_noise":
            assert 0.02 < np.std(new - x) < 0.3
        else:
            np.testing.assert_array_equal(new, x)
    after = [np.abs(weights[5][n] - plain[5][n]).max() for n in plain[5]]
    assert max(after) > 1e-4


@pytest.mark.soak
@pytest.mark.parametrize("kind", sorted(OPTIMIZERS))
def test_every_optimiser_starts_from_zeros(kind):
    # What reset_optimizer rests on.
    settings = {"kind": kind, "learning_rate": 0.1} | (
        {"weight_decay": 0.1} if kind == "adamw" else {}
    )
    run = OneRun(optimizer=settings)
    state = optim.init_optimizer(run.settings.optimizer, run.start().params)
    assert all((np.asarray(x) == 0).all() for x in jax.tree.leaves(state))


def test_an_intervention_is_part_of_the_id_and_its_absence_is_not():
    plain = Experiment.model_validate(configure())
    given = Experiment.model_validate(configure() | {"intervention": None})
    armed = Experiment.model_validate(configure() | {"intervention": DOUBLE})
    ids = [make_runs(x)[0].id for x in (plain, given, armed)]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ({"kind": "step", "step": 60}, ["intervention.when.step", "60", "50 or less"]),
        ({"kind": "step", "step": 1000}, ["intervention.when.step", "1000", "50 or less"]),
        ({"kind": "step", "step": 15}, ["intervention.when.step", "15", "10 or 20"]),
    ],
)
def test_a_step_that_cannot_be_acted_upon_is_refused(when, words):
    config = configure(train={"steps": 60, "eval_every": 10})
    experiment = Experiment.model_validate(config | {"intervention": DOUBLE | {"when": when}})
    with pytest.raises(ConfigError) as error:
        make_runs(experiment)
    assert all(word in str(error.value) for word in words), error.value


def test_runs_without_a_control_arm_are_found():
    name = "intervention.armed, intervention.factor"
    grids = {name: [[True, 2.0], [True, 4.0]], "seed": [0, 1]}
    experiment = Experiment.model_validate(configure() | {"intervention": DOUBLE, "axes": grids})
    assert len(without_control(make_runs(experiment))) == 4
    grids = {name: [[False, 2.0], [True, 2.0], [True, 4.0]], "seed": [0, 1]}
    experiment = experiment.model_copy(update={"axes": grids})
    assert without_control(make_runs(experiment)) == []


def test_every_trigger_in_the_dictionary_can_be_chosen():
    for kind in ACTIONS.values():
        chosen = alternatives(kind.settings.model_fields["when"].annotation)
        assert chosen == [trigger.settings for trigger in TRIGGERS.values()]
