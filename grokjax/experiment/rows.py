"""Rows: the table or sample of a task, and its split, built once for all runs that share them."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from grokjax.experiment.config import RunSettings
from grokjax.splits import Split, make_split
from grokjax.tasks import make_table


@functools.lru_cache(maxsize=64)
def table_of(task: Any, batch: int = 0) -> Any:
    """The Table or Sample of a task's settings, built once. `batch`: rows that a step draws from a stream."""
    return dataclasses.replace(table_of(task), n_train=batch) if batch else make_table(task)


@functools.lru_cache(maxsize=8)
def split_of(task: Any, split: Any, batch: int = 0) -> Split:
    """The split of settings. A few are kept: each holds all rows of its table."""
    return make_split(split, table_of(task, batch))


@functools.lru_cache(maxsize=65536)
def n_train_of(task: Any, split: Any, batch: int) -> int:
    return split_of(task, split, batch).n_train


def stream_batch(settings: RunSettings) -> int:
    """Rows that a step draws from a stream; 0 if the task is not a stream."""
    batch = settings.train.batch_size
    return batch if table_of(settings.task).stream and isinstance(batch, int) else 0
