"""Progress measures of sums modulo p, for the key frequencies of the run's end (Nanda et al. 2023)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import Array

from grokjax.measurements.saved import At, Measurement, Saved
from grokjax.models import Model
from grokjax.probes import key_logits
from grokjax.probes.frequencies import key_frequencies
from grokjax.probes.progress import excluded_values, gini_values, residue_rows, restricted_values
from grokjax.settings import execution


class Progress(Measurement):
    """Progress measures of x+y and x-y modulo p. The key frequencies are those of the embedding at the run's end.

    is_key: 1 if the frequency's norm in that embedding is above a quarter of the largest one. restricted_: loss and
    accuracy of all pairs, from the mean of the logits and the key frequencies only. excluded_: of the training rows,
    from the logits without all key frequencies, or (excluded_loss_each) without one frequency, key or not.
    trigonometric_fit: share of the variance of the logits that is Σ a_k cos(w_k(c - class)) over key frequencies k.
    gini_: Gini coefficients of the norms of the Fourier components of the embedding and of the matrix from neurons to
    logits.
    """

    kind: Literal["progress"] = execution("progress")
    at: At = execution("all")
    """Which saved weights: final, all, or a list of steps. The key frequencies are always those of the run's end."""
    requires: ClassVar[frozenset[str]] = frozenset({"embedding", "additive", "final"})
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "restricted_loss": (),
        "restricted_accuracy": (),
        "excluded_loss": (),
        "excluded_accuracy": (),
        "excluded_loss_each": ("frequency",),
        "trigonometric_fit": (),
        "is_key": ("frequency",),
        "gini_embedding": (),
        "gini_neuron_logits": (),
    }


def labels(s: Progress, model: Model) -> dict[str, Any]:
    return {"frequency": range(1, model.table.n_answers // 2 + 1)}


def progress(s: Progress, saved: Saved) -> dict[str, Array]:
    """All arrays; NaN if the logits, or the embedding at the run's end, are not finite."""
    assert saved.final is not None
    view = saved.view
    end_pD = residue_rows(view.model, saved.final)
    key_K = key_frequencies(end_pD)
    logits_NC = view.logits_NAC[:, 0]
    logits_pC = key_logits.by_answer(logits_NC, view.targets_NA[:, 0], view.model.table.n_answers)
    found = {
        **restricted_values(view, logits_pC, key_K),
        **excluded_values(view, logits_pC, key_K),
        "excluded_loss_each": _each_excluded(saved, logits_pC),
        "trigonometric_fit": key_logits.trigonometric_fit(logits_NC, logits_pC, key_K),
        "is_key": key_K,
        **gini_values(view.model, saved.params),
    }
    finite = jnp.isfinite(logits_NC).all() & jnp.isfinite(end_pD).all()
    return {name: jnp.where(finite, x, jnp.nan) for name, x in found.items()}


def _each_excluded(saved: Saved, logits_pC: Array) -> Array:
    """Excluded loss of each frequency alone, one after the other, because each needs the logits of all pairs anew."""
    n = len(logits_pC) // 2

    def without(k: Array) -> Array:
        return excluded_values(saved.view, logits_pC, jnp.arange(n) == k)["excluded_loss"]

    return jax.lax.map(without, jnp.arange(n))
