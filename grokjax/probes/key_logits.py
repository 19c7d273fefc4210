"""The part of the logits of sums modulo p that is in given frequencies of the answer (Nanda et al. 2023).

The paper (arXiv 2301.05217) projects the logits of all p² pairs on cos and sin of w_k(x + y), where w_k = 2πk/p. These
are functions of the answer c = x + y (or x - y), and every answer has p pairs. So the projection is a Fourier transform
over c of the logits averaged over the pairs with the answer c, and its numbers are p times fewer.

N pairs, C classes, K frequencies 1 ... p//2. The axis p is that of the answers, or of the components of a transform.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from grokjax.models.linear import row_sums
from grokjax.probes.frequencies import by_frequency, components, frequency_of, waves


def by_answer(logits_NC: Float[Array, "N C"], answers_N: Int[Array, " N"], p: int) -> Array:
    """Mean of the logits over the pairs of each answer, p C. All pairs modulo p must be there."""
    one_hot_Np = jax.nn.one_hot(answers_N, p, dtype=logits_NC.dtype)
    return jnp.matmul(one_hot_Np.T, logits_NC, precision="highest") / p


def part_in(
    logits_pC: Float[Array, "p C"], keep_K: Bool[Array, " K"], mean: bool
) -> Float[Array, "p C"]:
    """The part of logits by answer that is in the frequencies to keep, and in the mean over the answers if `mean`."""
    p = len(logits_pC)
    keep_p = jnp.concatenate([jnp.full(1, mean), keep_K])[frequency_of(p)]
    kept_pC = jnp.where(keep_p[:, None], components(logits_pC), 0)
    return jnp.matmul(waves(p).T, kept_pC, precision="highest")


def restricted(logits_pC: Float[Array, "p C"], key_K: Bool[Array, " K"]) -> Float[Array, "p C"]:
    """Logits that consist of their mean and the key frequencies only. All pairs with the same answer have the same."""
    return part_in(logits_pC, key_K, mean=True)


def excluded(
    logits_NC: Float[Array, "N C"],
    logits_pC: Float[Array, "p C"],
    answers_N: Int[Array, " N"],
    key_K: Bool[Array, " K"],
) -> Float[Array, "N C"]:
    """The logits of all pairs without the key frequencies of their answers. The mean stays."""
    return logits_NC - part_in(logits_pC, key_K, mean=False)[answers_N]


def trigonometric_fit(
    logits_NC: Float[Array, "N C"], logits_pC: Float[Array, "p C"], key_K: Bool[Array, " K"]
) -> Float[Array, ""]:
    """Share of the variance of the logits of the p residues that the best Σ a_k cos(w_k(c - class)) explains.

    The variance is that around one mean over all pairs and residues. Over all pairs the functions of different k are
    orthogonal, so each a_k is a projection. NaN if all logits are equal.
    """
    p = len(logits_pC)
    residues_Np = logits_NC[:, :p]
    centred_Np = residues_Np - residues_Np.mean()
    variance = row_sums(centred_Np**2).sum()
    # cos(w(c - j)) = cos(wc) cos(wj) + sin(wc) sin(wj): the same component over the answers and over the classes.
    both_pp = jnp.matmul(components(logits_pC[:, :p]), waves(p).T, precision="highest")
    product_K = by_frequency(jnp.diagonal(both_pp))
    # A component of length 1 is sqrt(2/p) times a wave; 1/sqrt(p) for p/2. Each answer has p pairs.
    waves_K = by_frequency(jnp.ones(p))
    return jnp.where(key_K, p / waves_K * product_K**2, 0).sum() / variance
