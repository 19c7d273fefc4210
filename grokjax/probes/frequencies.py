"""Weights over the residues modulo p as sums of waves: norms of their components, and numbers for how few there are."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

KEY_SHARE = 0.25
"""Share of the largest norm above which a frequency is a key frequency."""


def frequency_of(p: int) -> Int[np.ndarray, " p"]:
    """Frequency of each component: 0, 1, 1, 2, 2, ...; p/2, for even p, is there once, because its sine is 0."""
    return (np.arange(p) + 1) // 2


def waves(p: int) -> Float[np.ndarray, "p p"]:
    """Rows are the components constant, cos 1, sin 1, cos 2, ... over the residues, each of length 1.

    They are an orthonormal basis, so a change of basis keeps the sum of squares.
    """
    # In float64, of whole numbers reduced modulo p: every entry is right to the last bit of float32.
    angle_pp = 2 * np.pi * (np.outer(frequency_of(p), np.arange(p)) % p) / p
    sine_p1 = (np.arange(p) % 2 == 0)[:, None] & (np.arange(p) > 0)[:, None]
    wave_pp = np.where(sine_p1, np.sin(angle_pp), np.cos(angle_pp))
    return (wave_pp / np.linalg.norm(wave_pp, axis=1, keepdims=True)).astype(np.float32)


def by_frequency(energy: Array) -> Array:
    """Energy of each frequency, K ..., from that of the components, p ...: cosine and sine together."""
    cos, sin = energy[1::2], energy[2::2]
    # For even p the last frequency has no sine.
    return cos + jnp.concatenate([sin, jnp.zeros_like(cos[len(sin) :])])


def components(W_pD: Float[Array, "p D"]) -> Float[Array, "p D"]:
    """Coordinates of each column in the basis of waves."""
    return jnp.matmul(waves(len(W_pD)), W_pD, precision="highest")


def component_norms(W_pD: Float[Array, "p D"]) -> Float[Array, " p"]:
    """Norm of each component (constant, cos 1, sin 1, ...) over the columns."""
    return jnp.sqrt((components(W_pD) ** 2).sum(1))


def frequency_norms(W_pD: Float[Array, "p D"]) -> Float[Array, " K"]:
    """Norm of each frequency 1 ... p//2, its cosine and sine together."""
    return jnp.sqrt(by_frequency((components(W_pD) ** 2).sum(1)))


def key_frequencies(W_pD: Float[Array, "p D"]) -> Bool[Array, " K"]:
    """Which frequencies 1 ... p//2 have a norm above a quarter of the largest one.

    Nanda et al. 2023 (arXiv 2301.05217) read the key frequencies off a figure and give no number. This is the rule of
    the public demonstration in TransformerLens.
    """
    norm_K = frequency_norms(W_pD)
    return norm_K > KEY_SHARE * norm_K.max()


def gini(x: Float[Array, " n"]) -> Float[Array, ""]:
    """Gini coefficient of n numbers that are 0 or more: 0 if all are equal, 1 - 1/n if only one is not 0.

    Half the mean distance of all pairs over the mean: Hurley & Rickard 2009 (arXiv 0811.4706), without a sort.
    """
    return jnp.abs(x[:, None] - x).sum() / (2 * len(x) * x.sum())


def inverse_participation(W_pF: Float[Array, "p F"]) -> Float[Array, ""]:
    """Σ_k (|u_k| / |u|)⁴ of each column, averaged over the columns that are not 0; 1: each has a single frequency.

    |u_k|² is the energy of cosine and sine at frequency k, the constant (k = 0) included. Gromov 2023
    (arXiv 2301.02679) with r = 2.
    """
    # Weights of dead neurons decay to numbers whose squares are 0 in float32.
    top_F = jnp.abs(W_pF).max(0)
    u_pF = components(W_pF / jnp.where(top_F > 0, top_F, 1))
    energy_KF = jnp.concatenate([u_pF[:1] ** 2, by_frequency(u_pF**2)])
    total_F = energy_KF.sum(0)
    each_F = ((energy_KF / jnp.where(top_F > 0, total_F, 1)) ** 2).sum(0)
    return each_F.sum() / (top_F != 0).sum()
