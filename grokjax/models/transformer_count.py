"""The costs of a transformer's forward pass, counted layer by layer from the distinct rows of its plan."""

from __future__ import annotations

import numpy as np

from grokjax.models import sharing_plan
from grokjax.models.counting import Forward
from grokjax.models.transformer_settings import TransformerSettings
from grokjax.tasks import Sample, Table, TaskData


def count_transformer(s: TransformerSettings, table: TaskData, n: int) -> Forward:
    """Costs: distinct rows go through projections, attention and MLP, and n rows through the unembedding."""
    return _of_plan(s, table, n) if isinstance(table, Table) else _of_sequences(s, table, n)


def _of_sequences(s: TransformerSettings, sample: Sample, n: int) -> Forward:
    """All positions of all rows; of the last layer the answers, of the first keys and values of distinct tokens."""
    length, n_answers, d, wide = (
        sample.n_positions,
        len(sample.answer_positions),
        s.d_model,
        s.d_attention,
    )
    shares = sample.n_vocab < n
    flops, kept, rows = 0.0, 0, [n * length]
    for depth in range(s.n_layers):
        read = n_answers if depth == s.n_layers - 1 else length
        made = sample.n_vocab * length if shares and depth == 0 else n * length
        flops += 4.0 * made * d * wide + n * read * (4 * d * wide + 4 * d * s.width_of_mlp)
        flops += 4.0 * n * read * length * wide
        kept += length * (d + 2 * wide) + read * (
            3 * d + 2 * wide + 2 * s.width_of_mlp + 2 * s.n_heads * length
        )
        rows.append(n * read)
    logits = n_answers * sample.n_classes
    most = n_answers if s.n_layers == 1 else length
    widest = max(most * max(s.width_of_mlp, length), length * wide, logits)
    shared = sample.n_vocab * length * (d + 2 * wide) if shares else 0
    return Forward(rows, flops + 2.0 * n * logits * d, shared, kept + 3 * logits, widest)


def _of_plan(s: TransformerSettings, table: Table, n: int) -> Forward:
    plan = sharing_plan.make_plan(table, s.n_layers, s.causal, n)
    rows, d, wide = sharing_plan.n_rows_executed(plan, n), s.d_model, s.d_attention
    flops, kept, unshared = 0.0, np.zeros(2, int), [sum(b.size is None for b in p) for p in plan]
    for below, above, blocks in zip(rows, rows[1:], plan[1:], strict=False):
        attended = sum((b.size or n) * len(b.inputs) for b in blocks)
        flops += 2 * d * wide * (2 * below + 2 * above) + 4 * above * d * s.width_of_mlp
        flops += 6 * attended * wide
    for depth, blocks in enumerate(plan):
        for b in blocks:
            width = 4 * d * (depth < s.n_layers) + (6 * d + 2 * s.width_of_mlp) * (depth > 0)
            kept += np.array([b.size or 0, b.size is None]) * (width + 2 * d * len(b.inputs))
    logits = len(table.answer_positions) * table.n_classes
    widest = max(max(unshared) * (s.width_of_mlp or wide), logits)
    shared, per_row = kept.tolist()
    return Forward(rows, flops + 2 * n * logits * d, shared, per_row + 3 * logits, widest)
