"""Progress measures of sums modulo p (Nanda et al. 2023, arXiv 2301.05217), and how few waves the weights have."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp
from jax import Array

from grokjax.losses import is_answer
from grokjax.models import Model, Params
from grokjax.models.neurons import neuron_logits, token_maps
from grokjax.probes import frequencies, key_logits
from grokjax.probes.metrics import masked_mean
from grokjax.probes.view import Probe, View
from grokjax.settings import shape


class Progress(Probe):
    """Progress measures of x+y and x-y modulo p, for the key frequencies of the present weights (Nanda et al. 2023).

    n_key_frequencies: number of frequencies whose norm in the embedding is above a quarter of the largest one. The
    paper takes the key frequencies of the run's end instead, as the measurement `progress` does.
    restricted_loss, restricted_accuracy: of all pairs, from the mean of the logits and their key frequencies only.
    excluded_loss, excluded_accuracy: of the training rows, from the logits without all key frequencies.
    trigonometric_fit: share of the variance of the logits that is Σ a_k cos(w_k(c - class)) over key frequencies k.
    gini_embedding, gini_neuron_logits: Gini coefficients of the norms of the Fourier components of the embedding and of
    the matrix from neurons to logits (the latter with a hidden layer).
    ipr: inverse participation ratio of each neuron over the linear maps from operands to neurons (Gromov 2023); with an
    MLP of one hidden layer, and with a transformer of one layer for each head.
    """

    kind: Literal["progress"] = shape("progress")
    requires: ClassVar[frozenset[str]] = frozenset({"embedding", "additive"})


def progress(s: Progress, view: View) -> dict[str, Array]:
    model, params = view.model, view.params
    key_K = frequencies.key_frequencies(residue_rows(model, params))
    logits_NC, answers_N = view.logits_NAC[:, 0], view.targets_NA[:, 0]
    logits_pC = key_logits.by_answer(logits_NC, answers_N, model.table.n_answers)
    return {
        "n_key_frequencies": key_K.sum(),
        **restricted_values(view, logits_pC, key_K),
        **excluded_values(view, logits_pC, key_K),
        "trigonometric_fit": key_logits.trigonometric_fit(logits_NC, logits_pC, key_K),
        **gini_values(model, params),
        **participation(model, params),
    }


def residue_rows(model: Model, params: Params) -> Array:
    """Embedding p D of the residues."""
    return params["W_E"][: model.table.n_answers]


def restricted_values(view: View, logits_pC: Array, key_K: Array) -> dict[str, Array]:
    """Loss and accuracy, over all pairs, of the mean logits and the key frequencies."""
    restricted_pC = key_logits.restricted(logits_pC, key_K)
    # All pairs of an answer have these logits, and there are as many pairs of each.
    answers_p = jnp.arange(len(logits_pC))
    return {
        "restricted_loss": view.per_row_loss(restricted_pC, answers_p).mean(),
        "restricted_accuracy": is_answer(restricted_pC, answers_p).astype(jnp.float32).mean(),
    }


def excluded_values(view: View, logits_pC: Array, key_K: Array) -> dict[str, Array]:
    """Loss and accuracy, on the training rows and for their labels, of the logits without the key frequencies."""
    logits_NC, answers_N = view.logits_NAC[:, 0], view.targets_NA[:, 0]
    excluded_NAC = key_logits.excluded(logits_NC, logits_pC, answers_N, key_K)[:, None]
    right_NA = is_answer(excluded_NAC, view.labels_NA).astype(jnp.float32)
    loss_NA = view.per_row_loss(excluded_NAC, view.labels_NA)
    return {
        "excluded_loss": masked_mean(loss_NA, view.rows.train_N),
        "excluded_accuracy": masked_mean(right_NA, view.rows.train_N),
    }


def gini_values(model: Model, params: Params) -> dict[str, Array]:
    """Gini coefficients of the norms of the Fourier components (constant, cos 1, sin 1, ...) of matrices."""
    matrices = {"gini_embedding": residue_rows(model, params)}
    if "hidden_layer" in model.kind.offers(model.settings):
        matrices["gini_neuron_logits"] = neuron_logits(model, params).T[: model.table.n_answers]
    return {
        name: frequencies.gini(frequencies.component_norms(W_pD)) for name, W_pD in matrices.items()
    }


def participation(model: Model, params: Params) -> dict[str, Array]:
    """Inverse participation ratio over all neurons and linear maps to them; nothing if the model has no such maps."""
    maps_MVF = token_maps(model, params)
    if maps_MVF is None:
        return {}
    maps_pMF = maps_MVF[:, : model.table.n_answers].swapaxes(0, 1)
    return {"ipr": frequencies.inverse_participation(maps_pMF.reshape(len(maps_pMF), -1))}
