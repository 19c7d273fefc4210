"""How well vectors are reconstructed (source 003)."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp
from jax import Array

from grokjax.probes.metrics import masked_mean
from grokjax.probes.view import Probe, View
from grokjax.settings import shape


class Reconstruction(Probe):
    """Of training and validation rows: loss_per_active, the loss divided by the number of features that are not zero;
    unexplained, the squared error divided by the squares of what should come out. Both of the mean over the rows."""

    kind: Literal["reconstruction"] = shape("reconstruction")
    requires: ClassVar[frozenset[str]] = frozenset({"vectors"})


def reconstruction(s: Reconstruction, view: View) -> dict[str, Array]:
    wanted_NAC, outputs_NAC = view.targets_NA, view.logits_NAC
    loss_NA = view.per_row_loss(outputs_NAC, wanted_NAC)
    active_NA = (wanted_NAC != 0).sum(-1)
    error_NA, square_NA = ((outputs_NAC - wanted_NAC) ** 2).sum(-1), (wanted_NAC**2).sum(-1)
    measured = {}
    for side, mask_N in (("train", view.rows.train_N), ("val", view.val_N)):
        mean = lambda x, m=mask_N: masked_mean(x, m)  # noqa: E731
        measured[f"{side}_loss_per_active"] = mean(loss_NA) / jnp.maximum(mean(active_NA), 1e-9)
        measured[f"{side}_unexplained"] = mean(error_NA) / jnp.maximum(mean(square_NA), 1e-9)
    return measured
