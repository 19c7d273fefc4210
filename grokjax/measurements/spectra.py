"""Energies: of the embedding over frequencies, of the features over directions."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import jax
import numpy as np
from jax import Array

from grokjax.measurements.saved import Measurement, Saved
from grokjax.models import Model
from grokjax.probes.fourier import frequency_shares
from grokjax.settings import execution


class EmbeddingFourier(Measurement):
    """Share of each frequency 1 ... p//2 in the energy of the number embedding, sine and cosine, constant left out."""

    kind: Literal["embedding_fourier"] = execution("embedding_fourier")
    requires: ClassVar[frozenset[str]] = frozenset({"modular", "embedding"})
    dims: ClassVar[dict[str, tuple[str, ...]]] = {"energy_share": ("frequency",)}


class Spectrum(Measurement):
    """Eigenvalues, descending, of ZᵀZ, Z the features before the output matrix, not centred (source 004)."""

    kind: Literal["spectrum"] = execution("spectrum")
    dims: ClassVar[dict[str, tuple[str, ...]]] = {"eigenvalue": ("rows", "rank")}


def fourier_labels(s: EmbeddingFourier, model: Model) -> dict[str, Any]:
    return {"frequency": range(1, model.table.n_answers // 2 + 1)}


def embedding_fourier(s: EmbeddingFourier, saved: Saved) -> dict[str, Array]:
    return {
        "energy_share": frequency_shares(saved.params["W_E"][: saved.view.model.table.n_answers])
    }


def spectrum_labels(s: Spectrum, model: Model) -> dict[str, Any]:
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    W_U = shapes["W_U"] if "W_U" in shapes else shapes["W_E"].T
    return {"rows": ["train", "val"], "rank": range(W_U.shape[0])}


def spectrum(s: Spectrum, saved: Saved) -> dict[str, Array]:
    """The features; `decompose` turns them into eigenvalues."""
    view = saved.view
    return {"features": view.features(saved.params), "train": view.rows.train_N}


def decompose(s: Spectrum, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """On the host in float64: a power law is fitted to the small eigenvalues, which float32 sums would drown."""
    sides = (found["train"], ~found["train"])
    return {"eigenvalue": np.stack([_eigenvalues(found["features"][mask_N]) for mask_N in sides])}


def _eigenvalues(features_NAD: np.ndarray) -> np.ndarray:
    Z_ND = features_NAD.reshape(-1, features_NAD.shape[-1]).astype(np.float64)
    if not np.isfinite(Z_ND).all():
        return np.full(Z_ND.shape[1], np.nan)
    # Rounding can make those that are 0 slightly negative.
    return np.maximum(np.linalg.eigvalsh(Z_ND.T @ Z_ND)[::-1], 0)
