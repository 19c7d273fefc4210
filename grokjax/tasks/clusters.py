"""Clusters: vectors around random centres, each with a class (source 003: the final layer of a language model)."""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp
from pydantic import model_validator

from grokjax.keys import Purpose, key_for
from grokjax.settings import SettingError, shape
from grokjax.tasks.numbers import NumbersSettings, numbers_sample, numbers_size
from grokjax.tasks.sample import Sample
from grokjax.tasks.size import Size


class Clusters(NumbersSettings):
    """Vectors around random centres on the unit sphere; the class is that of the centre."""

    kind: Literal["clusters"] = shape("clusters")
    n_inputs: int = shape(10, ge=1)
    """Numbers in a vector: the width of the residual stream."""
    n_classes: int = shape(50, ge=2)
    """Number of classes: the size of the vocabulary."""
    n_clusters: int = shape(50, ge=1)
    """Number of centres; number k has the class k modulo n_classes."""
    noise: float = shape(0.5, ge=0)
    """Length of what is added to a centre: normal numbers of standard deviation noise/sqrt(n_inputs)."""

    @model_validator(mode="after")
    def _every_class_has_a_centre(self) -> Clusters:
        if self.n_clusters < self.n_classes:
            raise SettingError(
                "n_clusters",
                f"{self.n_clusters} leaves classes of n_classes = {self.n_classes} without a cluster; "
                f"use at least {self.n_classes}",
            )
        return self


def clusters_size(s: Clusters) -> Size:
    """Size of the vectors and the logits."""
    widest = "n_inputs" if s.n_inputs > s.n_classes else "n_classes"
    return numbers_size(s, s.n_inputs + s.n_classes, widest)


def clusters_sample(s: Clusters) -> Sample:
    """The sample, or the stream, of these settings."""

    def draw_rows(key: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
        which_key, noise_key = jax.random.split(key)
        normal_KD = jax.random.normal(
            key_for(Purpose.TASK, s.test_seed), (s.n_clusters, s.n_inputs)
        )
        centre_KD = normal_KD / jnp.sqrt((normal_KD**2).sum(1, keepdims=True))
        which_N = jax.random.randint(which_key, (n,), 0, s.n_clusters)
        spread = s.noise / math.sqrt(s.n_inputs)
        x_ND = centre_KD[which_N] + spread * jax.random.normal(noise_key, (n, s.n_inputs))
        return x_ND, (which_N % s.n_classes).astype(jnp.int32)[:, None]

    return numbers_sample(s, draw_rows, s.n_inputs, s.n_classes)
