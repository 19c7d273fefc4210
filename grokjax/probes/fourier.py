"""How much of the embedding of the numbers is in a few frequencies."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from grokjax.keys import order_of
from grokjax.probes.view import Probe, View
from grokjax.settings import shape


class Fourier(Probe):
    """fourier_concentration (C_Fourier of source 004), and the top frequencies' share of the embedding's energy."""

    kind: Literal["fourier"] = shape("fourier")
    top: int = shape(10, ge=1)
    """Number of frequencies whose shares are added; the largest shares count."""
    requires: ClassVar[frozenset[str]] = frozenset({"embedding", "modular"})


def fourier(s: Fourier, view: View) -> dict[str, Array]:
    W_pD = view.params["W_E"][: view.model.table.n_answers]
    shares_K = frequency_shares(W_pD)
    shares_K = shares_K[order_of(shares_K)][::-1]
    return {
        "fourier_concentration": concentration(W_pD),
        "fourier_top_share": shares_K[: s.top].sum(),
    }


def concentration(W_pD: Float[Array, "p D"]) -> Array:
    """Variance over frequencies of the mean magnitude, divided by the mean squared deviation from these means.

    Singh et al. 2026 (arXiv 2602.06702). The magnitudes are those of a real FFT over the numbers, with the constant
    part.
    """
    magnitude_KD = jnp.abs(jnp.fft.rfft(W_pD, axis=0))
    mean_K = magnitude_KD.mean(1)
    return mean_K.var() / ((magnitude_KD - mean_K[:, None]) ** 2).mean()


def frequency_shares(W_pD: Float[Array, "p D"]) -> Array:
    """Share of each frequency 1 ... p//2 in the embedding's energy without the constant part."""
    p = W_pD.shape[0]
    energy_K = (jnp.abs(jnp.fft.rfft(W_pD, axis=0)) ** 2).sum(1)[1:]
    # The real FFT has only one frequency of each conjugate pair, so it counts twice. p/2, for even p, has no pair.
    pairs_K = jnp.where(2 * jnp.arange(1, p // 2 + 1) == p, 1.0, 2.0)
    return energy_K * pairs_K / (energy_K * pairs_K).sum()
