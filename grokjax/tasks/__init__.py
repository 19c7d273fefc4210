"""What is learned. A new task is one file beside this one and one line in `TASKS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grokjax.settings import Settings, kind_of
from grokjax.tasks.modular import Modular, modular_table
from grokjax.tasks.parity import SparseParity, sparse_parity_sample
from grokjax.tasks.permutation import Permutation, permutation_table
from grokjax.tasks.sample import Sample
from grokjax.tasks.table import Table

TASKS: dict[str, tuple[type[Settings], Callable[[Any], Any]]] = {
    "modular": (Modular, modular_table),
    "permutation": (Permutation, permutation_table),
    "sparse_parity": (SparseParity, sparse_parity_sample),
}


def make_table(settings: Settings) -> Any:
    """The task that `settings` describe: all its rows as a Table, or a Sample, whose rows each run draws."""
    _, build = TASKS[kind_of(type(settings))]
    return build(settings)


__all__ = ["TASKS", "Sample", "Table", "make_table"]
