"""First two principal components of the embedding, of logits (source 002) and of the output matrix (source 001)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np
from jax import Array

from grokjax.measurements.saved import Measurement, Saved
from grokjax.models import Model, Params
from grokjax.settings import execution


class PCA(Measurement):
    """First two principal components of the embedding (a point for each token), or of the logits of the rows
    (x, rows_y) (a point for each x)."""

    kind: Literal["pca"] = execution("pca")
    of: Literal["embedding", "logits", "both"] = execution("embedding")
    """What is projected."""
    rows_y: int = execution(8, ge=0)
    """Second operand of the rows whose logits are projected (8 in source 002)."""
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "embedding": ("token", "component"),
        "embedding_share": ("component",),
        "logits": ("x", "component"),
        "logits_share": ("component",),
    }

    @property
    def requires(self) -> frozenset[str]:
        needs = {"embedding": {"embedding"}, "logits": {"rows_y"}}
        return frozenset().union(*(v for k, v in needs.items() if self.of in (k, "both")))


def labels(s: PCA, model: Model) -> dict[str, Any]:
    by_dimension: dict[str, Any] = {"component": [0, 1]}
    if s.of != "logits":
        by_dimension["token"] = range(model.token_table.n_vocab)
    if s.of != "embedding":
        by_dimension["x"] = model.token_table.operands_N2[_rows(s, model), 0]
    return by_dimension


def pca(s: PCA, saved: Saved) -> dict[str, Array]:
    """The points (point, dimension) by name. `project` computes their components."""
    points = {}
    if s.of != "logits":
        points["embedding"] = saved.params["W_E"]
    if s.of != "embedding":
        rows = jnp.asarray(_rows(s, saved.view.model))
        points["logits"] = saved.logits(saved.params, rows).reshape(len(rows), -1)
    return points


def _rows(s: PCA, model: Model) -> np.ndarray:
    return np.flatnonzero(model.token_table.operands_N2[:, 1] == s.rows_y)


def project(s: PCA, by_name: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Coordinates on the first two components, and their shares of the variance; on the host, in float64."""
    out = {}
    for name, points in by_name.items():
        out[name], out[f"{name}_share"] = principal_components(points)
    return out


class Circles(Measurement):
    """First two principal components of the output matrix of residues, and which frequencies are in this plane.

    share: part of the plane's energy that each frequency has, by a Fourier transform of the points over the residues.
    One frequency k with nearly all of it means a circle, on which n and n+s are neighbours if k s = ±1 modulo p.
    """

    kind: Literal["circles"] = execution("circles")
    requires: ClassVar[frozenset[str]] = frozenset({"modular"})
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "points": ("element", "component"),
        "points_share": ("component",),
        "share": ("frequency",),
    }


def circle_labels(s: Circles, model: Model) -> dict[str, Any]:
    n = model.table.n_answers
    return {"element": range(n), "component": [0, 1], "frequency": range(1, n // 2 + 1)}


def circles(s: Circles, saved: Saved) -> dict[str, Array]:
    return {"points": output_rows(saved.view.model, saved.params)}


def shares_of_frequencies(s: Circles, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Coordinates, their shares of the variance, and the share of each frequency in them; NaN if not finite."""
    xy_N2, share_2 = principal_components(found["points"])
    energy_K = (np.abs(np.fft.fft(xy_N2, axis=0)) ** 2).sum(1)
    half = len(xy_N2) // 2
    # The other half of the transform is the conjugate of this one; only n/2 has no partner.
    twice_K = np.where(2 * np.arange(1, half + 1) == len(xy_N2), 1, 2) * energy_K[1 : half + 1]
    return {"points": xy_N2, "points_share": share_2, "share": twice_K / energy_K[1:].sum()}


def output_rows(model: Model, params: Params) -> Array:
    """The row of the output matrix for each possible answer (answers, D)."""
    matrix = model.output_matrix(params)
    rows = matrix if model.output_name == "W_E" else matrix.T
    return rows[: model.table.n_answers]


def principal_components(points_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (N, 2) on the first two components, and their shares (2,) of the variance.

    All are NaN if a point is not finite. The sign of a component is chosen so that its entry of largest magnitude (the
    first of equal ones) is positive.
    """
    centred = points_ND.astype(np.float64) - points_ND.mean(0, dtype=np.float64)
    if not np.isfinite(centred).all():
        return np.full((len(points_ND), 2), np.nan), np.full(2, np.nan)
    _, size, directions = np.linalg.svd(centred, full_matrices=False)
    first = directions[:2]
    sign = np.sign(np.take_along_axis(first, np.abs(first).argmax(1, keepdims=True), 1))
    xy_N2, share_2 = np.zeros((len(points_ND), 2)), np.zeros(2)
    xy_N2[:, : len(first)] = centred @ (first * sign).T
    share_2[: len(first)] = size[:2] ** 2 / max((size**2).sum(), np.finfo(float).tiny)
    return xy_N2, share_2
