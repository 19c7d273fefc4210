"""What is measured on saved weights. One small file a family; a new kind is its settings and function there, and one
line in MEASUREMENTS here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from grokjax.measurements import attention, kernel, neurons, projection, pruning, spectra
from grokjax.measurements.saved import Saved
from grokjax.models import Model
from grokjax.settings import Settings

Found = dict[str, np.ndarray]


class Kind(NamedTuple):
    """How to measure one kind: what it finds in one set of weights, by name, and the labels of the dimensions that its
    settings' `dims` give these arrays; `finish` is the part of the work that the host does, in NumPy."""

    settings: type[Settings]
    measure: Callable[[Any, Saved], dict[str, Array]]
    labels: Callable[[Any, Model], dict[str, Any]]
    finish: Callable[[Any, Found], Found] = lambda _, found: found


MEASUREMENTS: dict[str, Kind] = {
    "pruning": Kind(pruning.Pruning, pruning.pruning, pruning.labels),
    "pca": Kind(projection.PCA, projection.pca, projection.labels, projection.project),
    "embedding_fourier": Kind(
        spectra.EmbeddingFourier, spectra.embedding_fourier, spectra.fourier_labels
    ),
    "effective_sparsity": Kind(
        neurons.EffectiveSparsity, neurons.effective_sparsity, neurons.no_labels
    ),
    "subnetworks": Kind(neurons.Subnetworks, neurons.subnetworks, neurons.part_labels),
    "attention_entropy": Kind(
        attention.AttentionEntropy, attention.attention_entropy, attention.labels
    ),
    "ntk": Kind(kernel.NTK, kernel.ntk, kernel.labels),
    "spectrum": Kind(
        spectra.Spectrum, spectra.spectrum, spectra.spectrum_labels, spectra.decompose
    ),
}


def _one_hidden_layer(model: Any) -> bool:
    return model.kind in ("transformer", "quadratic") or len(model.hidden) == 1


def _no_embedding(s: Any, model: Any, table: Any) -> str | None:
    if model.kind in ("transformer", "mlp"):
        return None
    return (
        f"a model with an embedding, which {model.kind} has not; transformer or mlp would be right"
    )


def _not_modular(s: Any, model: Any, table: Any) -> str | None:
    return None if table.cyclic else "a task of kind modular, whose tokens are numbers modulo p"


def _no_attention(s: Any, model: Any, table: Any) -> str | None:
    if model.kind == "transformer":
        return None
    return f"a model with attention, which {model.kind} has not; transformer would be right"


def _many_layers(s: Any, model: Any, table: Any) -> str | None:
    if _one_hidden_layer(model):
        return None
    return (
        "a transformer or one hidden layer, and model.hidden has "
        f"{len(model.hidden)}: {list(model.hidden)}"
    )


def _no_such_rows(s: Any, model: Any, table: Any) -> str | None:
    operands_N2 = getattr(table, "operands_N2", None)
    if operands_N2 is None:
        return "rows with two operands, and this task's have none; of: embedding would be right"
    known = np.unique(operands_N2[:, 1])
    if s.rows_y in known:
        return None
    return f"a second operand that occurs, and rows_y is {s.rows_y}; {known[0]} to {known[-1]} would be right"


_LACKS: dict[str, Callable[[Any, Any, Any], str | None]] = {
    "embedding": _no_embedding,
    "modular": _not_modular,
    "attention": _no_attention,
    "hidden_layer": _many_layers,
    "rows_y": _no_such_rows,
}
"""What a measurement may require of model and task. 'final' asks for the weights of the run's end beside the others."""


def unmet(measurement: Any, model: Any, table: Any) -> str | None:
    """What a measurement needs and this model and task do not offer, in words."""
    lacking = (
        _LACKS[name](measurement, model, table)
        for name in sorted(measurement.requires)
        if name in _LACKS
    )
    return next((told for told in lacking if told), None)
