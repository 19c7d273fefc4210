"""Workloads F and G: streams of new rows, beside the same model on a finite sample and beside a PyTorch loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import jax_peers
from benchmarks.timing import Peer, measure, rows_of
from benchmarks.torch_models import Block
from benchmarks.torch_peers import optimizer_of
from benchmarks.workloads import STREAMS, Workload
from grokjax.experiment.grid import Group
from grokjax.tasks.addition import EQUALS, PLUS, Addition
from grokjax.tasks.repetition import BEGIN, Repetition

SAMPLE = 64
"""Batches of the finite sample that a stream is compared with."""

Rows = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Tokens N T, positions N A and targets N A."""


def digits_of(numbers_N: torch.Tensor, n: int) -> torch.Tensor:
    """Decimal digits (N, n), the first one first."""
    return numbers_N[:, None] // 10 ** torch.arange(n - 1, -1, -1) % 10


def additions(s: Addition, batch: int) -> Callable[[], Rows]:
    """New rows at every call, as one would write it in PyTorch."""
    symbol = lambda token: torch.full((batch, 1), token)  # noqa: E731
    at_NA = torch.arange(2 * s.digits + 1, s.length - 1).expand(batch, -1)

    def draw() -> Rows:
        x_N, y_N = torch.randint(10**s.digits, (2, batch))
        x, y, z = (digits_of(n, k) for n, k in ((x_N, 5), (y_N, 5), (x_N + y_N, 6)))
        return torch.cat([x, symbol(PLUS), y, symbol(EQUALS), z], 1), at_NA, z

    return draw


def repetitions(s: Repetition, batch: int) -> Callable[[], Rows]:
    """New rows at every call; only the later copies are read."""
    begin, place = torch.full((batch, 1), BEGIN), torch.arange(s.interval)

    def draw() -> Rows:
        around = torch.randint(1, s.symbols + 1, (batch, s.intervals, s.interval))
        copy = torch.randint(1, s.symbols + 1, (batch, s.subsequence))
        start = torch.randint(s.interval - s.subsequence + 1, (batch, s.intervals))
        within = place - start[..., None]
        planted = copy[:, None].expand(-1, s.intervals, -1)
        planted = planted.gather(2, within.clamp(0, s.subsequence - 1))
        rows = torch.where((within >= 0) & (within < s.subsequence), planted, around)
        first = 1 + torch.arange(s.intervals) * s.interval + start
        at = (first[:, 1:, None] + torch.arange(s.subsequence - 1)).reshape(batch, -1)
        return torch.cat([begin, rows.reshape(batch, -1)], 1), at, copy[:, 1:].repeat(1, 2)

    return draw


DRAW = {"addition": additions, "repeated_subsequence": repetitions}


class Network(nn.Module):
    """Embedding, blocks over all positions, logits of the positions that are read."""

    def __init__(self, s: Any, task: Any):
        super().__init__()
        self.embed = nn.Embedding(task.n_vocab, s.d_model)
        self.positions = nn.Parameter(torch.randn(task.n_positions, s.d_model))
        self.blocks = nn.ModuleList(Block(s) for _ in range(s.n_layers))
        self.unembed = nn.Linear(s.d_model, task.n_classes, bias=False)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=s.d_model**-0.5)

    def forward(self, tokens_NT: torch.Tensor, at_NA: torch.Tensor) -> torch.Tensor:
        x_NTD = self.embed(tokens_NT) + self.positions
        for block in self.blocks:
            x_NTD = block(x_NTD)
        at = at_NA[..., None].expand(-1, -1, x_NTD.shape[-1])
        return self.unembed(x_NTD.gather(1, at))


def in_torch(workload: Workload) -> Callable[[], int]:
    """A loop with new rows at every step, a fused optimiser, and nothing read back inside."""
    group: Group = workload.group(1)
    s = group.first.settings
    torch.manual_seed(0)
    assert workload.batch is not None
    network, draw = Network(s.model, group.first.table), DRAW[s.task.kind](s.task, workload.batch)
    optimizer = optimizer_of(group, network, fused=True)

    def loop() -> int:
        for _ in range(workload.steps):
            tokens, at, targets = draw()
            optimizer.zero_grad(set_to_none=True)
            logits = network(tokens, at)
            F.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
            optimizer.step()
        return workload.steps

    return loop


def sampled(workload: Workload) -> Workload:
    """The same model on a finite sample, in batches of the same size."""
    assert workload.batch is not None
    task = workload.settings["task"] | {"n_train": SAMPLE * workload.batch}
    return dataclasses.replace(
        workload, settings=workload.settings | {"task": task}, steps=SAMPLE, stream=False
    )


def side_by_side(name: str, repeats: int) -> dict[str, Any]:
    """Run-steps per second of grokjax on the stream and on a sample, and of the PyTorch loop."""
    w, devices = STREAMS[name], jax.device_count()
    peers = [
        Peer("grokjax, stream", lambda: jax_peers.engine(w, devices)),
        Peer("grokjax, finite sample", lambda: jax_peers.engine(sampled(w), devices)),
        Peer("PyTorch loop, well written, stream", lambda: in_torch(w)),
    ]
    measure(peers, repeats)
    return {"title": w.title, "rows": rows_of(peers)}
