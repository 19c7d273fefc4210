"""Tasks. A new task needs one file beside this one, and one line in `TASKS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from grokjax.settings import SettingError, Settings, kind_of
from grokjax.tasks.addition import Addition, addition_sample
from grokjax.tasks.characters import Characters, characters_size, characters_table
from grokjax.tasks.clusters import Clusters, clusters_sample, clusters_size
from grokjax.tasks.digits import Digits, digits_sample, digits_size
from grokjax.tasks.modular import Modular, modular_size, modular_table
from grokjax.tasks.parity import SparseParity, sparse_parity_sample, sparse_parity_size
from grokjax.tasks.permutation import Permutation, permutation_table
from grokjax.tasks.repetition import Repetition, repetition_sample
from grokjax.tasks.rot13 import Rot13, Rot13Strings, rot13_sample, rot13_table
from grokjax.tasks.sample import Sample, Sequences
from grokjax.tasks.sequences import sequence_size
from grokjax.tasks.size import MAX_BYTES, SizeOf, too_large
from grokjax.tasks.skip_trigram import SkipTrigram, skip_trigram_sample
from grokjax.tasks.sparse_features import (
    SparseFeatures,
    sparse_features_sample,
    sparse_features_size,
)
from grokjax.tasks.table import Table
from grokjax.tasks.written import Written, written_table

TaskData = Table | Sample
"""The data of a task. What both classes have, has the same name in both."""


class TaskKind(NamedTuple):
    """One kind of task: its settings, and the function that makes its Table or Sample."""

    settings: type[Settings]
    build: Callable[[Any], TaskData]
    size: SizeOf | None = None
    """How large it is, from its settings; None: it is always small enough."""


TASKS: dict[str, TaskKind] = {
    "modular": TaskKind(Modular, modular_table, modular_size),
    "permutation": TaskKind(Permutation, permutation_table),
    "characters": TaskKind(Characters, characters_table, characters_size),
    "rot13": TaskKind(Rot13, rot13_table),
    "written": TaskKind(Written, written_table),
    "sparse_parity": TaskKind(SparseParity, sparse_parity_sample, sparse_parity_size),
    "addition": TaskKind(Addition, addition_sample, sequence_size),
    "repeated_subsequence": TaskKind(Repetition, repetition_sample, sequence_size),
    "skip_trigram": TaskKind(SkipTrigram, skip_trigram_sample, sequence_size),
    "rot13_strings": TaskKind(Rot13Strings, rot13_sample, sequence_size),
    "sparse_features": TaskKind(SparseFeatures, sparse_features_sample, sparse_features_size),
    "clusters": TaskKind(Clusters, clusters_sample, clusters_size),
    "digits": TaskKind(Digits, digits_sample, digits_size),
}


def make_table(settings: Settings) -> TaskData:
    """The task that `settings` describe: all its rows as a Table, or a Sample, whose rows each run draws."""
    return TASKS[kind_of(type(settings))].build(settings)


def unfit(settings: Settings, memory: Callable[[], int] | None = None) -> SettingError | None:
    """An error that says why a task is too large to train, or None. No rows are created.

    `memory` returns the bytes that a device has for the task.
    """
    size_of = TASKS[kind_of(type(settings))].size
    return too_large(settings, size_of, memory or (lambda: MAX_BYTES)) if size_of else None


__all__ = ["TASKS", "Sample", "Sequences", "Table", "TaskData", "TaskKind", "make_table", "unfit"]
