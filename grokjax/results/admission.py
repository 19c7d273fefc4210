"""Which runs were admitted to a group, and what describes each: one sealed file for the runs admitted together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from grokjax.results.sealed import Sealed, write_sealed
from grokjax.version import SCHEMA


@dataclass(frozen=True)
class Admission:
    """Runs that were admitted together, in the order of their rows."""

    ids: list[str]
    names: list[str]
    """Columns of the histories: what the probes measure."""
    step: np.ndarray
    """(evaluation,) step of each evaluation, up to the largest budget of these runs."""
    columns: dict[str, np.ndarray]
    """By name, (run,): numbers of each run and its values on the axes; text as objects."""
    attributes: dict[str, Any]
    """What holds for all runs: group, stop rule, shape settings."""
    row: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "row", {run: i for i, run in enumerate(self.ids)})

    def budget(self, run: str) -> int:
        """Evaluations that a run may make."""
        return int(self.columns["budget_evaluations"][self.row[run]])


def write_admission(
    path: Path,
    ids: Sequence[str],
    names: Sequence[str],
    step: np.ndarray,
    columns: dict[str, list[Any]],
    attributes: dict[str, Any],
) -> None:
    """Write an admission. Raises OSError."""
    arrays = {name: as_column(values) for name, values in columns.items()}
    facts = {
        "schema": SCHEMA,
        "run": list(ids),
        "probe": list(names),
        "step": [int(s) for s in step],
        "text": {name: list(x) for name, x in arrays.items() if x.dtype == object},
        "order": list(columns),
        "attributes": attributes,
    }
    numbers = {name: x for name, x in arrays.items() if x.dtype != object}
    write_sealed(path, facts, {"columns": numbers}, by_row=False)


def read_admission(path: Path) -> Admission:
    """Read and check an admission. Raises Damaged."""
    file = Sealed(path)
    facts, numbers = file.facts, file.whole("columns")
    text = {name: np.array(values, object) for name, values in facts["text"].items()}
    columns = {**numbers, **text}
    return Admission(
        facts["run"],
        facts["probe"],
        np.array(facts["step"], np.int64),
        {name: columns[name] for name in facts["order"]},
        facts["attributes"],
    )


def as_column(values: Sequence[Any]) -> np.ndarray:
    """int64 for whole numbers, float64 for other numbers, objects (text) for everything else."""
    if all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in values):
        return np.array(values, np.int64)
    if all(isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in values):
        return np.array(values, np.float64)
    return np.array([str(v) for v in values], object)
