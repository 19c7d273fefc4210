"""A results directory of before the packages (fixtures/older.tar.gz, commit 8e1b68b, jax 0.10.1) is still a user's."""

from __future__ import annotations

import tarfile

import numpy as np
import pytest

import analysis
from grokjax.cli.commands import main
from tests.harness import ROOT


@pytest.fixture
def older(tmp_path):
    with tarfile.open(ROOT / "tests" / "fixtures" / "older.tar.gz") as file:
        file.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.mark.soak
def test_it_opens_continues_grows_and_is_measured(older):
    out = older / "older"
    first = analysis.load(out)
    assert set(first["status"].values) == {"finished"} and (first["evaluations_done"] == 3).all()
    command = [str(older / "old.yaml"), "--out", str(out), "--no-figures"]
    assert main(command) == 0  # nothing to train
    assert main([*command, "train.steps=16", "axes.seed=[0, 1]"]) == 0
    grown = analysis.load(out)
    assert grown.sizes["run"] == 4 and (grown["evaluations_done"] == 5).all()
    same = grown.isel(run=np.isin(grown["id"], first["id"]))
    for run in first["id"].values:
        before = first["value"].isel(run=int(np.flatnonzero(first["id"] == run)[0]))
        after = same["value"].isel(run=int(np.flatnonzero(same["id"] == run)[0]))
        np.testing.assert_array_equal(after[:3], before)
    assert main(["--measure", str(out), "measurements=[{kind: pruning}]"]) == 0
    assert list(out.glob("groups/*/measured/pruning.safetensors"))
