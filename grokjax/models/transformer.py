"""A decoder-style transformer for one run, with two forward passes on the same parameters.

`TransformerModule.dense` is the plain forward pass over all positions, which is the reference. `sharing.make_tables`
and `sharing.read_rows` compute equal activations only once. Both use the row-wise methods of `TransformerBlock`, so a
checkpoint does not depend on which of them was used.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from grokjax.models.init import SCHEMES, Part
from grokjax.models.linear import (
    affine,
    head_columns,
    product,
    row_means,
    rows_of,
    scale_rows,
    shift,
    shift_rows,
    stretch,
)
from grokjax.models.transformer_settings import (
    PLACEMENTS,
    UNIT_INPUT,
    Norms,
    TransformerSettings,
)
from grokjax.settings import SettingError
from grokjax.tasks import TaskData

Drop = Callable[[jax.Array, int], jax.Array]
"""Dropout of what a sublayer adds: 0 for attention, 1 for the MLP."""


def keep_all(x: jax.Array, sublayer: int) -> jax.Array:
    """No dropout."""
    return x


def dropout(rate: float, key: jax.Array) -> Drop:
    """Sets a share of the numbers to 0 and divides the others by the share that is kept."""

    def drop(x: jax.Array, sublayer: int) -> jax.Array:
        kept = jax.random.bernoulli(jax.random.fold_in(key, sublayer), 1 - rate, x.shape)
        return jnp.where(kept, x / (1 - rate), 0)

    return drop


class Norm(nn.Module):
    """LayerNorm with gain w and bias b, or RMSNorm with gain w, over the last axis."""

    width: int
    rms: bool
    eps: float

    def setup(self) -> None:
        self.w = self.param("w", nn.initializers.ones, (self.width,))
        if not self.rms:
            self.b = self.param("b", nn.initializers.zeros, (self.width,))

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.rms:
            return stretch(scale_rows(x, jax.lax.rsqrt(row_means(x**2) + self.eps)), self.w)
        centred = shift_rows(x, -row_means(x))
        scale = jax.lax.rsqrt(row_means(centred**2) + self.eps)
        return shift(stretch(scale_rows(centred, scale), self.w), self.b)


class TransformerBlock(nn.Module):
    """One layer. Every method works on single rows; the caller mixes positions."""

    s: TransformerSettings

    @property
    def norms(self) -> Norms:
        return PLACEMENTS[self.s.ln]

    def setup(self) -> None:
        s, d, d_attention = self.s, self.s.d_model, self.s.d_attention

        self.q, self.k, self.v = (self.matrix("qkv", x, d, d_attention, s.attn_bias) for x in "QKV")
        self.o = self.matrix("attn_out", "O", d_attention, d, s.attn_bias)
        if s.d_mlp is not None:
            self.mlp_in = self.matrix("mlp_in", "in", d, s.d_mlp, s.mlp_bias)
            self.mlp_out = self.matrix("mlp_out", "out", s.d_mlp, d, s.mlp_bias)
        norm = lambda: Norm(d, s.ln_kind == "rms", s.ln_eps)  # noqa: E731
        # A placement that does not use a norm does not create it: unused parameters would decay.
        if self.norms.qk or self.norms.v or self.norms.post:
            self.ln1 = norm()
        if self.norms.mlp or self.norms.post:
            self.ln2 = norm()
        if self.norms.after:
            self.ln1_out, self.ln2_out = norm(), norm()

    def matrix(
        self, part: Part, name: str, fan_in: int, fan_out: int, bias: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        draw = SCHEMES[self.s.init]
        W = self.param(f"W_{name}", draw(part, fan_in, fan_out), (fan_in, fan_out))
        zero = draw("bias", fan_in, fan_out)
        return W, self.param(f"b_{name}", zero, (fan_out,)) if bias else None

    @property
    def heads_HD(self) -> jax.Array:
        return head_columns(self.s.n_heads, self.s.d_attention)

    def queries(self, x: jax.Array) -> jax.Array:
        """Queries of all heads, divided by the square root of a head's width (the factor of the scores)."""
        q = affine(self.ln1(x) if self.norms.qk else x, self.q)
        return q / math.sqrt(self.s.head_width)

    def keys(self, x: jax.Array) -> jax.Array:
        return affine(self.ln1(x) if self.norms.qk else x, self.k)

    def values(self, x: jax.Array) -> jax.Array:
        return affine(self.ln1(x) if self.norms.v else x, self.v)

    def middle(self, resid_pre: jax.Array, z: jax.Array, drop: Drop = keep_all) -> jax.Array:
        """The residual stream ... D after attention, from the one before and the mixed values of all heads."""
        attn_out = affine(z, self.o)
        if self.norms.after:
            attn_out = self.ln1_out(attn_out)
        resid_mid = (2 * resid_pre if self.s.double_residual else resid_pre) + drop(attn_out, 0)
        return self.ln1(resid_mid) if self.norms.post else resid_mid

    def finish(self, resid_pre: jax.Array, z: jax.Array, drop: Drop = keep_all) -> jax.Array:
        """From the residual stream ... D and the mixed values of all heads to the layer's output ... D."""
        resid_mid = self.middle(resid_pre, z, drop)
        if self.s.d_mlp is None:
            return resid_mid
        mlp_out = affine(self.neurons(resid_mid), self.mlp_out)
        if self.norms.after:
            mlp_out = self.ln2_out(mlp_out)
        resid_post = resid_mid + drop(mlp_out, 1)
        return self.ln2(resid_post) if self.norms.post else resid_post

    def mlp_input(self, resid_mid: jax.Array) -> jax.Array:
        if self.norms.unit_mlp:
            squares = row_means(resid_mid**2) * self.s.d_model
            return scale_rows(resid_mid, jax.lax.rsqrt(squares + jnp.finfo(jnp.float32).tiny))
        return self.ln2(resid_mid) if self.norms.mlp else resid_mid

    def neurons(self, resid_mid: jax.Array) -> jax.Array:
        """Activations ... F of the MLP."""
        pre = affine(self.mlp_input(resid_mid), self.mlp_in)
        return nn.relu(pre) if self.s.activation == "relu" else nn.gelu(pre, approximate=False)


class TransformerModule(nn.Module):
    """Embedding, blocks, unembedding."""

    s: TransformerSettings
    n_vocab: int
    n_positions: int
    n_classes: int

    def setup(self) -> None:
        s, draw = self.s, SCHEMES[self.s.init]
        vocab, places = (self.n_vocab, s.d_model), (self.n_positions, s.d_model)
        self.W_E = self.param("W_E", draw("embed", *vocab), vocab)
        if s.positions == "learned":
            self.W_pos = self.param("W_pos", draw("positions", *places), places)
        self.blocks = [TransformerBlock(s) for _ in range(s.n_layers)]
        if s.final_ln:
            self.ln_final = Norm(s.d_model, s.ln_kind == "rms", max(s.ln_eps, 1e-5))
        if not s.tied:
            sizes = (s.d_model, self.n_classes)
            self.W_U = self.param("W_U", draw("unembed", *sizes), sizes)
        if s.unembed_bias:
            zero = draw("bias", s.d_model, self.n_classes)
            self.b_U = self.param("b_U", zero, (self.n_classes,))

    def embed_tokens(self, tokens: jax.Array, position: int) -> jax.Array:
        """Residual stream ... D of tokens (...) at one position."""
        if self.s.positions == "learned":
            return rows_of(self.W_E, tokens) + self.W_pos[position]
        return rows_of(self.W_E, tokens) + sinusoid(self.n_positions, self.s.d_model)[position]

    def embed_sequences(self, tokens_NT: jax.Array) -> jax.Array:
        """Residual stream N T D of whole rows."""
        if self.s.positions == "learned":
            return rows_of(self.W_E, tokens_NT) + self.W_pos
        return rows_of(self.W_E, tokens_NT) + sinusoid(self.n_positions, self.s.d_model)

    def normalise(self, x: jax.Array) -> jax.Array:
        """The last residual stream after the final norm, if there is one: the input of the unembedding."""
        return self.ln_final(x) if self.s.final_ln else x

    def unembed(self, x: jax.Array) -> jax.Array:
        x = self.normalise(x)
        logits = product(x, self.W_E[: self.n_classes].T if self.s.tied else self.W_U)
        return logits + self.b_U if self.s.unembed_bias else logits

    def residuals(self, tokens_NT: jax.Array) -> jax.Array:
        """The last residual stream N T D, by the dense forward pass."""
        return self.dense_layers(tokens_NT, self.s.n_layers)[0]

    def patterns(self, tokens_NT: jax.Array) -> list[jax.Array]:
        """Attention pattern N H T T of each layer, by the dense forward pass."""
        return self.dense_layers(tokens_NT, self.s.n_layers)[1]

    def neurons(self, tokens_NT: jax.Array, at: tuple[int, ...]) -> jax.Array:
        """Activations N A F of the last MLP at the positions `at`, by the dense forward pass."""
        x_NTD, _ = self.dense_layers(tokens_NT, self.s.n_layers - 1)
        block = self.blocks[-1]
        z_NTD = self.attend(block, self.pattern(block, x_NTD), x_NTD)
        return block.neurons(block.middle(x_NTD, z_NTD)[:, list(at)])

    def dense_layers(
        self, tokens_NT: jax.Array, n_layers: int, key: jax.Array | None = None
    ) -> tuple[jax.Array, list[jax.Array]]:
        """The residual stream N T D after the first layers, and the attention pattern N H T T of each of them. `key`:
        with dropout."""
        x_NTD, patterns = self.embed_sequences(tokens_NT), []
        for depth, block in enumerate(self.blocks[:n_layers]):
            drop = keep_all
            if key is not None:
                drop = dropout(self.s.dropout, jax.random.fold_in(key, depth))
            patterns.append(self.pattern(block, x_NTD))
            x_NTD = block.finish(x_NTD, self.attend(block, patterns[-1], x_NTD), drop)
        return x_NTD, patterns

    def attend(
        self, block: TransformerBlock, pattern_NHTT: jax.Array, x_NTD: jax.Array
    ) -> jax.Array:
        v_NTHK = self.by_head(block.values(x_NTD))
        return jnp.einsum("nhqk,nkhc->nqhc", pattern_NHTT, v_NTHK).reshape(*x_NTD.shape[:2], -1)

    def by_head(self, x_NTD: jax.Array) -> jax.Array:
        return x_NTD.reshape(*x_NTD.shape[:2], self.s.n_heads, -1)

    def pattern(self, block: TransformerBlock, x_NTD: jax.Array) -> jax.Array:
        """Attention pattern N H T T."""
        q_NTHK, k_NTHK = self.by_head(block.queries(x_NTD)), self.by_head(block.keys(x_NTD))
        scores = jnp.einsum("nqhc,nkhc->nhqk", q_NTHK, k_NTHK)
        if self.s.causal:
            n = scores.shape[-1]
            scores = jnp.where(jnp.tril(jnp.ones((n, n), bool)), scores, -jnp.inf)
        return jax.nn.softmax(scores, -1)

    def dense(
        self, tokens_NT: jax.Array, at: tuple[int, ...] | jax.Array, key: jax.Array | None = None
    ) -> jax.Array:
        """Logits N A C by the plain forward pass, at positions that are the same for all rows, or of each row N A.
        `key`: with dropout."""
        x_NTD, _ = self.dense_layers(tokens_NT, self.s.n_layers, key)
        if isinstance(at, tuple):
            return self.unembed(x_NTD[:, list(at)])
        return self.unembed(jnp.take_along_axis(x_NTD, at[..., None], 1))


def sinusoid(n_positions: int, d_model: int) -> np.ndarray:
    """Fixed positions (n_positions, d_model) of Vaswani et al. 2017, section 3.5: even columns sine, odd cosine."""
    rate = 10000.0 ** (-(np.arange(d_model) // 2 * 2) / d_model)
    angle = np.arange(n_positions)[:, None] * rate
    return np.where(np.arange(d_model) % 2 == 0, np.sin(angle), np.cos(angle)).astype(np.float32)


def transformer_module(s: TransformerSettings, table: TaskData) -> TransformerModule:
    """The module for the table's vocabulary, length and classes."""
    if s.tied and table.n_classes > table.n_vocab:
        raise SettingError(
            "tied",
            f"true needs at most as many classes ({table.n_classes}) as tokens ({table.n_vocab}); use false",
        )
    return TransformerModule(s, table.n_vocab, table.n_positions, table.n_classes)


def offers(s: TransformerSettings) -> frozenset[str]:
    """What the model offers to probes and measurements (models.MEANING)."""
    pre = {"pre_norm"} if s.ln in UNIT_INPUT else set()
    mlp = {"hidden_layer", "neurons"} if s.d_mlp else set()
    return frozenset({"features", "embedding", "attention", *mlp, *(pre if s.d_mlp else ())})


def hidden(s: TransformerSettings) -> tuple[str, str, str]:
    """Section of the parameters with the last MLP, and the names of the weights into and out of it."""
    return f"blocks_{s.n_layers - 1}", "W_in", "W_out"
