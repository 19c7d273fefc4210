"""PyTorch with a seed axis written by hand: every parameter has a leading axis of runs, every product is an einsum.

The style of ClevixLab/critical-norm-grokking (2026): runs of one setting, in lockstep, in a Python loop.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.torch_models import Block
from benchmarks.torch_peers import Loop, batches_of, data_of, model_of, optimizer_of
from benchmarks.workloads import Workload
from grokjax.models.mlp import MLPSettings
from grokjax.models.transformer_settings import TransformerSettings

Stacked = dict[str, torch.Tensor]
"""Parameters by their names in the module of one run, with the runs R in front."""


def linear(p: Stacked, name: str, x_RNI: torch.Tensor) -> torch.Tensor:
    y_RNO = torch.einsum("r...i,roi->r...o", x_RNI, p[f"{name}.weight"])
    bias = p.get(f"{name}.bias")
    return y_RNO if bias is None else y_RNO + _beside(bias, y_RNO)


def _beside(w_RO: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return w_RO.view(len(w_RO), *[1] * (x.ndim - 2), w_RO.shape[-1])


def norm(p: Stacked, name: str, x: torch.Tensor) -> torch.Tensor:
    if f"{name}.weight" not in p:
        return x
    plain = F.layer_norm(x, x.shape[-1:])
    return plain * _beside(p[f"{name}.weight"], x) + _beside(p[f"{name}.bias"], x)


def transformer(s: TransformerSettings, p: Stacked, tokens_NT: torch.Tensor) -> torch.Tensor:
    """Logits R N C of all runs."""
    x = p["embed.weight"][:, tokens_NT] + p["positions"][:, None]
    r, n, t, d = x.shape
    for i in range(s.n_layers):
        name = f"blocks.{i}"
        qkv = linear(p, f"{name}.qkv", x).view(r, n, t, 3, s.n_heads, d // s.n_heads)
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5)
        z = F.scaled_dot_product_attention(q, k, v, is_causal=s.causal)
        z = z.transpose(2, 3).reshape(r, n, t, d)
        x = norm(p, f"{name}.norm1", x + linear(p, f"{name}.out", z))
        inner = F.relu(linear(p, f"{name}.mlp.0", x))
        x = norm(p, f"{name}.norm2", x + linear(p, f"{name}.mlp.2", inner))
    return linear(p, "unembed", x[:, :, -1])


def mlp(s: MLPSettings, p: Stacked, tokens_NT: torch.Tensor) -> torch.Tensor:
    """Logits R N C of all runs."""
    x = p["embed.weight"][:, tokens_NT].flatten(2)
    return linear(p, "unembed", F.relu(linear(p, "hidden", x)))


FORWARD = {"transformer": transformer, "mlp": mlp}


def by_hand(workload: Workload, runs: int) -> Loop:
    """All runs a step at a time, on the same rows, with one fused AdamW over the stacked tensors."""
    group = workload.group(1)
    tokens, targets = data_of(group)
    models = [model_of(group, Block) for _ in range(runs)]
    params, _ = torch.func.stack_module_state(models)  # type: ignore[arg-type]
    weights = {name: p.detach().requires_grad_() for name, p in params.items()}
    optimizer = optimizer_of(group, nn.ParameterList(weights.values()), fused=True)
    weights = dict(zip(weights, optimizer.param_groups[0]["params"], strict=True))
    settings = group.first.settings.model
    forward = FORWARD[settings.kind]

    def loop() -> int:
        for rows in batches_of(len(tokens), workload.batch, workload.steps):
            optimizer.zero_grad(set_to_none=True)
            logits_RNC = forward(settings, weights, tokens[rows])
            wanted = targets[rows].expand(runs, -1)
            # The sum over runs of their mean losses: each run has its own gradient.
            loss = F.cross_entropy(logits_RNC.flatten(0, 1), wanted.flatten()) * runs
            loss.backward()
            optimizer.step()
        return workload.steps * runs

    return loop
