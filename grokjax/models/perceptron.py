"""Perceptron: hidden layers that read rows of numbers, for one run (Merrill, Tsilivis & Shukla 2023)."""

from __future__ import annotations

import functools
import itertools
from typing import Annotated, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from pydantic import Field

from grokjax.models.counting import Forward
from grokjax.models.init import SCHEMES, Part
from grokjax.models.linear import affine
from grokjax.settings import SettingError, Settings, hyper, shape
from grokjax.tasks.sample import Sample

ACTIVATIONS = {"relu": nn.relu, "gelu": functools.partial(nn.gelu, approximate=False)}


class PerceptronSettings(Settings):
    """Hidden layers on rows of numbers; without one, a linear layer. Two classes have one output f, whose logits are
    -f/2 and f/2."""

    kind: Literal["perceptron"] = shape("perceptron")
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = shape((1000,), strict=False, max_length=1000)
    """Widths of the hidden layers; [] for none."""
    activation: Literal["relu", "gelu"] = shape("relu")
    """Non-linearity of the hidden layers (gelu: the exact form with erf)."""
    bias: bool = shape(True)
    """Biases of the hidden layers."""
    output_bias: bool = shape(False)
    """Bias of the output."""
    init: Literal[tuple(SCHEMES)] = shape("torch")  # type: ignore[valid-type]
    """Initialisation scheme, named after what it reproduces."""
    init_scale: float = hyper(1.0, gt=0)
    """Factor on every weight matrix at initialisation."""
    readout_scale: float = hyper(1.0, gt=0)
    """Factor on the logits."""


class PerceptronModule(nn.Module):
    """Parameters W_0, b_0, ..., W_U, b_U. The plan is the inputs N D themselves, and there are no tables."""

    s: PerceptronSettings
    n_inputs: int
    n_outputs: int
    """1 for two classes."""

    def setup(self) -> None:
        s, n_outputs = self.s, self.n_outputs
        widths = [self.n_inputs, *s.hidden]
        self.layers = [
            self.matrix("mlp_in", str(i), sizes, s.bias)
            for i, sizes in enumerate(itertools.pairwise(widths))
        ]
        self.output = self.matrix("unembed", "U", (widths[-1], n_outputs), s.output_bias)

    def matrix(self, part: Part, name: str, sizes: tuple[int, int], bias: bool) -> tuple:
        draw = SCHEMES[self.s.init]
        W = self.param(f"W_{name}", draw(part, *sizes), sizes)
        return W, self.param(f"b_{name}", draw("bias", *sizes), sizes[1:]) if bias else None

    def no_tables(self, inputs_ND: jax.Array) -> tuple[()]:
        """No tables, because rows of numbers share nothing."""
        return ()

    def read_features(
        self, inputs_ND: jax.Array, tables: tuple[()], index_N: jax.Array | None
    ) -> jax.Array:
        """Last hidden activations N 1 F of the rows."""
        x_NF = inputs_ND if index_N is None else inputs_ND[index_N]
        for layer in self.layers:
            x_NF = ACTIVATIONS[self.s.activation](affine(x_NF, layer))
        return x_NF[:, None]

    def read_rows(
        self, inputs_ND: jax.Array, tables: tuple[()], index_N: jax.Array | None
    ) -> jax.Array:
        """Logits N 1 C of the rows."""
        return affine(self.read_features(inputs_ND, tables, index_N), self.logit_layer())

    def logit_layer(self) -> tuple[jax.Array, jax.Array | None]:
        """The output layer with one column for each class.

        Two classes have the columns -f/2 and f/2. With the column f alone, the product would be a matrix times a
        vector, which must be avoided (linear.row_sums).
        """
        W, b = self.output
        if self.n_outputs > 1:
            return W, b
        both = lambda x: jnp.concatenate([-x / 2, x / 2], -1)  # noqa: E731
        return both(W), None if b is None else both(b)

    def dense(self, inputs_ND: jax.Array, answer_positions: tuple[int, ...]) -> jax.Array:
        """Logits N 1 C by the plain forward pass."""
        x_NF = inputs_ND
        for W, b in self.layers:
            x_NF = ACTIVATIONS[self.s.activation](x_NF @ W + (0 if b is None else b))
        W, b = self.output
        f_NO = x_NF @ W + (0 if b is None else b)
        logits_NC = jnp.concatenate([-f_NO / 2, f_NO / 2], 1) if self.n_outputs == 1 else f_NO
        return logits_NC[:, None]


def perceptron_module(s: PerceptronSettings, sample: Sample) -> PerceptronModule:
    """The module for the sample's inputs and classes."""
    binary = sample.answers == "classes" and sample.n_classes == 2
    if sample.n_classes == 1:
        raise SettingError("kind", "perceptron needs two outputs or more, but the task has one")
    return PerceptronModule(s, sample.n_inputs, 1 if binary else sample.n_classes)


def no_plan(s: Settings, sample: Sample, n: int) -> None:
    """None, because each run draws its inputs, and they are its plan."""


def offers(s: PerceptronSettings) -> frozenset[str]:
    """What the model offers to probes and measurements (models.MEANING)."""
    if not s.hidden:
        return frozenset()
    return frozenset({"features", *({"hidden_layer"} if len(s.hidden) == 1 else set())})


def count_perceptron(s: PerceptronSettings, sample: Sample, n: int) -> Forward:
    """Costs: every row goes through every layer."""
    widths = [sample.n_inputs, *s.hidden, sample.n_classes]
    flops = sum(2.0 * n * a * b for a, b in itertools.pairwise(widths))
    return Forward([n], flops, 0, sum(widths) + sum(s.hidden), max(widths))
