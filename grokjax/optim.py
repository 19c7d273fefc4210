"""Optimisers for one run. Each is built inside the step from traced numbers, so every such number can be an axis.

Two forms of weight decay have different names. `weight_decay` of `adamw` is decoupled and multiplied by the learning
rate (strength lr x weight_decay, as in PyTorch and optax). `l2` times the parameters is added to the gradient.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import PyTree
from pydantic import model_validator

from grokjax.decay_forms import DECAY_FORMS, InitialWeights, Numbers, OptState, Strength
from grokjax.models import Params
from grokjax.models.parts import GROUPS, groups_of
from grokjax.settings import Kind, SettingError, Settings, hyper, kind_of, shape


class Schedule(Settings):
    """Settings of every optimiser: the learning rate, and how it changes."""

    learning_rate: float = hyper(1e-3, ge=0)
    """Learning rate after the warm-up."""
    warmup: int = hyper(0, ge=0)
    """Number of updates of linear warm-up."""
    warmup_start: Literal["zero", "one"] = shape("zero")
    """Factor of update s during warm-up: zero: s/warmup, so the first update is 0 (Power, Nanda); one: (s+1)/warmup."""
    schedule: Literal["constant", "cosine"] = shape("constant")
    """Learning rate after warm-up: constant, or half a cosine that reaches 0 at `horizon`."""
    horizon: int = hyper(100_000, ge=1)
    """Update at which the cosine reaches 0. Unlike train.steps it is part of the run's id."""
    noise: Literal["none", "update", "weights"] = shape("none", introduced="none")
    """update: normal numbers times `noise_scale` are added to each update before it is multiplied by the learning rate;
    weights: the gradient is that of weights to which they are added (Power et al. 2022)."""
    noise_scale: float = hyper(0.0, introduced=0.0, ge=0)
    """Standard deviation of the noise."""

    @model_validator(mode="after")
    def _horizon_has_an_effect(self) -> Schedule:
        """Two runs must not differ only in a setting that has no effect."""
        if (
            self.schedule == "constant"
            and self.horizon != type(self).model_fields["horizon"].default
        ):
            raise SettingError(
                "horizon",
                f"{self.horizon} has no effect with schedule = constant; remove it, or use schedule = cosine",
            )
        return self

    @model_validator(mode="after")
    def _noise_has_an_effect(self) -> Schedule:
        if self.noise == "none" and self.noise_scale:
            raise SettingError(
                "noise_scale",
                f"{self.noise_scale} has no effect with noise: none; set noise: update or weights",
            )
        return self


class Decaying(Schedule):
    """Settings of every optimiser with a decay: which parameters decay. Its function must use `decay`.

    An optimiser without a decay extends Schedule, so that it has no settings without an effect.
    """

    decay_form: Literal[tuple(DECAY_FORMS)] = shape("to_zero", introduced="to_zero")  # type: ignore[valid-type]
    """to_zero: weights shrink; to_initial: what differs from the initial weights shrinks; jiggle: each update
    multiplies each tensor's decay by a normal number (Power et al. 2022)."""
    decays: Literal["all", "matrices", "by_group"] = shape("all")
    """Which parameters decay: all (as in the sources), matrices (two or more dimensions), or by_group: each group with
    its own factor."""
    decay_embedding: float = hyper(1.0, introduced=1.0, ge=0)
    """Factor on the decay of token and position embeddings, with decays: by_group."""
    decay_matrices: float = hyper(1.0, introduced=1.0, ge=0)
    """Factor on the decay of the other tensors of two or more dimensions, with decays: by_group."""
    decay_unembedding: float = hyper(1.0, introduced=1.0, ge=0)
    """Factor on the decay of the output matrix, with decays: by_group (a tied one belongs to the embedding)."""
    decay_rest: float = hyper(1.0, introduced=1.0, ge=0)
    """Factor on the decay of biases, gains and other vectors, with decays: by_group."""

    @model_validator(mode="after")
    def _factors_have_an_effect(self) -> Decaying:
        for group in GROUPS:
            factor = getattr(self, f"decay_{group}")
            if self.decays != "by_group" and factor != 1.0:
                raise SettingError(
                    f"decay_{group}",
                    f"{factor} has no effect with decays: {self.decays}; set decays: by_group",
                )
        return self


class AdamW(Decaying):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    kind: Literal["adamw"] = shape("adamw")
    weight_decay: float = hyper(ge=0)
    """Decoupled weight decay, multiplied by the learning rate. It has no default, because sources differ by a factor
    of 100."""
    beta1: float = hyper(0.9, ge=0, lt=1)
    """Decay of the first moment."""
    beta2: float = hyper(0.98, ge=0, lt=1)
    """Decay of the second moment (0.98 in Power and Nanda, 0.999 in most libraries)."""
    eps: float = hyper(1e-8, ge=0)
    """Added to the root of the second moment. 0 gives NaN where a gradient is exactly 0 (a unit never active)."""


class Adam(Decaying):
    """Adam, optionally with l2 in the gradient (often called weight decay)."""

    kind: Literal["adam"] = shape("adam")
    l2: float = hyper(0.0, ge=0)
    """Factor: this number times the parameters is added to the gradient."""
    beta1: float = hyper(0.9, ge=0, lt=1)
    """Decay of the first moment."""
    beta2: float = hyper(0.98, ge=0, lt=1)
    """Decay of the second moment."""
    eps: float = hyper(1e-8, ge=0)
    """Added to the root of the second moment. 0 gives NaN where a gradient is exactly 0 (a unit never active)."""


class SGD(Decaying):
    """Gradient descent with momentum (PyTorch's convention: v <- momentum v + gradient)."""

    kind: Literal["sgd"] = shape("sgd")
    momentum: float = hyper(0.0, ge=0, lt=1)
    """Decay of the velocity."""
    l2: float = hyper(0.0, ge=0)
    """Factor: this number times the parameters is added to the gradient."""


class RMSProp(Decaying):
    """Gradient over the root of its running mean square (Hinton 2012, lecture 6e)."""

    kind: Literal["rmsprop"] = shape("rmsprop")
    l2: float = hyper(0.0, ge=0)
    """Factor: this number times the parameters is added to the gradient."""
    beta2: float = hyper(0.99, ge=0, lt=1)
    """Decay of the mean square."""
    eps: float = hyper(1e-8, ge=0)
    """Added to the root of the mean square."""


class Adagrad(Decaying):
    """Gradient over the root of its sum of squares (Duchi, Hazan & Singer 2011)."""

    kind: Literal["adagrad"] = shape("adagrad")
    l2: float = hyper(0.0, ge=0)
    """Factor: this number times the parameters is added to the gradient."""
    eps: float = hyper(1e-10, ge=0)
    """Added to the sum of squares, inside the root."""


def _adamw(s: AdamW, n: Numbers) -> optax.GradientTransformation:
    return optax.chain(
        optax.scale_by_adam(n["beta1"], n["beta2"], n["eps"]),
        decay(s, n, n["weight_decay"]),
    )


def _adam(s: Adam, n: Numbers) -> optax.GradientTransformation:
    return optax.chain(
        decay(s, n, n["l2"]),
        optax.scale_by_adam(n["beta1"], n["beta2"], n["eps"]),
    )


def _sgd(s: SGD, n: Numbers) -> optax.GradientTransformation:
    return optax.chain(
        decay(s, n, n["l2"]),
        optax.trace(n["momentum"], nesterov=False),
    )


def _rmsprop(s: RMSProp, n: Numbers) -> optax.GradientTransformation:
    return optax.chain(
        decay(s, n, n["l2"]),
        optax.scale_by_rms(n["beta2"], n["eps"], eps_in_sqrt=False),
    )


def _adagrad(s: Adagrad, n: Numbers) -> optax.GradientTransformation:
    return optax.chain(
        decay(s, n, n["l2"]),
        optax.scale_by_rss(0.0, n["eps"]),
    )


OPTIMIZERS: dict[str, Kind] = {
    "adamw": Kind(AdamW, _adamw),
    "adam": Kind(Adam, _adam),
    "sgd": Kind(SGD, _sgd),
    "rmsprop": Kind(RMSProp, _rmsprop),
    "adagrad": Kind(Adagrad, _adagrad),
}


def decay(s: Decaying, n: Numbers, strength: Strength) -> optax.GradientTransformation:
    """Add `strength` times the parameters that decay; with decays: by_group also times the factor of the group.

    After the rest of an optimiser it is decoupled (as in `adamw`), before it a part of the gradient (l2).
    """
    form = DECAY_FORMS[s.decay_form]
    if s.decays == "all":
        return form(strength, n, 0)
    if s.decays == "matrices":
        mask = lambda params: jax.tree.map(lambda w: w.ndim >= 2, params)  # noqa: E731
        return optax.masked(form(strength, n, 0), mask)
    each: dict[Hashable, optax.GradientTransformation] = {
        g: form(strength * n[f"decay_{g}"], n, i) for i, g in enumerate(GROUPS)
    }
    return optax.partition(each, groups_of)


def add_noise(tree: PyTree, scale: ArrayLike, key: jax.Array) -> PyTree:
    """Each number plus `scale` times a normal number of its own."""
    leaves, form = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    noisy = [x + scale * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(form, noisy)


def seen_weights(s: Schedule, n: Numbers, params: Params) -> Params:
    """The weights that an update's gradient is taken at."""
    return add_noise(params, n["noise_scale"], n["key"]) if s.noise == "weights" else params


def learning_rate(s: Schedule, n: Numbers, step: ArrayLike) -> jax.Array:
    """Learning rate of update number `step` (from 0)."""
    warmup, done = n["warmup"], jnp.asarray(step) + (1 if s.warmup_start == "one" else 0)
    rising = jnp.where(warmup > 0, jnp.minimum(done / jnp.maximum(warmup, 1), 1.0), 1.0)
    if s.schedule == "constant":
        return n["learning_rate"] * rising
    length = jnp.maximum(n["horizon"] - warmup, 1)
    past = jnp.clip((jnp.asarray(step) - warmup) / length, 0.0, 1.0)
    return n["learning_rate"] * rising * 0.5 * (1 + jnp.cos(jnp.pi * past))


def make_optimizer(s: Schedule, n: Numbers) -> optax.GradientTransformation:
    """The transformation of gradients into directions; `update` multiplies them by minus the learning rate."""
    return OPTIMIZERS[kind_of(type(s))].build(s, n)


def init_optimizer(s: Schedule, params: Params) -> OptState:
    """State of the optimiser at step 0. It does not depend on the optimiser's numbers."""
    numbers = dict.fromkeys(type(s).model_fields, 0.0)
    return make_optimizer(s, numbers).init(params)


def restart(state: OptState) -> OptState:
    """The state as at step 0: moments and counters are 0; what weights decay towards stays."""
    keeps = lambda x: isinstance(x, InitialWeights)  # noqa: E731
    return jax.tree.map(lambda x: x if keeps(x) else jnp.zeros_like(x), state, is_leaf=keeps)


def update(
    s: Schedule, n: Numbers, step: ArrayLike, grads: Params, state: OptState, params: Params
) -> tuple[Params, OptState]:
    """(updates, new optimiser state): the updates are to be added to the parameters.

    n["key"] is a random key of this update, which only noise and a decay that jiggles need.
    """
    direction, state = make_optimizer(s, n).update(grads, state, params)
    if s.noise == "update":
        direction = add_noise(direction, n["noise_scale"], n["key"])
    lr = learning_rate(s, n, step)
    return jax.tree.map(lambda d: -lr * d, direction), state
