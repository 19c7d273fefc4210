"""Rows: the table or sample of a task, and its split, built once for all runs that share them."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from grokjax.experiment.config import RunSettings
from grokjax.settings import MAX_INTEGER
from grokjax.splits import Split, bucket_of, make_split
from grokjax.tasks import make_table


@functools.lru_cache(maxsize=64)
def table_of(task: Any, drawn: int = 0) -> Any:
    """The Table or Sample of a task's settings, built once. `drawn`: as `drawn_rows` says."""
    if not drawn:
        return make_table(task)
    sample = table_of(task)
    if sample.stream:
        return dataclasses.replace(sample, n_train=drawn)
    return dataclasses.replace(sample, padding=drawn - sample.n_train)


@functools.lru_cache(maxsize=8)
def split_of(task: Any, split: Any, drawn: int = 0) -> Split:
    """The split of settings. A few are kept: each holds all rows of its table."""
    return make_split(split, table_of(task, drawn))


@functools.lru_cache(maxsize=65536)
def n_train_of(task: Any, split: Any, drawn: int) -> int:
    return split_of(task, split, drawn).n_train


def drawn_rows(settings: RunSettings) -> int:
    """Training rows that a program draws, where the task alone does not say it: those of a step of a stream, and with
    padding those of a task whose number of rows is traced. 0 for all other tasks."""
    table, batch = table_of(settings.task), settings.train.batch_size
    if table.stream:
        return batch if isinstance(batch, int) else 0
    return bucket_of(table.n_train, table.n_available or MAX_INTEGER) if table.traced_size else 0
