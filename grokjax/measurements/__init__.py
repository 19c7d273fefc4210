"""Measurements on saved weights, one small file for each family.

A new kind needs its settings and its function in such a file, and one line in MEASUREMENTS below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from grokjax.measurements import (
    attention,
    cosets,
    geometry,
    kernel,
    neuron_waves,
    neurons,
    predictions,
    progress,
    projection,
    pruning,
    sharpness,
    spectra,
    subgroups,
    tsne,
)
from grokjax.measurements.saved import Measurement, Saved
from grokjax.models import Model
from grokjax.models.checks import lacking, not_offered, offering
from grokjax.models.kind import MEANING, OF_TASKS
from grokjax.settings import Settings, kind_of
from grokjax.tasks import TaskData

Found = dict[str, np.ndarray]


class MeasurementKind(NamedTuple):
    """How to make one kind of measurement.

    measure  (settings, one set of saved weights) -> arrays by name
    labels   (settings, model) -> labels of each dimension that the settings' `dims` give to the arrays
    finish   (settings, arrays of `measure`) -> final arrays: the part of the work for the host, in NumPy
    """

    settings: type[Settings]
    measure: Callable[[Any, Saved], dict[str, Array]]
    labels: Callable[[Any, Model], dict[str, Any]]
    finish: Callable[[Any, Found], Found] = lambda _, measured: measured


MEASUREMENTS: dict[str, MeasurementKind] = {
    "pruning": MeasurementKind(pruning.Pruning, pruning.pruning, pruning.labels),
    "sharpness": MeasurementKind(sharpness.Sharpness, sharpness.sharpness, sharpness.labels),
    "pca": MeasurementKind(projection.PCA, projection.pca, projection.labels, projection.project),
    "circles": MeasurementKind(
        projection.Circles,
        projection.circles,
        projection.circle_labels,
        projection.shares_of_frequencies,
    ),
    "tsne": MeasurementKind(tsne.TSNE, tsne.tsne, tsne.labels, tsne.embed),
    "cosets": MeasurementKind(cosets.Cosets, cosets.output_matrix, cosets.labels, cosets.score),
    "subgroups": MeasurementKind(
        subgroups.Subgroups, cosets.output_matrix, subgroups.labels, subgroups.score
    ),
    "predictions": MeasurementKind(
        predictions.Predictions, predictions.predictions, predictions.labels
    ),
    "geometry": MeasurementKind(
        geometry.Geometry, geometry.geometry, geometry.labels, geometry.describe
    ),
    "embedding_fourier": MeasurementKind(
        spectra.EmbeddingFourier, spectra.embedding_fourier, spectra.fourier_labels
    ),
    "progress": MeasurementKind(progress.Progress, progress.progress, progress.labels),
    "neuron_frequencies": MeasurementKind(
        neuron_waves.NeuronFrequencies, neuron_waves.neuron_frequencies, neuron_waves.labels
    ),
    "effective_sparsity": MeasurementKind(
        neurons.EffectiveSparsity, neurons.effective_sparsity, neurons.no_labels
    ),
    "subnetworks": MeasurementKind(neurons.Subnetworks, neurons.subnetworks, neurons.part_labels),
    "attention_entropy": MeasurementKind(
        attention.AttentionEntropy, attention.attention_entropy, attention.labels
    ),
    "ntk": MeasurementKind(kernel.NTK, kernel.ntk, kernel.labels),
    "spectrum": MeasurementKind(
        spectra.Spectrum, spectra.spectrum, spectra.spectrum_labels, spectra.decompose
    ),
}


def _no_such_rows(s: Any, table: TaskData) -> str | None:
    operands_N2 = getattr(table, "operands_N2", None)
    if operands_N2 is None:
        return "rows with two operands, but the rows of this task have none; use of: embedding"
    known = np.unique(operands_N2[:, 1])
    if s.rows_y in known:
        return None
    return f"rows whose second operand is rows_y = {s.rows_y}, but there are none; use {known[0]} to {known[-1]}"


def unmet(measurement: Measurement, model: Settings, table: TaskData) -> str | None:
    """What a measurement needs but this model and task do not offer, in words; None if nothing."""
    word = lacking(measurement.requires, model, table)
    if word is None and isinstance(measurement, cosets.Cosets):
        return cosets.misfit(measurement, table.permutations)  # type: ignore[union-attr, arg-type]
    if word is None:
        return _no_such_rows(measurement, table) if "rows_y" in measurement.requires else None
    others = offering(measurement.requires)
    if word in OF_TASKS or not others:
        return not_offered(word, model)
    named = "" if kind_of(type(model)) in others else f"; use model.kind {' or '.join(others)}"
    return MEANING[word] + named
