"""What is learned. A new task is one file beside this one and one line in `TASKS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grokjax.settings import Settings, kind_of
from grokjax.tasks.modular import Modular, modular_table
from grokjax.tasks.permutation import Permutation, permutation_table
from grokjax.tasks.table import Table

TASKS: dict[str, tuple[type[Settings], Callable[[Any], Table]]] = {
    "modular": (Modular, modular_table),
    "permutation": (Permutation, permutation_table),
}


def make_table(settings: Settings) -> Table:
    """All rows of the task that `settings` describe."""
    _, build = TASKS[kind_of(type(settings))]
    return build(settings)


__all__ = ["TASKS", "Table", "make_table"]
