"""Probes, one small file for each family.

A new probe needs its settings and its function in such a file, and one line in PROBES below.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from grokjax.models.checks import lacking, not_offered
from grokjax.probes import (
    attention,
    dimensionality,
    features,
    fourier,
    metrics,
    norms,
    progress,
    reconstruction,
    sparsity,
)
from grokjax.probes.view import Probe, View
from grokjax.settings import Kind, SettingError, Settings, kind_of
from grokjax.tasks import TaskData

PROBES: dict[str, Kind] = {
    "metrics": Kind(metrics.Metrics, metrics.metrics),
    "training_loss": Kind(metrics.TrainingLoss, metrics.training_loss),
    "answers": Kind(metrics.Answers, metrics.answers),
    "norms": Kind(norms.Norms, norms.norms),
    "weight_squares": Kind(norms.WeightSquares, norms.weight_squares),
    "updates": Kind(norms.Updates, norms.updates),
    "update_speed": Kind(norms.UpdateSpeed, norms.update_speed),
    "output_layer": Kind(norms.OutputLayer, norms.output_layer),
    "sparsity": Kind(sparsity.Sparsity, sparsity.sparsity),
    "structural_sparsity": Kind(sparsity.StructuralSparsity, sparsity.structural_sparsity),
    "fourier": Kind(fourier.Fourier, fourier.fourier),
    "progress": Kind(progress.Progress, progress.progress),
    "feature_rank": Kind(features.FeatureRank, features.feature_rank),
    "feature_spectrum": Kind(features.FeatureSpectrum, features.feature_spectrum),
    "feature_change": Kind(features.FeatureChange, features.feature_change),
    "reconstruction": Kind(reconstruction.Reconstruction, reconstruction.reconstruction),
    "dimensionality": Kind(dimensionality.Dimensionality, dimensionality.dimensionality),
    "attention_entropy": Kind(attention.AttentionEntropy, attention.attention_entropy),
    "shortcut": Kind(attention.Shortcut, attention.shortcut),
}

DEFAULT_PROBES = (
    metrics.Metrics(),
    metrics.TrainingLoss(),
    norms.Norms(),
    norms.Updates(),
    norms.OutputLayer(),
)
"""The probes of a configuration that names none. These are not all of PROBES, because a new probe must not change the
settings that older results directories are compared with."""


def unmet(probe: Probe, model: Settings, table: TaskData) -> str | None:
    """What a probe needs but this model and task do not offer, in words; None if nothing."""
    word = lacking(probe.requires, model, table)
    return None if word is None else not_offered(word, model)


def required(probes: tuple[Probe, ...]) -> frozenset[str]:
    """Everything the probes require."""
    return frozenset().union(*(p.requires for p in probes))


def measure(probes: tuple[Probe, ...], view: View) -> dict[str, Array]:
    """The values of all probes as scalars by name. Raises SettingError if two have one name."""
    measured: dict[str, Array] = {}
    owners = {"intervened_at": "the intervention"}
    for probe in probes:
        values, kind = values_of(probe, view), kind_of(type(probe))
        for name in values.keys() & owners.keys():
            if owners[name] == kind:
                raise SettingError("probes", f"{kind} is there twice; remove one of the two")
            told = f"{kind} returns {name}, which is already a value of {owners[name]}"
            raise SettingError("probes", f"{told}; give it another name")
        measured |= values
        owners |= dict.fromkeys(values, kind)
    return measured


def values_of(probe: Probe, view: View) -> dict[str, Array]:
    """What one probe measures. The entries of a vector are named name/0, name/1, ... Raises SettingError."""
    kind, values = kind_of(type(probe)), {}
    given = PROBES[kind].build(probe, view)
    if not isinstance(given, dict):
        told = f"{kind} returns {type(given).__name__}, not a dictionary"
        raise SettingError("probes", f"{told}; return values by their names")
    for name, one in given.items():
        value = jnp.asarray(one, jnp.float32)  # counts too: a history has one type
        if value.ndim > 1:
            told = f"{kind} returns {name} of the shape {value.shape}; return numbers or vectors"
            raise SettingError("probes", told)
        if value.ndim == 0:
            values[name] = value
        else:
            values |= {f"{name}/{i}": value[i] for i in range(len(value))}
    return values
