"""What is measured. One small file a family; a new probe is its settings and function there, and one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax import Array

from grokjax.models.transformer import UNIT_INPUT
from grokjax.probes import attention, features, fourier, metrics, norms, sparsity
from grokjax.probes.snapshot import Snapshot
from grokjax.settings import Settings
from grokjax.tasks.table import Table

PROBES: dict[str, tuple[type[Settings], Callable[[Any, Snapshot], dict[str, Array]]]] = {
    "metrics": (metrics.Metrics, metrics.metrics),
    "training_loss": (metrics.TrainingLoss, metrics.training_loss),
    "norms": (norms.Norms, norms.norms),
    "updates": (norms.Updates, norms.updates),
    "update_speed": (norms.UpdateSpeed, norms.update_speed),
    "output_layer": (norms.OutputLayer, norms.output_layer),
    "sparsity": (sparsity.Sparsity, sparsity.sparsity),
    "structural_sparsity": (sparsity.StructuralSparsity, sparsity.structural_sparsity),
    "fourier": (fourier.Fourier, fourier.fourier),
    "feature_rank": (features.FeatureRank, features.feature_rank),
    "feature_spectrum": (features.FeatureSpectrum, features.feature_spectrum),
    "feature_change": (features.FeatureChange, features.feature_change),
    "attention_entropy": (attention.AttentionEntropy, attention.attention_entropy),
    "shortcut": (attention.Shortcut, attention.shortcut),
}

DEFAULT_PROBES = (
    metrics.Metrics(),
    metrics.TrainingLoss(),
    norms.Norms(),
    norms.Updates(),
    norms.OutputLayer(),
)
"""What is measured where a configuration does not say. Not all of PROBES: a probe that is added
must not change what older results directories are compared with."""

_CONDITIONS: dict[str, tuple[Callable[[Any, Table], bool], str]] = {
    "attention": (lambda model, table: model.kind == "transformer", "a model with attention"),
    "pre_norm": (
        lambda model, table: model.kind == "transformer" and model.ln in UNIT_INPUT,
        "a transformer without norms, or with norms before its sublayers",
    ),
    "token_mlp": (lambda model, table: model.kind == "mlp", "an MLP on token embeddings"),
    "embedded_numbers": (
        lambda model, table: model.kind in ("transformer", "mlp") and table.cyclic,
        "a model that embeds the numbers of a modular task",
    ),
    "commutative": (lambda model, table: table.commutative, "a commutative operation"),
}
"""What a probe may require of model and task. Other requirements name fields of the Snapshot to be kept."""


def unmet(probe: Any, model: Any, table: Any) -> str | None:
    """What a probe needs and this model and task do not offer, in words."""
    for name in sorted(probe.requires):
        if name in _CONDITIONS and not _CONDITIONS[name][0](model, table):
            return _CONDITIONS[name][1]
    return None


def required(probes: tuple[Any, ...]) -> frozenset[str]:
    """Everything the probes require."""
    return frozenset().union(*(p.requires for p in probes))


def measure(probes: tuple[Any, ...], snapshot: Snapshot) -> dict[str, Array]:
    """All measurements of the probes, as scalars by name; a vector's entries are numbered."""
    found: dict[str, Array] = {}
    for probe in probes:
        for name, value in PROBES[probe.kind][1](probe, snapshot).items():
            if value.ndim == 0:
                found[name] = value
            else:
                found |= {f"{name}/{i}": value[i] for i in range(len(value))}
    return found
