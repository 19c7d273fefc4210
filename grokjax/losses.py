"""Losses: one number for each answer, from logits and labels. The experiment chooses the loss (docs/design.md)."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from grokjax.models.linear import row_sums


def is_answer(logits: Float[Array, "*N C"], labels: Int[Array, "*N"]) -> Bool[Array, "*N"]:
    """Whether the label's logit is larger than all others; false for a tie and for NaN.

    This needs one reduction. `cross_entropy` needs the same one, so an evaluation computes it once. An argmax needs two
    or three, and on CPU a reduction along a row takes about as long as computing its exponentials.
    """
    is_label = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    label = row_sums(jnp.where(is_label, logits, 0))
    return label > jax.lax.stop_gradient(jnp.where(is_label, -jnp.inf, logits).max(-1))


def cross_entropy(logits: Float[Array, "*N C"], labels: Int[Array, "*N"]) -> Float[Array, "*N"]:
    """softplus(logsumexp of the other logits − label logit): accurate in float32 down to 1e-12.

    The textbook form is rounded to 0 from a gap of about 17 (2 classes) or 21 (113 classes) on. This one is not.
    """
    is_label = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    others = jnp.where(is_label, -jnp.inf, logits)
    top = jax.lax.stop_gradient(others.max(-1))
    # Sums are products: on CPU an exponential that is fused into a reduction becomes scalar code, several times slower.
    rest = top + jnp.log(row_sums(jnp.exp(others - top[..., None])))
    return jax.nn.softplus(rest - row_sums(jnp.where(is_label, logits, 0)))


def cross_entropy_float32(
    logits: Float[Array, "*N C"], labels: Int[Array, "*N"]
) -> Float[Array, "*N"]:
    """−log softmax at the label, in float32 as in most code. It is there to provoke slingshots."""
    one_hot = jax.nn.one_hot(labels, logits.shape[-1])
    return -(jax.nn.log_softmax(logits) * one_hot).sum(-1)


def mse(logits: Float[Array, "*N C"], labels: Int[Array, "*N"]) -> Float[Array, "*N"]:
    """Mean over classes of the squared distance to the one-hot label (Gromov 2023)."""
    return ((logits - jax.nn.one_hot(labels, logits.shape[-1])) ** 2).mean(-1)


def hinge(logits: Float[Array, "*N C"], labels: Int[Array, "*N"]) -> Float[Array, "*N"]:
    """max(0, 1 + largest other logit − label logit) (Crammer & Singer 2001).

    For two logits -f/2 and f/2 it is the binary hinge loss max(0, 1 − y f) with y = ±1.
    """
    is_label = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    others = jnp.where(is_label, -jnp.inf, logits).max(-1)
    return jax.nn.relu(1 + others - row_sums(jnp.where(is_label, logits, 0)))


LOSSES: dict[str, Callable[[Array, Array], Array]] = {
    "cross_entropy": cross_entropy,
    "cross_entropy_float32": cross_entropy_float32,
    "mse": mse,
    "hinge": hinge,
}
