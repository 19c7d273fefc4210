"""Single-run PyTorch loops, and many runs stacked with torch.func."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.torch_models import MODELS, Block, UsualBlock
from benchmarks.workloads import Workload, training_rows
from grokjax.experiment.grid import Group

Loop = Callable[[], int]
"""Trains for a while; returns the run-steps done."""


def data_of(group: Group) -> tuple[torch.Tensor, torch.Tensor]:

    table, rows = group.first.table, training_rows(group)
    tokens = torch.from_numpy(np.asarray(table.tokens_NT[rows], np.int64))
    return tokens, torch.from_numpy(np.asarray(table.targets_NA[rows, 0], np.int64))


def model_of(group: Group, block: type[nn.Module]) -> nn.Module:

    torch.manual_seed(0)
    s = group.first.settings
    return MODELS[s.model.kind](s.model, group.first.table, block)


def optimizer_of(group: Group, model: nn.Module, **how: bool) -> torch.optim.Optimizer:
    o = group.first.settings.optimizer
    return torch.optim.AdamW(
        model.parameters(),
        lr=o.learning_rate,
        betas=(o.beta1, o.beta2),
        eps=o.eps,
        weight_decay=o.weight_decay,
        **how,
    )


def batches_of(n: int, batch: int | None, steps: int) -> list[torch.Tensor | slice]:
    """Row numbers of each step: everything, or a fresh order for every epoch."""
    if batch is None:
        return [slice(None)] * steps
    found: list[torch.Tensor | slice] = []
    while len(found) < steps:
        found += list(torch.randperm(n).split(batch))
    return found[:steps]


def well_written(workload: Workload, compiled: bool = False) -> Loop:
    """Data resident, fused optimiser, nothing read back inside the loop."""
    group = workload.group(1)
    tokens, targets = data_of(group)
    model = model_of(group, Block)
    optimizer = optimizer_of(group, model, fused=True)
    forward = torch.compile(model) if compiled else model

    def loop() -> int:
        for rows in batches_of(len(tokens), workload.batch, workload.steps):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(forward(tokens[rows]), targets[rows]).backward()
            optimizer.step()
        return workload.steps

    return loop


def as_usual(workload: Workload) -> Loop:
    """A DataLoader, attention weights asked for, loss and accuracy read back at every batch."""
    group = workload.group(1)
    tokens, targets = data_of(group)
    model = model_of(group, UsualBlock)
    optimizer, criterion = optimizer_of(group, model), nn.CrossEntropyLoss()
    size = workload.batch or len(tokens)
    loader = DataLoader(TensorDataset(tokens, targets), batch_size=size, shuffle=True)

    def epoch() -> int:
        model.train()
        loss_sum, right = 0.0, 0
        for inputs, labels in loader:
            optimizer.zero_grad()
            logits = model(inputs)
            loss = criterion(logits, labels)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(labels)
            right += (logits.argmax(-1) == labels).sum().item()
        return len(loader)

    def loop() -> int:
        done = 0
        while done < workload.steps:
            done += epoch()
        return done

    return loop


def stacked(workload: Workload, runs: int) -> Loop:
    """torch.func: the modules' states stacked, the gradient vmapped, one AdamW over the stacked tensors."""
    group = workload.group(1)
    tokens, targets = data_of(group)
    models = [model_of(group, Block) for _ in range(runs)]
    params, buffers = torch.func.stack_module_state(models)  # type: ignore[arg-type]
    skeleton = copy.deepcopy(models[0]).to("meta")
    weights = [p.detach().requires_grad_() for p in params.values()]
    names = list(params)
    optimizer = optimizer_of(group, nn.ParameterList(weights), fused=True)

    def loss(params, buffers, tokens, targets):
        logits = torch.func.functional_call(skeleton, (params, buffers), (tokens,))
        return F.cross_entropy(logits, targets)

    many = torch.func.vmap(torch.func.grad(loss), in_dims=(0, 0, None, None))

    def loop() -> int:
        for rows in batches_of(len(tokens), workload.batch, workload.steps):
            now = {name: w.detach() for name, w in zip(names, weights, strict=True)}
            grads = many(now, buffers, tokens[rows], targets[rows])
            for name, w in zip(names, weights, strict=True):
                w.grad = grads[name]
            optimizer.step()
        return workload.steps * runs

    return loop
