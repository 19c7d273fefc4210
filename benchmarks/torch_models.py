"""The benchmark's models in PyTorch: what grokjax trains, as one would write it there."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from grokjax.models.mlp import MLPSettings
from grokjax.models.transformer_settings import TransformerSettings
from grokjax.tasks.table import Table


class Block(nn.Module):
    """Fused QKV and scaled_dot_product_attention; LayerNorm none or post."""

    def __init__(self, s: TransformerSettings):
        super().__init__()
        assert s.ln in ("none", "post"), "the placements that the workloads have"
        d = s.d_model
        self.heads, self.causal = s.n_heads, s.causal
        self.qkv = nn.Linear(d, 3 * d, bias=s.attn_bias)
        self.out = nn.Linear(d, d, bias=s.attn_bias)
        self.mlp = None
        if s.d_mlp is not None:
            self.mlp = nn.Sequential(nn.Linear(d, s.d_mlp), nn.ReLU(), nn.Linear(s.d_mlp, d))
        norm = nn.LayerNorm if s.ln == "post" else lambda width: nn.Identity()
        self.norm1, self.norm2 = norm(d), norm(d)

    def forward(self, x_NTD: torch.Tensor) -> torch.Tensor:
        n, t, d = x_NTD.shape
        q, k, v = self.qkv(x_NTD).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        z = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x_NTD = self.norm1(x_NTD + self.out(z.transpose(1, 2).reshape(n, t, d)))
        return x_NTD if self.mlp is None else self.norm2(x_NTD + self.mlp(x_NTD))


class UsualBlock(nn.Module):
    """nn.MultiheadAttention asked for its weights, as public code has it."""

    def __init__(self, s: TransformerSettings):
        super().__init__()
        d = s.d_model
        self.causal = s.causal
        self.attention = nn.MultiheadAttention(d, s.n_heads, bias=s.attn_bias, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(d, s.d_mlp), nn.ReLU(), nn.Linear(s.d_mlp, d))
        norm = nn.LayerNorm if s.ln == "post" else lambda width: nn.Identity()
        self.norm1, self.norm2 = norm(d), norm(d)

    def forward(self, x_NTD: torch.Tensor) -> torch.Tensor:
        t = x_NTD.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(t) if self.causal else None
        mixed, _ = self.attention(x_NTD, x_NTD, x_NTD, need_weights=True, attn_mask=mask)
        x_NTD = self.norm1(x_NTD + mixed)
        return self.norm2(x_NTD + self.mlp(x_NTD))


class Transformer(nn.Module):
    """Embedding, blocks over all positions, logits of the last one."""

    def __init__(self, s: TransformerSettings, table: Table, block: type[nn.Module] = Block):
        super().__init__()
        self.embed = nn.Embedding(table.n_vocab, s.d_model)
        self.positions = nn.Parameter(torch.randn(table.tokens_NT.shape[1], s.d_model))
        self.blocks = nn.ModuleList(block(s) for _ in range(s.n_layers))
        self.unembed = nn.Linear(s.d_model, table.n_classes, bias=False)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=s.d_model**-0.5)

    def forward(self, tokens_NT: torch.Tensor) -> torch.Tensor:
        x_NTD = self.embed(tokens_NT) + self.positions
        for block in self.blocks:
            x_NTD = block(x_NTD)
        return self.unembed(x_NTD[:, -1])


class MLP(nn.Module):
    """Embedding, concatenation, one hidden layer, logits."""

    def __init__(self, s: MLPSettings, table: Table, block: type[nn.Module] | None = None):
        super().__init__()
        (width,) = s.hidden
        self.embed = nn.Embedding(table.n_vocab, s.d_model)
        self.hidden = nn.Linear(table.tokens_NT.shape[1] * s.d_model, width)
        self.unembed = nn.Linear(width, table.n_classes)

    def forward(self, tokens_NT: torch.Tensor) -> torch.Tensor:
        return self.unembed(F.relu(self.hidden(self.embed(tokens_NT).flatten(1))))


MODELS = {"transformer": Transformer, "mlp": MLP}
