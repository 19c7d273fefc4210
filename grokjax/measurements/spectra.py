"""Spectra: energy of the embedding by frequency, and eigenvalues of the features."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from jax import Array

from grokjax.measurements.saved import Measurement, Saved
from grokjax.models import Model
from grokjax.probes.fourier import frequency_shares
from grokjax.settings import execution


class EmbeddingFourier(Measurement):
    """Share of each frequency 1 ... p//2 (sine and cosine) in the energy of the numbers' embedding without its mean."""

    kind: Literal["embedding_fourier"] = execution("embedding_fourier")
    requires: ClassVar[frozenset[str]] = frozenset({"modular", "embedding"})
    dims: ClassVar[dict[str, tuple[str, ...]]] = {"energy_share": ("frequency",)}


class Spectrum(Measurement):
    """Eigenvalues of ZᵀZ in descending order. Z: the features that the output matrix is multiplied with, not centred
    (source 004)."""

    kind: Literal["spectrum"] = execution("spectrum")
    requires: ClassVar[frozenset[str]] = frozenset({"features"})
    dims: ClassVar[dict[str, tuple[str, ...]]] = {"eigenvalue": ("rows", "rank")}


def fourier_labels(s: EmbeddingFourier, model: Model) -> dict[str, Any]:
    return {"frequency": range(1, model.table.n_answers // 2 + 1)}


def embedding_fourier(s: EmbeddingFourier, saved: Saved) -> dict[str, Array]:
    return {
        "energy_share": frequency_shares(saved.params["W_E"][: saved.view.model.table.n_answers])
    }


def spectrum_labels(s: Spectrum, model: Model) -> dict[str, Any]:
    shape = model.shapes()[model.output_name].shape
    return {"rows": ["train", "val"], "rank": range(shape[1 if model.output_name == "W_E" else 0])}


def spectrum(s: Spectrum, saved: Saved) -> dict[str, Array]:
    """The features; `decompose` turns them into eigenvalues."""
    view = saved.view
    return {"features": view.features(saved.params), "train": view.rows.train_N}


def decompose(s: Spectrum, measured: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Eigenvalues on the host in float64: the fit of a power law uses small ones, which float32 sums round away."""
    sides = (measured["train"], ~measured["train"])
    return {
        "eigenvalue": np.stack([_eigenvalues(measured["features"][mask_N]) for mask_N in sides])
    }


def _eigenvalues(features_NAD: np.ndarray) -> np.ndarray:
    Z_ND = features_NAD.reshape(-1, features_NAD.shape[-1]).astype(np.float64)
    if not np.isfinite(Z_ND).all():
        return np.full(Z_ND.shape[1], np.nan)
    # Rounding can make an eigenvalue of 0 slightly negative.
    return np.maximum(np.linalg.eigvalsh(Z_ND.T @ Z_ND)[::-1], 0)
