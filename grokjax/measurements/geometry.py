"""Hidden vectors of the training rows and of the features, and what polygons they are (source 003)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np
from jax import Array

from grokjax.measurements.saved import Measurement, Saved
from grokjax.models import Model
from grokjax.probes.dimensionality import KEPT, feature_vectors
from grokjax.probes.metrics import judge
from grokjax.settings import execution
from grokjax.tasks import Sample, Sequences


class Geometry(Measurement):
    """Hidden vectors of training rows and of features (vectors of the output matrix), with their dimensions D_X and D_i
    and the largest share of a direction D* (probe dimensionality); whether a row is right, and its loss. NaN for rows
    that are padding.

    With two hidden dimensions also row_gap and feature_gap: the largest relative deviation of an angle between
    neighbours from 2 pi / n, over the n training rows, and over the features whose norm is above 0.8 of the largest: 0
    for a regular polygon.
    """

    kind: Literal["geometry"] = execution("geometry")
    inputs: bool = execution(False)
    """Also keep what the model reads of each training row (needed to show the rows; large where rows are wide)."""
    requires: ClassVar[frozenset[str]] = frozenset({"features"})
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "hidden": ("row", "hidden_dimension"),
        "feature": ("output", "hidden_dimension"),
        "row_dimension": ("row",),
        "feature_dimension": ("output",),
        "leverage": ("row",),
        "right": ("row",),
        "loss": ("row",),
        "inputs": ("row", "input"),
        "row_gap": (),
        "feature_gap": (),
    }


def labels(s: Geometry, model: Model) -> dict[str, Any]:
    matrix = model.shapes()[model.output_name].shape
    tied = model.output_name == "W_E"
    n_outputs, width = (model.table.n_classes, matrix[1]) if tied else matrix[::-1]
    inputs = {"input": range(model.table.example.shape[1])} if s.inputs else {}
    return inputs | {
        "row": range(_n_rows(model)),
        "output": range(n_outputs),
        "hidden_dimension": range(width),
    }


def _n_rows(model: Model) -> int:
    """Rows among which are all training rows; those behind them are test rows."""
    table = model.table
    return table.n_drawn if isinstance(table, Sample) else table.n_rows


def geometry(s: Geometry, saved: Saved) -> dict[str, Array]:
    """The vectors. `describe` finds the rest. Rows that do not train are NaN."""
    view = saved.view
    right_NA, loss_NA = judge(view, view.labels_NA)
    rows = {"hidden": view.features_NAD[:, 0], "right": right_NA[:, 0], "loss": loss_NA[:, 0]}
    if s.inputs:
        read = saved.inputs
        rows["inputs"] = read.tokens_NT if isinstance(read, Sequences) else read
    trains = view.rows.train_N
    known = {
        name: jnp.where(trains.reshape(-1, *[1] * (x.ndim - 1)), x, jnp.nan)[: _n_rows(view.model)]
        for name, x in rows.items()
    }
    return known | {"feature": feature_vectors(view)}


def describe(s: Geometry, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Dimensions and polygons, on the host in float64."""
    hidden, feature = found["hidden"].astype(np.float64), found["feature"].astype(np.float64)
    trains = np.asarray(np.isfinite(hidden).all(1))
    rows, norm = hidden[trains], np.linalg.norm(feature, axis=1)
    kept = feature[norm > KEPT * norm.max()]
    return found | {
        "row_dimension": _spread(dimensions(rows), trains),
        "feature_dimension": dimensions(feature),
        "leverage": _spread(leverages(rows), trains),
        "row_gap": np.array(gap(rows)),
        "feature_gap": np.array(gap(kept)),
    }


def dimensions(vectors_NM: np.ndarray) -> np.ndarray:
    """|v|^2 / sum_j (unit v . v_j)^2 of each vector; 0 for a vector of zeros."""
    square_N = (vectors_NM**2).sum(1)
    form_N = ((vectors_NM @ (vectors_NM.T @ vectors_NM)) * vectors_NM).sum(1)
    return np.divide(square_N**2, form_N, out=np.zeros(len(square_N)), where=form_N > 0)


def leverages(vectors_NM: np.ndarray) -> np.ndarray:
    """h^T (sum_j h_j h_j^T)^+ h of each vector."""
    inverse = np.linalg.pinv(vectors_NM.T @ vectors_NM, hermitian=True)
    return ((vectors_NM @ inverse) * vectors_NM).sum(1)


def gap(vectors_N2: np.ndarray) -> float:
    """Largest relative deviation of an angle between neighbours from 2 pi / n; NaN unless in the plane and n > 1."""
    n, width = vectors_N2.shape
    if width != 2 or n < 2:
        return float("nan")
    angles = np.sort(np.arctan2(vectors_N2[:, 1], vectors_N2[:, 0]))
    gaps = np.diff(angles, append=angles[0] + 2 * np.pi)
    return float(np.abs(gaps * n / (2 * np.pi) - 1).max())


def _spread(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Values at the places of a mask, NaN elsewhere."""
    spread = np.full(len(at), np.nan)
    spread[at] = values
    return spread
