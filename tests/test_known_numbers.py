"""Published numbers that the whole tool must give, from the committed configurations."""

from __future__ import annotations

import numpy as np
import pytest

import analysis
import grokjax
from tests.harness import ROOT


@pytest.mark.soak
def test_source_002_memorises_in_epochs_70_to_200(tmp_path):
    config = ROOT / "configs" / "mlp_memorisation.yaml"
    runs = analysis.load(grokjax.run(config, out=tmp_path / "out"))
    train = runs["value"].sel(probe="train_accuracy").to_numpy()
    epochs = runs["step"].to_numpy() / 15
    first = [epochs[i, np.argmax(train[i] >= 0.99)] for i in range(5)]
    assert sorted(runs["seed"].to_numpy()) == [5, 10, 21, 30, 42]
    assert (runs["n_train"] == 7528).all()
    assert all(70 <= epoch <= 200 for epoch in first), first
    loss_at_start = runs["value"].sel(probe="train_loss").to_numpy()[:, 0]
    assert ((loss_at_start > 5.1) & (loss_at_start < 6.1)).all()  # about 1 above ln 99
