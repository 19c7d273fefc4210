"""Norms of parameters, gradients, updates and the output matrix."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import Array

from grokjax.models import Params, tensor_names
from grokjax.probes.view import Probe, View, tree_norm
from grokjax.settings import shape

ALL = "all"
"""The name for all tensors together, beside the names of single tensors."""


class Norms(Probe):
    """param_norm: root of the sum of squares of all parameters; param_norm/<tensor>: of each tensor."""

    kind: Literal["norms"] = shape("norms")


class WeightSquares(Probe):
    """weight_squares: sum of squares of all parameters; weight_squares/<tensor>: of each tensor.

    What Nanda et al. 2023 (arXiv 2301.05217) show; `norms` gives the roots."""

    kind: Literal["weight_squares"] = shape("weight_squares")


class Updates(Probe):
    """Norms of the last step's gradient and update, and of the update relative to the parameters before it."""

    kind: Literal["updates"] = shape("updates")
    requires: ClassVar[frozenset[str]] = frozenset({"gradients"})


class UpdateSpeed(Probe):
    """speed: mean norm of the updates since the last evaluation. relative_speed: the same divided by the norm of the
    parameters. Both also for each tensor."""

    kind: Literal["update_speed"] = shape("update_speed")
    requires: ClassVar[frozenset[str]] = frozenset({"update_length"})


class OutputLayer(Probe):
    """Frobenius and spectral norm of the output matrix."""

    kind: Literal["output_layer"] = shape("output_layer")


def norms(s: Norms, view: View) -> dict[str, Array]:
    each = {f"param_norm/{name}": tree_norm(x) for name, x in tensor_names(view.params).items()}
    return {"param_norm": tree_norm(view.params), **each}


def weight_squares(s: WeightSquares, view: View) -> dict[str, Array]:
    squares = {name: (x**2).sum() for name, x in tensor_names(view.params).items()}
    each = {f"weight_squares/{name}": x for name, x in squares.items()}
    return {"weight_squares": jnp.stack([*squares.values()]).sum(), **each}


def updates(s: Updates, view: View) -> dict[str, Array]:
    before = jax.tree.map(lambda w, u: w - u, view.params, view.updates)
    return {
        "grad_norm": tree_norm(view.grads),
        "update_norm": tree_norm(view.updates),
        "relative_update_norm": tree_norm(view.updates) / tree_norm(before),
    }


def update_speed(s: UpdateSpeed, view: View) -> dict[str, Array]:
    assert view.update_length is not None
    speeds = {name: length / view.steps for name, length in view.update_length.items()}
    sizes = {ALL: tree_norm(view.params)}
    sizes |= {name: tree_norm(x) for name, x in tensor_names(view.params).items()}
    measured = {}
    for name, speed in speeds.items():
        suffix = "" if name == ALL else f"/{name}"
        measured[f"speed{suffix}"] = speed
        measured[f"relative_speed{suffix}"] = speed / sizes[name]
    return measured


def update_lengths(updates: Params) -> dict[str, Array]:
    """Norm of an update, by the name ALL, and of its part in each tensor."""
    each = {name: tree_norm(x) for name, x in tensor_names(updates).items()}
    return {ALL: tree_norm(updates), **each}


def output_layer(s: OutputLayer, view: View) -> dict[str, Array]:
    W = view.model.output_matrix(view.params)
    return {"output_frobenius": tree_norm(W), "output_spectral": spectral_norm(W)}


def spectral_norm(W: Array) -> Array:
    """Largest singular value, by squaring the smaller Gram matrix 10 times, which equals 1,024 power iterations.

    It needs only matrix products, which are cheap under vmap; an SVD is not. Checked against NumPy's SVD (rtol 1e-4).
    """
    gram = W.T @ W if W.shape[0] >= W.shape[1] else W @ W.T
    scale = jnp.maximum(jnp.trace(gram), jnp.finfo(W.dtype).tiny)
    power = gram / scale
    for _ in range(10):
        power = power @ power
        power = power / jnp.maximum(jnp.trace(power), jnp.finfo(W.dtype).tiny)
    # power is now the projector on the leading singular vectors, with trace 1.
    return jnp.sqrt((power * gram).sum())
