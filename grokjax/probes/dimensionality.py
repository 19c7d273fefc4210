"""How the hidden dimensions are shared out between features and between training rows (source 003).

A feature is a vector of the output matrix, one for each output; a row's vector is its features in the sense of `View`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from grokjax.probes.view import Probe, View
from grokjax.settings import shape

OWN = 0.5
"""A row with more than so much of a dimension dominates a direction: all others together have less of it."""
KEPT = 0.8
"""A feature is kept if its norm is above this share of the largest norm."""


class Dimensionality(Probe):
    """Dimensions of features D_i = |W_i|^2 / sum_j (unit W_i . W_j)^2 and of training rows D_X, the same of their
    hidden vectors (Henighan et al. 2023), and D*, the largest share of a direction's energy that a row can have
    (Hobbhahn 2023).

    feature_dimension_max, row_dimension_max: the largest; feature_share, row_share: their sums divided by the number
    of hidden dimensions; features_kept: features whose norm is above 0.8 of the largest; leverage_max, leverage_min: of
    D*; dictionary_share: share of the training rows with D_X above 0.5, which dominate a direction."""

    kind: Literal["dimensionality"] = shape("dimensionality")
    requires: ClassVar[frozenset[str]] = frozenset({"features"})


def dimensionality(s: Dimensionality, view: View) -> dict[str, Array]:
    train_N = view.rows.train_N
    W_CM = feature_vectors(view)
    h_NM = jnp.where(train_N[:, None], view.features_NAD[:, 0], 0)
    feature_C, row_N = dimensions(W_CM), dimensions(h_NM)
    leverage_N, norm_C = leverages(h_NM), jnp.sqrt((W_CM**2).sum(1))
    m = W_CM.shape[1]
    return {
        "feature_dimension_max": feature_C.max(),
        "feature_share": feature_C.sum() / m,
        "features_kept": (norm_C > KEPT * norm_C.max()).sum(),
        "row_dimension_max": row_N.max(),
        "row_share": row_N.sum() / m,
        "leverage_max": leverage_N.max(),
        "leverage_min": jnp.where(train_N, leverage_N, jnp.inf).min(),
        "dictionary_share": (row_N > OWN).sum() / train_N.sum(),
    }


def feature_vectors(view: View) -> Array:
    """The output matrix with a row for each output (C, M)."""
    matrix = view.model.output_matrix(view.params)
    return matrix if view.model.output_name == "W_E" else matrix.T


def dimensions(vectors_NM: Float[Array, "N M"]) -> Array:
    """For each vector |v|^2 / sum_j (unit v . v_j)^2, from 0 to 1; 0 for a vector of zeros.

    The sum is a quadratic form of the M x M Gram matrix, so that no products of all pairs are needed.
    """
    square_N, form_N = (vectors_NM**2).sum(1), _form(vectors_NM, _gram(vectors_NM))
    return jnp.where(form_N > 0, square_N**2 / jnp.where(form_N > 0, form_N, 1), 0)


def leverages(vectors_NM: Float[Array, "N M"]) -> Array:
    """For each vector h the largest (v.h)^2 / sum_j (v.h_j)^2 of all directions v: h^T (sum_j h_j h_j^T)^+ h.

    They sum up to the rank of the vectors (statistical leverage). Directions whose energy float32 cannot tell from 0
    are left out; the measurement `geometry` computes in float64.
    Not by jnp.linalg.pinv, which sorts the eigenvalues (a sort of floats is slow on CUDA, jax#27004).
    """
    energy_M, axes_MM = jnp.linalg.eigh(_gram(vectors_NM))
    smallest = energy_M.max() * energy_M.shape[0] * jnp.finfo(energy_M.dtype).eps
    along_NM = jnp.dot(vectors_NM, axes_MM, precision="highest")
    return (along_NM**2 / jnp.where(energy_M > smallest, energy_M, jnp.inf)).sum(1)


def _gram(vectors_NM: Array) -> Array:
    return jnp.dot(vectors_NM.T, vectors_NM, precision="highest")


def _form(vectors_NM: Array, matrix_MM: Array) -> Array:
    return (jnp.dot(vectors_NM, matrix_MM, precision="highest") * vectors_NM).sum(1)
