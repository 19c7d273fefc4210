"""YAML in, an Experiment out, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import grokjax
from grokjax.experiment.grid import make_runs
from grokjax.experiment.loading import dump_yaml, experiment_from, load_with_places, parse_yaml
from grokjax.experiment.places import Places
from grokjax.results.directory import read_experiment, write_experiment

YAML = """\
# A comment.
base: &base {kind: modular}
name: q
task: {<<: *base, p: 13}
split: {kind: random, train_fraction: 0.5}
model: {kind: mlp, hidden: [8]}
optimizer:
  kind: adamw
  weight_decay: 1   # a whole number where a float is meant
train:
  steps: 1_00
probes:
- kind: norms
  every: 2
axes:
  optimizer.learning_rate,optimizer.eps:
  - [1e-3, 1e-8]
  seed: {range: 2}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "x.yaml"
    file.write_text(
        YAML.replace("base: &base {kind: modular}\n", "\n").replace("<<: *base", "kind: modular")
    )
    return file


def test_a_file_is_read(path: Path) -> None:
    experiment = grokjax.load(path, ["task.p=17"])
    assert (experiment.task.p, experiment.train.steps, experiment.model.hidden) == (17, 100, (8,))
    assert type(experiment.optimizer.weight_decay) is float
    assert [p.kind for p in experiment.probes] == ["metrics", "norms"] and experiment.probes[
        1
    ].every == 2
    assert list(experiment.axes) == ["optimizer.learning_rate, optimizer.eps", "seed"]


def test_a_setting_that_varies_keeps_the_value_beside_its_axis(path: Path) -> None:
    experiment = grokjax.load(path, ["axes.task.p=[7, 11]", "axes.seed=[5, 6]"])
    assert (experiment.task.p, experiment.seed) == (13, 0)
    assert [r.settings.task.p for r in make_runs(experiment)] == [7, 11, 7, 11]


def test_places(path: Path) -> None:
    _, places = load_with_places(path, ["task.p=7", "train={steps: 50}"])
    name = str(path)
    expected: dict[tuple[str, ...], str] = {
        ("optimizer", "weight_decay"): f"{name}:9",
        ("optimizer", "beta1"): f"{name}:7",
        ("probes", "0", "every"): f"{name}:14",
        ("probes", "0"): f"{name}:13",
        ("axes", "seed"): f"{name}:18",
        ("axes", "optimizer.learning_rate, optimizer.eps"): f"{name}:16",
        ("task", "p"): "override task.p=7",
        ("task", "kind"): f"{name}:4",
        ("train", "steps"): "override train={steps: 50}",
        ("nothing",): name,
    }
    assert {key: places.place(key) for key in expected} == expected


def test_the_last_override_takes_the_place_of_those_below_it(path: Path) -> None:
    _, places = load_with_places(path, ["task.p=7", "task={kind: modular, p: 11}"])
    assert places.place(("task", "p")) == "override task={kind: modular, p: 11}"
    _, places = load_with_places(path, ["task={kind: modular, p: 11}", "task.p=7"])
    assert places.place(("task", "p")) == "override task.p=7"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1E5", 100000.0), ("off", "off"), ("yes", "yes"), ("true", True), ("null", None), ("", None),
        ("1:30", "1:30"), ("010", 10), ("0x10", 16), ("'1e-3'", "1e-3"), ("${x}", "${x}"), ("&a true", True),
        ("[1, {a: 2.5}]", [1, {"a": 2.5}]),
    ],
)  # fmt: skip
def test_yaml_1_2(text: str, value: Any) -> None:
    found = parse_yaml(text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        "off",
        "1e-3",
        "null",
        "1:30",
        "a: b",
        "",
        "010",
        1e-8,
        1e22,
        0.1 + 0.2,
        True,
        None,
        [],
        {},
        [[1, 2.0]],
        "ä",
    ],
)
def test_what_is_written_reads_back(value: Any) -> None:
    found = parse_yaml(dump_yaml({"x": value, "a": 1}))
    assert found == {"x": value, "a": 1} and type(found["x"]) is type(value)
    assert list(found) == ["x", "a"], "the order is kept"


def test_experiment_yaml_reads_back_as_the_same_runs(path: Path, tmp_path: Path) -> None:
    experiment = grokjax.load(
        path,
        [
            "train.stop.val_accuracy=0.9",
            "axes.train.batch_size=[full, {max: 9, share: 0.1}]",
            "train.eval_every={epochs: 1}",
            "train.steps={epochs: 5}",
        ],
    )
    write_experiment(experiment, tmp_path)
    again = read_experiment(tmp_path)
    assert [r.id for r in make_runs(again)] == [r.id for r in make_runs(experiment)]
    assert list(again.axes) == list(experiment.axes) and again.axes["seed"] == [0, 1]
    assert again.train.stop == experiment.train.stop and again.probes == experiment.probes


def test_anchors_and_merged_keys_are_understood(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(YAML)
    with pytest.raises(grokjax.experiment.loading.ConfigError) as error:  # type: ignore[attr-defined]
        load_with_places(file, [])
    assert str(error.value) == f"{file}:2: base: unknown setting; --help lists all settings"


def test_experiments_from_python(path: Path) -> None:
    data = parse_yaml(path.read_text())
    experiment = experiment_from(data, Places("here"))
    assert [r.id for r in make_runs(experiment)] == [r.id for r in make_runs(grokjax.load(path))]
