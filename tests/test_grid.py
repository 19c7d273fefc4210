"""Axes, ids, groups: what the grid of an experiment is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from grokjax.experiment import config, identity
from grokjax.experiment.axes import expand_axis
from grokjax.experiment.grid import Run, make_groups, make_runs
from grokjax.experiment.identity import run_id
from grokjax.experiment.loading import experiment_from, load_with_places
from grokjax.experiment.places import ConfigError, Places
from grokjax.interventions import ACTIONS, TRIGGERS
from grokjax.settings import Settings, leaves, role_of, shape

BASE: dict[str, Any] = {
    "name": "q",
    "task": {"kind": "modular", "p": 13},
    "split": {"kind": "random", "train_fraction": 0.5},
    "model": {"kind": "transformer", "d_model": 16, "n_heads": 2, "d_mlp": 32},
    "optimizer": {"kind": "adamw", "weight_decay": 1.0},
    "train": {"steps": 400, "eval_every": 50},
}


def runs_of(**changes: Any) -> list[Run]:
    """Runs of BASE with settings replaced by dotted name (`__` for the dot)."""
    data: dict[str, Any] = {k: dict(v) if isinstance(v, dict) else v for k, v in BASE.items()}
    for name, value in changes.items():
        *sections, last = name.split("__")
        inner = data
        for section in sections:
            inner = inner[section]
        inner[last] = value
    return make_runs(experiment_from(data, Places("test")))


def id_of(**changes: Any) -> str:
    (run,) = runs_of(**changes)
    return run.id


# -- ids ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, "08b38753d2de"), ({"seed": 7, "optimizer": {"kind": "sgd", "l2": 0.01}}, "c4c4e4dc4dae")],
)
def test_ids_are_the_same_as_in_earlier_releases(changes: dict[str, Any], expected: str) -> None:
    assert id_of(**changes) == expected, (
        "The id of a run has changed, so results that people have are not found again and are trained anew. "
        "A setting that was added needs `introduced=` its introductory default. If the change is meant "
        "(a default or a meaning has changed), say so in the CHANGELOG and put the new id here."
    )


def test_an_axis_does_not_change_ids() -> None:
    several = runs_of(
        axes={"optimizer.weight_decay": [0.5, 1.0], "model.n_layers": [1, 2], "seed": [0, 3]}
    )
    alone = {
        id_of(seed=s, model__n_layers=n, optimizer__weight_decay=w)
        for w in (0.5, 1.0)
        for n in (1, 2)
        for s in (0, 3)
    }
    assert {run.id for run in several} == alone and len(alone) == 8


def test_seed_stands_for_the_four_seeds() -> None:
    four = {f"{name}_seed": 3 for name in ("init", "split", "order", "noise")}
    assert id_of(seed=3) == id_of(**four) == id_of(seed=9, **four) != id_of(seed=9)


@pytest.mark.parametrize("name", ["init", "split", "order", "noise"])
def test_every_seed_counts(name: str) -> None:
    assert id_of(**{f"{name}_seed": 1}) != id_of()


def test_numbers_count_by_value() -> None:
    assert id_of(optimizer__weight_decay=1) == id_of(optimizer__weight_decay=1.0)
    zero = id_of(optimizer__weight_decay=0.0)
    identity._section.cache_clear()  # equal settings would be found there
    assert id_of(optimizer__weight_decay=-0.0) == zero


def test_defaults_count_as_if_written() -> None:
    assert id_of(model__causal=True, optimizer__beta2=0.98, train__batch_size="full") == id_of()


@pytest.mark.parametrize(
    "change",
    [
        {"train__steps": 800},
        {"train__steps": {"epochs": 400}},
        {"train__stop": {"val_accuracy": 0.9}},
        {"probes": [{"kind": "norms", "every": 2}]},
        {"name": "other"},
        {
            "execution": {
                "slots": 3,
                "tile": 1,
                "chunk": 2,
                "lag": 0,
                "out": "x",
                "keep_state": "all",
            }
        },
    ],
)
def test_how_long_and_how_is_no_part_of_an_id(change: dict[str, Any]) -> None:
    (run,), (plain,) = runs_of(**change), runs_of()
    assert (run.id, run.group) == (plain.id, plain.group)


CHANGED = {
    "task__p": 11, "task__operation": "x*y", "task__format": "a op b =", "task__classes": "p",
    "split__train_fraction": 0.6, "split__label_noise": 0.1, "model__n_layers": 2, "model__d_model": 32,
    "model__n_heads": 4, "model__ln": "pre", "model__init_scale": 2.0, "model__readout_scale": 2.0,
    "optimizer__learning_rate": 0.1, "optimizer__weight_decay": 0.2, "optimizer__beta1": 0.8,
    "optimizer__eps": 1e-6, "optimizer__warmup": 3, "optimizer__decays": "matrices", "seed": 1,
    "train__eval_every": 25, "train__early": {"until": 100, "every": 10}, "train__batch_size": 84,
    "train__loss": "mse", "train__precision": "tf32",
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGED)
def test_every_hyper_and_shape_setting_is_part_of_the_id(name: str) -> None:
    assert id_of(**{name: CHANGED[name]}) != id_of()


def test_hypers_share_a_program_and_shapes_do_not() -> None:
    (plain,) = runs_of()
    roles = {leaf.name: leaf.role for leaf in leaves(plain.settings)}
    for name, value in CHANGED.items():
        (run,) = runs_of(**{name: value})
        # A fraction in another bucket of padded rows is another program too.
        same = roles[name.replace("__", ".")] == "hyper" and run.bucket == plain.bucket
        assert (run.group == plain.group) == same, name


class Before(Settings):
    epochs: int = shape(ge=1)


class After(Settings):
    epochs: int = shape(ge=1)
    fresh: int = shape(5, introduced=5)


class Earlier(config.RunSettings):
    inner: Before | None = shape(None, introduced=None)


class Later(config.RunSettings):
    dropout: float = shape(0.25, introduced=0.0)  # the default moved after it was introduced
    inner: After | None = shape(None, introduced=None)


def test_a_setting_added_later_leaves_ids_alone_at_its_introductory_default() -> None:
    (run,) = runs_of()
    given = {name: getattr(run.settings, name) for name in config.RunSettings.model_fields}
    assert run_id(Later(**given, dropout=0.0)) == run_id(Earlier(**given)) == run.id
    assert run_id(Later(**given)) != run.id
    before = run_id(Earlier(**given, inner=Before(epochs=1)))
    assert run_id(Later(**given, dropout=0.0, inner=After(epochs=1))) == before != run.id
    assert run_id(Later(**given, dropout=0.0, inner=After(epochs=1, fresh=6))) != before


def test_every_setting_has_a_role() -> None:
    (run,) = runs_of()
    for settings in [
        type(run.settings),
        *(type(getattr(run.settings, n)) for n in ("task", "split", "model", "optimizer", "train")),
    ]:
        for name, field in settings.model_fields.items():
            inner = isinstance(getattr(run.settings, name, None), Settings)
            # Whoever asks for an intervention finds its settings' roles below it, as in a section.
            assert role_of(field) is not None or inner or name == "intervention", name
    for action, _ in ACTIONS.values():
        roles = [role_of(f) for n, f in action.model_fields.items() if n != "when"]
        assert None not in roles, action
    for trigger, _ in TRIGGERS.values():
        assert all(role_of(f) for f in trigger.model_fields.values()), trigger


# -- axes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ([3, "a", None], [3, "a", None]),
        ({"linspace": [0.3, 0.8, 6]}, [0.3, 0.4, 0.5, 0.6, 0.7, 0.8]),
        ({"linspace": [0.1, 0.9, 9]}, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        ({"linspace": [1, 3, 3]}, [1, 2, 3]),
        ({"linspace": [1, 2, 3]}, [1.0, 1.5, 2.0]),
        ({"linspace": [0.1234567890123456, 1.0, 2]}, [0.1234567890123456, 1.0]),
        ({"linspace": [0.3, 0.8, 1]}, [0.3]),
        ({"logspace": [1e-3, 10.0, 5]}, [0.001, 0.01, 0.1, 1.0, 10.0]),
        ({"logspace": [1, 1000, 4]}, [1, 10, 100, 1000]),
        ({"range": 3}, [0, 1, 2]),
        ({"range": [2, 4]}, [2, 3]),
        ({"range": [10, 0, -5]}, [10, 5]),
    ],
)
def test_axis_forms(written: Any, values: list[Any]) -> None:
    found = expand_axis(written)
    assert found == values and [type(v) for v in found] == [type(v) for v in values]


def test_the_grid_is_the_product_of_the_axes_in_their_order() -> None:
    runs = runs_of(
        axes={
            "model.n_layers": [2, 1],
            "optimizer.learning_rate, optimizer.weight_decay": [[0.1, 1], [0.2, 2]],
        }
    )
    points = [
        (
            r.settings.model.n_layers,
            r.settings.optimizer.learning_rate,
            r.settings.optimizer.weight_decay,
        )
        for r in runs
    ]
    assert points == [(2, 0.1, 1.0), (2, 0.2, 2.0), (1, 0.1, 1.0), (1, 0.2, 2.0)]
    assert runs[1].point == {
        "model.n_layers": 2,
        "optimizer.learning_rate": 0.2,
        "optimizer.weight_decay": 2,
    }


def test_a_setting_without_default_may_stand_on_its_axis_alone() -> None:
    runs = runs_of(optimizer={"kind": "adamw"}, axes={"optimizer.weight_decay": [0.5, 1.0]})
    assert [r.settings.optimizer.weight_decay for r in runs] == [0.5, 1.0]
    assert runs[1].id == id_of()


def test_whole_sections_and_kinds_can_vary() -> None:
    models = [
        {"kind": "mlp", "hidden": [8]},
        {"kind": "transformer", "d_model": 16, "n_heads": 2, "d_mlp": 32},
    ]
    runs = runs_of(axes={"model": models, "seed": [0, 1]})
    assert [r.settings.model.kind for r in runs] == ["mlp", "mlp", "transformer", "transformer"]
    assert runs[2].id == id_of() and [len(g.runs) for g in make_groups(runs)] == [2, 2]
    bare = runs_of(model={"kind": "transformer"}, axes={"model.kind": ["transformer", "mlp"]})
    assert [r.settings.model.kind for r in bare] == ["transformer", "mlp"]


def test_mini_batches_resolve_before_grouping() -> None:
    share = {"max": 512, "share": 0.5}
    runs = runs_of(
        train={"steps": {"epochs": 6}, "eval_every": {"epochs": 2}, "batch_size": share},
        axes={"split.train_fraction": [0.2, 0.9]},
    )
    assert [(r.n_train, r.batch_size, r.batches, r.budget) for r in runs] == [
        (33, 17, 2, 4),
        (152, 76, 2, 4),
    ]
    (full,) = runs_of(train__batch_size=84, split__train_fraction=0.5)
    assert (full.n_train, full.batch_size, full.batches) == (84, None, 1)


def test_ten_thousand_runs_take_seconds() -> None:
    """A fifth of them here: run-time type checks make it several times slower than it is for users (1 s)."""
    axes = {
        "split.train_fraction": {"linspace": [0.2, 0.8, 10]},
        "optimizer.weight_decay": {"logspace": [0.01, 10, 10]},
        "seed": {"range": 20},
    }
    began = time.process_time()
    runs = runs_of(task={"kind": "modular", "p": 113}, model={"kind": "transformer"}, axes=axes)
    assert len({run.id for run in runs}) == 2_000
    assert time.process_time() - began < 3


# -- overrides ---------------------------------------------------------------------------------------------------------

YAML = """
name: q
task: {kind: modular, p: 13}
split: {kind: random}
model: {kind: mlp, hidden: [8, 8]}
optimizer: {kind: adamw, weight_decay: 1.0}
train: {steps: 100, eval_every: 50}
axes:
  optimizer.learning_rate,optimizer.weight_decay: [[1e-3, 1.0]]
  seed: [0, 1]
"""


@pytest.fixture
def load(tmp_path: Path):
    (tmp_path / "x.yaml").write_text(YAML)
    return lambda *overrides: load_with_places(tmp_path / "x.yaml", list(overrides))[0]


def test_overrides_replace(load) -> None:
    joint = "optimizer.learning_rate, optimizer.weight_decay"
    assert load("model.hidden=[16]").model.hidden == (16,)
    assert load("axes.seed=[5]").axes["seed"] == [5]
    assert load("axes.seed=null").axes == {joint: [[1e-3, 1.0]]}
    assert load("axes=null").axes == {} and load("axes={}").axes == {}
    assert load(f"axes.{joint}=[[1e-3,1.0],[1e-2,0.1]]").axes[joint] == [[1e-3, 1.0], [1e-2, 0.1]]
    assert load("axes.optimizer.learning_rate,  optimizer.weight_decay=null").axes == {
        "seed": [0, 1]
    }
    assert load("task.p=7", "task.p=11").task.p == 11
    assert load("train.stop.val_accuracy=0.9").train.stop.val_accuracy == 0.9
    assert load("task={kind: permutation}", "task.group=S3").task.group == "S3"
    assert load("axes.model.bias=[true]").axes["model.bias"] == [True]


def test_an_override_is_yaml_1_2(load) -> None:
    assert load("optimizer.learning_rate=1e-2", "axes=null").optimizer.learning_rate == 0.01
    with pytest.raises(ConfigError, match="needs true or false, got 'off'"):
        load("model.bias=off")
