"""What is learned. A new task is one file beside this one and one line in `TASKS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grokjax.settings import Settings, kind_of
from grokjax.tasks.modular import Modular, modular_size, modular_table
from grokjax.tasks.parity import SparseParity, sparse_parity_sample, sparse_parity_size
from grokjax.tasks.permutation import Permutation, permutation_table
from grokjax.tasks.sample import Sample
from grokjax.tasks.size import MAX_BYTES, SizeOf, too_large
from grokjax.tasks.table import Table

TASKS: dict[str, tuple[type[Settings], Callable[[Any], Any]]] = {
    "modular": (Modular, modular_table),
    "permutation": (Permutation, permutation_table),
    "sparse_parity": (SparseParity, sparse_parity_sample),
}

SIZES: dict[str, SizeOf] = {"modular": modular_size, "sparse_parity": sparse_parity_size}
"""Of the tasks whose settings can make them too large to train."""


def make_table(settings: Settings) -> Any:
    """The task that `settings` describe: all its rows as a Table, or a Sample, whose rows each run draws."""
    _, build = TASKS[kind_of(type(settings))]
    return build(settings)


def unfit(settings: Any, memory: Callable[[], int] | None = None) -> str | None:
    """'setting: why' for a task that is too large to train, of which nothing is made to find out.

    `memory`: bytes that a device has for it.
    """
    size_of = SIZES.get(settings.kind)
    return too_large(settings, size_of, memory or (lambda: MAX_BYTES)) if size_of else None


__all__ = ["TASKS", "Sample", "Table", "make_table", "unfit"]
