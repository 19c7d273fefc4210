"""What groups are called: by what tells them apart, and by nothing else."""

from __future__ import annotations

import pytest

from grokjax.driver.group_names import group_names
from grokjax.experiment.grid import Group
from tests.test_progress import EXPERIMENT, groups_of


def names_of(axes: dict, **changes) -> list[str]:
    groups = groups_of(axes, **changes)
    names = group_names(groups)
    assert list(names) == [group.hash for group in groups]
    assert len(set(names.values())) == len(groups)
    return list(names.values())


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ({"seed": [0, 1]}, ["transformer"]),
        ({"optimizer.weight_decay": [0.1, 1.0]}, ["transformer"]),
        ({"task.operation": ["x+y", "x*y"]}, ["x+y", "x*y"]),
        ({"model.n_layers": [1, 2]}, ["1 layer", "2 layers"]),
        ({"task.p": [5, 97]}, ["p 5", "p 97"]),
        ({"model.d_model": [8, 16]}, ["d_model 8", "d_model 16"]),
        ({"model.n_heads": [1, 2]}, ["1 head", "2 heads"]),
        ({"model.causal": [True, False]}, ["causal", "not causal"]),
        ({"train.loss": ["cross_entropy", "mse"]}, ["cross entropy", "mse"]),
        ({"train.batch_size": ["full", 6]}, ["full batch", "batch 6"]),
        ({"model.ln": ["none", "pre"]}, ["ln none", "ln pre"]),
    ],
)
def test_a_setting_in_which_groups_differ_is_said_in_plain_words(axes, expected):
    assert names_of(axes) == expected


def test_several_settings_are_said_together():
    axes = {"model.n_layers": [1, 2], "task.operation": ["x+y", "x*y"]}
    assert names_of(axes) == ["x+y, 1 layer", "x*y, 1 layer", "x+y, 2 layers", "x*y, 2 layers"]


def test_what_follows_from_the_kind_is_not_said():
    mlp, transformer = {"kind": "mlp", "d_model": 8}, EXPERIMENT["model"]
    assert names_of({"model": [mlp, transformer]}) == ["mlp", "transformer"]
    deep = {**transformer, "n_layers": 2}
    assert names_of({"model": [mlp, transformer, deep]}) == [
        "mlp",
        "transformer, 1 layer",
        "transformer, 2 layers",
    ]


def test_groups_that_differ_in_their_number_of_rows_only_are_told_by_it():
    task = {"kind": "modular", "p": 31}
    names = names_of({"split.train_fraction": [0.2, 0.205, 0.8]}, task=task)
    assert names == ["192 train rows", "197 train rows", "768 train rows"]


def test_a_group_without_runs_keeps_its_hash():
    assert group_names([Group("abcdef123456", ())]) == {"abcdef123456": "abcdef"}
