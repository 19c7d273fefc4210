"""Linear maps from tokens to the neurons of a transformer of one layer, one for each path."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from grokjax.models.transformer_settings import TransformerSettings
from grokjax.tasks.table import Table


def token_maps_of_transformer(
    s: TransformerSettings, table: Table, params: dict[str, Any]
) -> jax.Array | None:
    """W_E W_V W_O W_in of each head, M V F; also W_E W_in if an operand is at the position of the answer.

    An operand at another position reaches the neurons through the values and the output of attention only. Norms and
    biases on the way are left out. None with several layers, whose paths are many, or without an MLP.
    """
    if s.n_layers > 1 or s.d_mlp is None:
        return None
    inner, W_E_VD = params["blocks_0"], params["W_E"]
    W_V_HDK = inner["W_V"].reshape(s.d_model, s.n_heads, -1).swapaxes(0, 1)
    W_O_HKD = inner["W_O"].reshape(s.n_heads, -1, s.d_model)
    read_MVD = _product(_product(W_E_VD, W_V_HDK), W_O_HKD)
    if any(len(np.unique(table.tokens_NT[:, at])) > 1 for at in table.answer_positions):
        read_MVD = jnp.concatenate([read_MVD, W_E_VD[None]])
    return _product(read_MVD, inner["W_in"])


def _product(x: jax.Array, W: jax.Array) -> jax.Array:
    return jnp.matmul(x, W, precision="highest")
