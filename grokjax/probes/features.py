"""Features, which the output matrix is multiplied with: how many directions they have, and how fast they change."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from grokjax.probes.view import Probe, View, tree_norm
from grokjax.settings import shape


class FeatureRank(Probe):
    """Rank, effective rank and stable rank of the features of training and of validation rows (source 004)."""

    kind: Literal["feature_rank"] = shape("feature_rank")
    requires: ClassVar[frozenset[str]] = frozenset({"features"})


class FeatureSpectrum(Probe):
    """Eigenvalues of ZᵀZ, Z the features, in ascending order: train_eigenvalue/0 ... and val_eigenvalue/0 ..."""

    kind: Literal["feature_spectrum"] = shape("feature_spectrum")
    requires: ClassVar[frozenset[str]] = frozenset({"features"})


class FeatureChange(Probe):
    """Norm of the change of all rows' features since the last evaluation, divided by their norm then (Thilak et al.
    2022)."""

    kind: Literal["feature_change"] = shape("feature_change")
    requires: ClassVar[frozenset[str]] = frozenset({"features", "previous"})


def feature_rank(s: FeatureRank, view: View) -> dict[str, Array]:
    return {
        f"{side}_{name}": value
        for side, eigenvalues_D in _spectra(view).items()
        for name, value in ranks(eigenvalues_D).items()
    }


def feature_spectrum(s: FeatureSpectrum, view: View) -> dict[str, Array]:
    return {f"{side}_eigenvalue": values_D for side, values_D in _spectra(view).items()}


def feature_change(s: FeatureChange, view: View) -> dict[str, Array]:
    assert view.previous is not None, "required"
    before = view.features(view.previous)
    change = tree_norm(view.features_NAD - before) / tree_norm(before)
    return {"feature_change": jnp.where(view.steps > 0, change, jnp.nan)}


def _spectra(view: View) -> dict[str, Array]:
    sides = {"train": view.rows.train_N, "val": view.val_N}
    return {side: eigenvalues(view.features_NAD, mask_N) for side, mask_N in sides.items()}


def eigenvalues(features_NAD: Float[Array, "N A D"], mask_N: Bool[Array, " N"]) -> Array:
    """The D eigenvalues of ZᵀZ in ascending order, none below 0. Z: features of the rows of the mask, not centred."""
    Z_ND = jnp.where(mask_N[:, None, None], features_NAD, 0).reshape(-1, features_NAD.shape[-1])
    return jnp.maximum(jnp.linalg.eigvalsh(jnp.dot(Z_ND.T, Z_ND, precision="highest")), 0)


def ranks(eigenvalues_D: Float[Array, " D"]) -> dict[str, Array]:
    """Ranks of X = ZᵀZ from its eigenvalues in ascending order.

    rank                   number of eigenvalues above D eps times the largest one, with eps of float32
    effective_rank         exp of the entropy of the eigenvalues divided by their sum (Roy & Vetterli 2007 use singular
                           values)
    stable_rank            (‖X‖_F / ‖X‖_2)², the usual form
    stable_rank_unsquared  ‖X‖_F / ‖X‖_2, the form of source 004
    """
    largest = eigenvalues_D[-1]
    share_D = eigenvalues_D / eigenvalues_D.sum()
    entropy = -jnp.where(share_D > 0, share_D * jnp.log(jnp.maximum(share_D, 1e-37)), 0).sum()
    unsquared = jnp.sqrt((eigenvalues_D**2).sum()) / largest
    limit = largest * len(eigenvalues_D) * jnp.finfo(jnp.float32).eps
    return {
        "rank": (eigenvalues_D > limit).sum().astype(jnp.float32),
        "effective_rank": jnp.exp(entropy),
        "stable_rank": unsquared**2,
        "stable_rank_unsquared": unsquared,
    }
