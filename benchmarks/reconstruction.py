"""Workload H: a bottleneck that reconstructs sparse rows, beside PyTorch loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import torch

from benchmarks import jax_peers
from benchmarks.timing import Peer, measure, rows_of
from benchmarks.torch_peers import optimizer_of
from benchmarks.workloads import BOTTLENECK, Workload
from grokjax.keys import Purpose, key_for


def inputs_of(workload: Workload) -> torch.Tensor:
    """The rows that the first run trains on."""
    table = workload.group(1).first.table
    rows, _ = table.draw_rows(key_for(Purpose.DRAWN_ROWS, 0), table.n_train)
    return torch.from_numpy(np.array(rows))


def weights_of(workload: Workload, runs: int) -> tuple[torch.nn.Parameter, torch.nn.Parameter]:
    """W (runs, hidden, features) and b (runs, features)."""
    settings = workload.settings
    n, m = workload.group(1).first.table.n_inputs, settings["model"]["n_hidden"]
    torch.manual_seed(0)
    W = torch.randn(runs, m, n) * (2 / (n + m)) ** 0.5
    return torch.nn.Parameter(W), torch.nn.Parameter(torch.zeros(runs, n))


def loss_of(W_MC: torch.Tensor, b_C: torch.Tensor, x_NC: torch.Tensor) -> torch.Tensor:
    """Mean over rows of the summed squared error of relu(x W^T W + b)."""
    out_NC = torch.relu(torch.addmm(b_C, x_NC @ W_MC.T, W_MC))
    return (out_NC - x_NC).square().sum(1).mean()


def in_torch(workload: Workload, compiled: bool = False) -> Callable[[], int]:
    """A loop with a fused optimiser, and nothing read back inside."""
    group, x_NC = workload.group(1), inputs_of(workload)
    W, b = (torch.nn.Parameter(p.detach()[0].clone()) for p in weights_of(workload, 1))
    optimizer = optimizer_of(group, torch.nn.ParameterList([W, b]), fused=True)
    loss = torch.compile(loss_of) if compiled else loss_of

    def loop() -> int:
        for _ in range(workload.steps):
            optimizer.zero_grad(set_to_none=True)
            loss(W, b, x_NC).backward()
            optimizer.step()
        return workload.steps

    return loop


def stacked(workload: Workload, runs: int) -> Callable[[], int]:
    """torch.func: the gradient of one run vmapped over runs, one AdamW over the stacked tensors."""
    group, x_NC = workload.group(1), inputs_of(workload)
    W, b = weights_of(workload, runs)
    optimizer = optimizer_of(group, torch.nn.ParameterList([W, b]), fused=True)
    gradient = torch.func.vmap(torch.func.grad(loss_of, argnums=(0, 1)), in_dims=(0, 0, None))

    def loop() -> int:
        for _ in range(workload.steps):
            W.grad, b.grad = gradient(W.detach(), b.detach(), x_NC)
            optimizer.step()
        return workload.steps * runs

    return loop


def side_by_side(repeats: int) -> dict[str, Any]:
    """Run-steps per second of grokjax and of the PyTorch loops."""
    w, devices = BOTTLENECK, jax.device_count()
    peers = [
        Peer("grokjax", lambda: jax_peers.engine(w, devices)),
        Peer("PyTorch loop, well written", lambda: in_torch(w)),
        Peer("PyTorch loop, torch.compile", lambda: in_torch(w, compiled=True)),
        Peer("torch.func, 4 runs", lambda: stacked(w, 4)),
    ]
    measure(peers, repeats)
    return {"title": w.title, "rows": rows_of(peers)}
