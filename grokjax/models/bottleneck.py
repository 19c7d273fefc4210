"""Bottleneck: many numbers through few hidden dimensions and back, for one run (Elhage et al. 2022)."""

from __future__ import annotations

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from grokjax.models.counting import Forward
from grokjax.models.init import SCHEMES
from grokjax.models.linear import product, widen
from grokjax.models.nonzeros import Nonzeros, gathered_product
from grokjax.settings import SettingError, Settings, hyper, shape
from grokjax.tasks.sample import Sample

OUTPUTS = {"relu": nn.relu, "absolute": jnp.abs, "linear": lambda x: x}


class BottleneckSettings(Settings):
    """x' = output(W^T hidden(W x) + b) with few hidden dimensions; untied: a second matrix in place of W^T."""

    kind: Literal["bottleneck"] = shape("bottleneck")
    n_hidden: int = shape(2, ge=1)
    """Hidden dimensions."""
    tied: bool = shape(True)
    """Use the same matrix to read and to write."""
    activation: Literal["none", "relu"] = shape("none")
    """Non-linearity of the hidden dimensions."""
    output: Literal["relu", "absolute", "linear"] = shape("relu")
    """Non-linearity of the output (relu: Elhage et al.; absolute: a published script on source 003)."""
    bias: bool = shape(True)
    """Bias of the output."""
    init: Literal[tuple(SCHEMES)] = shape("xavier")  # type: ignore[valid-type]
    """Initialisation scheme, named after what it reproduces."""
    init_scale: float = hyper(1.0, gt=0)
    """Factor on every weight matrix at initialisation."""
    readout_scale: float = hyper(1.0, gt=0)
    """Factor on the outputs."""


class BottleneckModule(nn.Module):
    """Parameters W_E (inputs, hidden), W_U (hidden, outputs) unless tied, and b_U. The plan is the inputs N D."""

    s: BottleneckSettings
    n_inputs: int
    n_outputs: int

    def setup(self) -> None:
        draw, m = SCHEMES[self.s.init], self.s.n_hidden
        sizes = (self.n_inputs, m), (m, self.n_outputs)
        self.W_E = self.param("W_E", draw("mlp_in", *sizes[0]), sizes[0])
        if not self.s.tied:
            self.W_U = self.param("W_U", draw("unembed", *sizes[1]), sizes[1])
        if self.s.bias:
            self.b_U = self.param("b_U", draw("bias", *sizes[1]), (self.n_outputs,))

    def no_tables(self, inputs_ND: jax.Array) -> tuple[()]:
        """No tables, because rows of numbers share nothing."""
        return ()

    def read_features(
        self, inputs_ND: jax.Array, tables: tuple[()], index_N: jax.Array | None
    ) -> jax.Array:
        """Hidden activations N 1 M of the rows."""
        x_ND = inputs_ND if index_N is None else inputs_ND[index_N]
        return self.activate(product(x_ND, at_least_two(self.W_E)))[:, None, : self.s.n_hidden]

    def read_rows(
        self, inputs: jax.Array | Nonzeros, tables: tuple[()], index_N: jax.Array | None
    ) -> jax.Array:
        """Outputs N 1 C of the rows."""
        x = inputs if index_N is None else jax.tree.map(lambda each: each[index_N], inputs)
        W_DM = at_least_two(self.W_E)
        W_CM = W_DM if self.s.tied else at_least_two(self.W_U.T)
        read = gathered_product if isinstance(x, Nonzeros) else product
        h_NM = self.activate(read(x, W_DM))
        pre_NC = widen(h_NM, W_CM, self.b_U if self.s.bias else jnp.zeros(self.n_outputs))
        return OUTPUTS[self.s.output](pre_NC)[:, None]

    def activate(self, h_NM: jax.Array) -> jax.Array:
        return nn.relu(h_NM) if self.s.activation == "relu" else h_NM

    def dense(self, inputs_ND: jax.Array, answer_positions: tuple[int, ...]) -> jax.Array:
        """Outputs N 1 C by the plain forward pass."""
        W_MC = self.W_E.T if self.s.tied else self.W_U
        pre_NC = self.activate(inputs_ND @ self.W_E) @ W_MC + (self.b_U if self.s.bias else 0)
        return OUTPUTS[self.s.output](pre_NC)[:, None]


def at_least_two(W_DM: jax.Array) -> jax.Array:
    """A matrix of a single column gets a second one of zeros: products with a vector must be avoided
    (linear.row_sums)."""
    return W_DM if W_DM.shape[1] > 1 else jnp.concatenate([W_DM, jnp.zeros_like(W_DM)], 1)


def bottleneck_module(s: BottleneckSettings, sample: Sample) -> BottleneckModule:
    """The module for the sample's inputs and outputs. Raises SettingError if one matrix cannot serve for both."""
    if s.tied and sample.n_inputs != sample.n_classes:
        raise SettingError(
            "tied",
            f"true uses one matrix for {sample.n_inputs} inputs and {sample.n_classes} outputs; use false",
        )
    return BottleneckModule(s, sample.n_inputs, sample.n_classes)


def count_bottleneck(s: BottleneckSettings, sample: Sample, n: int) -> Forward:
    """Costs: every row is read and written."""
    flops = 2.0 * n * s.n_hidden * (sample.n_inputs + sample.n_classes)
    per_row = sample.n_inputs + 2 * s.n_hidden + 3 * sample.n_classes
    # Half of the outputs, because XLA fuses `widen` with the loss: 512 rows of 1,000 outputs are faster in one part.
    return Forward([n], flops, 0, per_row, max(sample.n_inputs, sample.n_classes) // 2)
