"""Neurons of the last hidden layer: their activations, and the linear maps into and out of them."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from grokjax.models import Model, Params


def activations(model: Model, params: Params, tokens_NT: jax.Array) -> jax.Array:
    """Activations N A F of the neurons at the answer positions, by the plain forward pass (requires 'neurons')."""
    at = model.token_table.answer_positions
    read = nn.apply(lambda module, tokens: module.neurons(tokens, at), model.module)
    return read({"params": params}, tokens_NT)  # type: ignore[return-value]


def neuron_logits(model: Model, params: Params) -> jax.Array:
    """The map F C from neurons to logits (requires 'hidden_layer'). Norms and biases between them are left out."""
    assert model.kind.hidden is not None, "asked for by 'hidden_layer'"
    section, _, name = model.kind.hidden(model.settings)
    output = model.output_matrix(params)
    output_DC = output.T if model.output_name == "W_E" else output
    if (section, name) == (None, model.output_name):
        return output_DC
    W_out_FD = (params if section is None else params[section])[name]
    return jnp.matmul(W_out_FD, output_DC, precision="highest")


def token_maps(model: Model, params: Params) -> jax.Array | None:
    """Linear maps M V F from tokens to neurons, one for each path between them; None if there are none."""
    maps = model.kind.token_maps
    return None if maps is None else maps(model.settings, model.token_table, params)
