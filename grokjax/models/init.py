"""Initialisation schemes, named after what they reproduce (sources: docs/design.md, section 8).

A scheme maps the part a tensor plays, and its fan-in, to a flax initialiser. `init_scale` multiplies every
tensor of two or more dimensions afterwards (embeddings and positions included; biases and LayerNorm
parameters are left alone).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from flax.linen import initializers
from jax.typing import ArrayLike

Part = Literal["embed", "positions", "qkv", "attn_out", "mlp_in", "mlp_out", "unembed", "bias"]
Initialiser = Callable[..., jax.Array]


def _uniform(limit: float) -> Initialiser:
    def draw(key: jax.Array, shape: tuple[int, ...], dtype: type = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return draw


def nanda(part: Part, fan_in: int, fan_out: int) -> Initialiser:
    """Nanda et al. 2023, released code: N(0, 1/d_model) throughout, unembedding N(0, 1/classes)."""
    if part == "bias":
        return initializers.zeros
    # W_out too is scaled by 1/sqrt(d_model), its fan-out, although its fan-in is d_mlp.
    by_fan_in = part in ("qkv", "attn_out", "mlp_in")
    return initializers.normal(1 / math.sqrt(fan_in if by_fan_in else fan_out))


def layernorm_grok(part: Part, fan_in: int, fan_out: int) -> Initialiser:
    """Singh et al. 2026 (arXiv 2602.06702), 'lecun': see `docs/design.md`; the truncation is not corrected for."""
    if part in ("attn_out", "mlp_in", "mlp_out"):
        return initializers.truncated_normal(1 / math.sqrt(fan_in), lower=-2.0, upper=2.0)
    return _layernorm_grok_common(part, fan_in, fan_out)


def layernorm_grok_kaiming(part: Part, fan_in: int, fan_out: int) -> Initialiser:
    """The same source's Kaiming variant, used for its runs with Adam's eps = 0."""
    if part in ("attn_out", "mlp_in", "mlp_out"):
        return initializers.normal(math.sqrt(2 / fan_in))
    return _layernorm_grok_common(part, fan_in, fan_out)


def _layernorm_grok_common(part: Part, fan_in: int, fan_out: int) -> Initialiser:
    if part == "bias":
        return initializers.zeros
    if part == "qkv":  # Xavier uniform of the three matrices stacked
        return _uniform(math.sqrt(6 / (fan_in + 3 * fan_out)))
    if part == "positions":
        return initializers.normal(0.02)
    return initializers.normal(1 / math.sqrt(fan_out if part == "embed" else fan_in))


def torch_default(part: Part, fan_in: int, fan_out: int) -> Initialiser:
    """PyTorch's defaults: N(0, 1) embeddings, uniform ±1/sqrt(fan_in) for linear weights and their biases."""
    if part in ("embed", "positions"):
        return initializers.normal(1.0)
    return _uniform(1 / math.sqrt(fan_in))


def grokking_mlp(part: Part, fan_in: int, fan_out: int) -> Initialiser:
    """enerrio/grokking-mlp: N(0, 1) embedding, Kaiming normal linear weights, zero biases."""
    if part == "bias":
        return initializers.zeros
    return initializers.normal(1.0 if part == "embed" else math.sqrt(2 / fan_in))


SCHEMES: dict[str, Callable[[Part, int, int], Initialiser]] = {
    "nanda": nanda,
    "layernorm-grok": layernorm_grok,
    "layernorm-grok-kaiming": layernorm_grok_kaiming,
    "torch": torch_default,
    "grokking-mlp": grokking_mlp,
}


def scale_weights(params: dict, scale: ArrayLike) -> dict:
    """Multiply every tensor of two or more dimensions by `scale`."""
    return jax.tree.map(lambda w: w * scale if w.ndim >= 2 else w, params)
