"""The costs of a transformer's forward pass, counted layer by layer from the distinct rows of its plan."""

from __future__ import annotations

import numpy as np

from grokjax.models import sharing
from grokjax.models.counting import Forward
from grokjax.models.transformer import TransformerSettings
from grokjax.tasks.table import Table


def count_transformer(s: TransformerSettings, table: Table, n: int) -> Forward:
    """Costs: the plan's rows go through projections, attention and MLP, and n rows through the unembedding."""
    plan = sharing.make_plan(table, s.n_layers, s.causal, n)
    rows, d = sharing.n_rows_executed(plan, n), s.d_model
    flops, kept, unshared = 0.0, np.zeros(2, int), [sum(b.size is None for b in p) for p in plan]
    for below, above, blocks in zip(rows, rows[1:], plan[1:], strict=False):
        attended = sum((b.size or n) * len(b.inputs) for b in blocks)
        flops += 2 * d**2 * (2 * below + 2 * above) + 4 * above * d * s.d_mlp + 6 * attended * d
    for depth, blocks in enumerate(plan):
        for b in blocks:
            width = 4 * d * (depth < s.n_layers) + (6 * d + 2 * s.d_mlp) * (depth > 0)
            kept += np.array([b.size or 0, b.size is None]) * (width + 2 * d * len(b.inputs))
    logits = len(table.answer_positions) * table.n_classes
    widest = max(max(unshared) * s.d_mlp, logits)
    shared, per_row = kept.tolist()
    return Forward(rows, flops + 2 * n * logits * d, shared, per_row + 3 * logits, widest)
