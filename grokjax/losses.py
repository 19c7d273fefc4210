"""Losses: one number for each answer. The experiment chooses the loss (docs/design.md).

LOSSES compare logits with labels, VECTOR_LOSSES outputs with the vectors that they should be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from grokjax.models.linear import row_sums
from grokjax.tasks import Sample, TaskData


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


def squared_error(
    outputs: Float[Array, "*N C"], targets: Float[Array, "*N C"], importance: Float[Array, " C"]
) -> Float[Array, "*N"]:
    """Sum over the entries of importance times squared error (Elhage et al. 2022; Henighan et al. 2023)."""
    return row_sums(importance * (outputs - targets) ** 2)


@jax.custom_vjp
def mean_squared_error(
    outputs: Float[Array, "N C"],
    targets: Float[Array, "N C"],
    importance: Float[Array, " C"],
    share: Float[Array, " N"],
) -> Float[Array, ""]:
    """The sum over rows of share times `squared_error`, summed over rows first: one product with few rows. Sums along
    wide rows are slow on CPU."""
    squares = (outputs - targets) ** 2
    # Two rows of shares, for the reason that linear.row_sums has.
    return (jnp.dot(jnp.stack([share, share]), squares, precision="highest")[0] * importance).sum()


def _mean_squared_forward(outputs: Array, targets: Array, importance: Array, share: Array) -> Any:
    saved = (outputs, targets, importance, share)
    return mean_squared_error(*saved), saved


def _mean_squared_backward(saved: Any, g: Array) -> tuple[Array, None, None, None]:
    outputs, targets, importance, share = saved
    return (2 * g * share)[:, None] * importance * (outputs - targets), None, None, None


mean_squared_error.defvjp(_mean_squared_forward, _mean_squared_backward)


class VectorLoss(NamedTuple):
    """One loss in two forms, which a test holds equal."""

    per_answer: Callable[[Array, Array, Array], Array]
    """(outputs ... C, targets ... C, importance C) -> one number for each answer."""
    weighted: Callable[[Array, Array, Array, Array], Array]
    """(outputs N C, targets N C, importance C, share N) -> their sum with these shares."""


VECTOR_LOSSES: dict[str, VectorLoss] = {
    "squared_error": VectorLoss(squared_error, mean_squared_error)
}


def per_answer(name: str, table: TaskData) -> Callable[[Array, Array], Array]:
    """The loss of each answer from (logits, labels), or where a task's answers are vectors from (outputs, targets)."""
    if name in LOSSES:
        return LOSSES[name]
    importance_C = _importance(table)
    return lambda outputs, targets: VECTOR_LOSSES[name].per_answer(outputs, targets, importance_C)


def mean_loss(
    name: str,
    table: TaskData,
    outputs_BAC: Float[Array, "B A C"],
    answers_BA: Int[Array, "B A"] | Float[Array, "B A C"],
    share_B: Float[Array, " B"],
) -> Float[Array, ""]:
    """The sum over rows of share times the mean loss of a row's answers."""
    if name in LOSSES:
        return (LOSSES[name](outputs_BAC, answers_BA).mean(-1) * share_B).sum()
    n_answers = outputs_BAC.shape[1]
    outputs_NC, targets_NC = (x.reshape(-1, x.shape[-1]) for x in (outputs_BAC, answers_BA))
    share_N = jnp.repeat(share_B / n_answers, n_answers)
    return VECTOR_LOSSES[name].weighted(outputs_NC, targets_NC, _importance(table), share_N)


def _importance(table: TaskData) -> Array:
    assert isinstance(table, Sample) and table.importance_C is not None, "answers that are vectors"
    return jnp.asarray(table.importance_C)


def is_right(
    outputs: Float[Array, "*N C"], answers: Int[Array, "*N"] | Float[Array, "*N C"]
) -> Bool[Array, "*N"]:
    """Whether an answer is right: the label has the largest logit; of a vector, its largest entry is the largest
    output. A vector without an entry above 0 is never right."""
    if answers.ndim < outputs.ndim:
        return is_answer(outputs, answers)
    largest = answers.max(-1, keepdims=True)
    is_largest = answers == largest
    there = jnp.where(is_largest, outputs, -jnp.inf).max(-1)
    elsewhere = jnp.where(is_largest, -jnp.inf, outputs).max(-1)
    return (there > elsewhere) & (largest[..., 0] > 0)


def misused(name: str, answers: str) -> str | None:
    """Why a loss cannot be used for answers that are classes or vectors, in words; None if it can."""
    fitting = LOSSES if answers == "classes" else VECTOR_LOSSES
    if name in fitting:
        return None
    other = "vectors" if answers == "classes" else "classes"
    return f"{name} compares {other}, but the answers of this task are {answers}; use {' or '.join(fitting)}"
