"""Initialisation schemes, named after what they reproduce. The docstring of each gives the source.

A scheme maps the part that a tensor plays, its fan-in and its fan-out to a `Draw`. Afterwards `init_scale` multiplies
every tensor of two or more dimensions (embeddings and positions included; biases and the parameters of norms do not
change).

All tensors of a model are parts of one vector of random numbers. A generator for each tensor would be a program for
each tensor; compiling these took a third as long as compiling the training step.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

Part = Literal["embed", "positions", "qkv", "attn_out", "mlp_in", "mlp_out", "unembed", "bias"]
Drawn = TypeVar("Drawn")


class Supply:
    """Uniform numbers in (-1, 1), taken one after the other. Without numbers it only counts how many are taken."""

    def __init__(self, uniform: jax.Array | None = None):
        self.uniform, self.taken = uniform, 0

    def take(self, n: int) -> jax.Array:
        start, self.taken = self.taken, self.taken + n
        return jnp.zeros(n) if self.uniform is None else self.uniform[start : self.taken]


_SUPPLY: contextvars.ContextVar[Supply] = contextvars.ContextVar("supply")


@contextlib.contextmanager
def drawing_from(supply: Supply) -> Iterator[None]:
    """Inside this `with` block, draws take their numbers from the supply."""
    token = _SUPPLY.set(supply)
    try:
        yield
    finally:
        _SUPPLY.reset(token)


@dataclasses.dataclass(frozen=True)
class Draw:
    """A flax initialiser: a distribution around 0 and its scale. Its numbers come from a Supply, not from the key."""

    distribution: Literal["zeros", "uniform", "normal", "truncated"]
    """uniform: between -scale and scale; normal: standard deviation `scale`; truncated: the normal distribution, cut at
    two standard deviations."""
    scale: float = 0.0

    def __call__(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        if self.distribution == "zeros":
            return jnp.zeros(shape)
        supply = _SUPPLY.get(None) or Supply()  # without a supply flax only asks for shapes
        u = supply.take(math.prod(shape)).reshape(shape)
        if self.distribution == "uniform":
            return self.scale * u
        within = math.erf(math.sqrt(2)) if self.distribution == "truncated" else 1.0
        return self.scale * math.sqrt(2) * jax.lax.erf_inv(within * u)


def draw_all(init: Callable[[], Drawn], key: jax.Array) -> Drawn:
    """The parameters that `init` returns. All its draws come from one vector of random numbers."""
    count = Supply()
    with drawing_from(count):
        jax.eval_shape(init)
    least = jnp.nextafter(
        jnp.float32(-1), jnp.float32(0)
    )  # the inverse error function of -1 is not finite
    with drawing_from(Supply(jax.random.uniform(key, (count.taken,), minval=least, maxval=1.0))):
        return init()


def nanda(part: Part, fan_in: int, fan_out: int) -> Draw:
    """Nanda et al. 2023, released code: N(0, 1/d_model) for all weights, but N(0, 1/classes) for the unembedding."""
    if part == "bias":
        return Draw("zeros")
    # As in the released code, O and W_out are also scaled by 1/sqrt(d_model), which is their fan-out.
    by_fan_in = part in ("qkv", "mlp_in")
    return Draw("normal", 1 / math.sqrt(fan_in if by_fan_in else fan_out))


def layernorm_grok(part: Part, fan_in: int, fan_out: int) -> Draw:
    """The scheme 'lecun' of Singh et al. 2026 (arXiv 2602.06702). Truncation makes the spread smaller; this is kept."""
    if part in ("attn_out", "mlp_in", "mlp_out"):
        return Draw("truncated", 1 / math.sqrt(fan_in))
    return _layernorm_grok_common(part, fan_in, fan_out)


def layernorm_grok_kaiming(part: Part, fan_in: int, fan_out: int) -> Draw:
    """The Kaiming scheme of Singh et al. 2026, which they use for runs with Adam's eps = 0."""
    if part in ("attn_out", "mlp_in", "mlp_out"):
        return Draw("normal", math.sqrt(2 / fan_in))
    return _layernorm_grok_common(part, fan_in, fan_out)


def _layernorm_grok_common(part: Part, fan_in: int, fan_out: int) -> Draw:
    if part == "bias":
        return Draw("zeros")
    if part == "qkv":  # Xavier uniform, for Q, K and V stacked to one matrix
        return Draw("uniform", math.sqrt(6 / (fan_in + 3 * fan_out)))
    if part == "positions":
        return Draw("normal", 0.02)
    return Draw("normal", 1 / math.sqrt(fan_out if part == "embed" else fan_in))


def torch_default(part: Part, fan_in: int, fan_out: int) -> Draw:
    """PyTorch's defaults: N(0, 1) embeddings, uniform ±1/sqrt(fan_in) for linear weights and their biases."""
    if part in ("embed", "positions"):
        return Draw("normal", 1.0)
    return Draw("uniform", 1 / math.sqrt(fan_in))


def grokking_mlp(part: Part, fan_in: int, fan_out: int) -> Draw:
    """enerrio/grokking-mlp: N(0, 1) embedding, Kaiming normal linear weights, zero biases."""
    if part == "bias":
        return Draw("zeros")
    return Draw("normal", 1.0 if part == "embed" else math.sqrt(2 / fan_in))


def lecun(part: Part, fan_in: int, fan_out: int) -> Draw:
    """N(0, 1/fan_in) (LeCun et al. 1998, section 4.6); embedding and positions N(0, 1/d_model); zero biases."""
    if part == "bias":
        return Draw("zeros")
    return Draw("normal", 1 / math.sqrt(fan_out if part in ("embed", "positions") else fan_in))


def xavier(part: Part, fan_in: int, fan_out: int) -> Draw:
    """N(0, 2/(fan_in + fan_out)) for all weights (Glorot & Bengio 2010, as a normal distribution); zero biases."""
    if part == "bias":
        return Draw("zeros")
    return Draw("normal", math.sqrt(2 / (fan_in + fan_out)))


SCHEMES: dict[str, Callable[[Part, int, int], Draw]] = {
    "nanda": nanda,
    "layernorm-grok": layernorm_grok,
    "layernorm-grok-kaiming": layernorm_grok_kaiming,
    "torch": torch_default,
    "grokking-mlp": grokking_mlp,
    "lecun": lecun,
    "xavier": xavier,
}
"""Every model with the setting `init` can use every scheme, because a scheme uses only a tensor's part and sizes."""


def scale_weights(params: dict, scale: ArrayLike) -> dict:
    """Multiply every tensor of two or more dimensions by `scale`."""
    return jax.tree.map(lambda w: w * scale if w.ndim >= 2 else w, params)
