"""A results directory with made-up curves whose grokking times are known by construction."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from grokjax.results.experiment_file import write_both
from grokjax.results.status import DONE, Progress
from grokjax.results.store import GroupStore
from grokjax.results.writer import Ended, StoreWriter
from grokjax.version import SCHEMA

PROBES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
BUDGET = 20_000
EVAL_EVERY = 100
Point = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One stored run: its coordinates, its real values (eval, probe), its status."""

    point: Point
    value: np.ndarray
    status: str
    extra: Point = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)


def grid(axes: dict[str, Sequence[Any]]) -> list[Point]:
    """All combinations of the axes; an axis of several names takes tuples."""
    points = []
    for combination in itertools.product(*axes.values()):
        point: Point = {}
        for names, value in zip(axes, combination, strict=True):
            parts = names.split(", ")
            point |= dict(zip(parts, value if len(parts) > 1 else [value], strict=True))
        points.append(point)
    return points


def rise(step: np.ndarray, time: float, top: float = 1.0) -> np.ndarray:
    """An accuracy that first reaches 0.99 `top` at the first evaluation at or after `time`."""
    return np.where(step >= time, top, np.clip(0.05 + 0.8 * step / max(time, 1.0), 0, 0.85) * top)


def run_values(step: np.ndarray, train_time: float, val_time: float) -> np.ndarray:
    """(eval, probe) curves that reach their levels at the given steps; inf for never."""
    train = rise(step, train_time)
    val = np.full(len(step), 0.1) if np.isinf(val_time) else rise(step, val_time)
    train_loss = 4 * np.exp(-5 * np.minimum(step / train_time, 3))
    val_loss = (
        4 + 3 * np.exp(-((np.log((step + 1) / min(val_time, BUDGET)) + 1) ** 2)) - 3.9 * val**4
    )
    return np.stack([train_loss, train, val_loss, val], axis=1).astype(np.float32)


def planned_time(point: Point) -> float:
    """Made-up law: more data, decay and tokens grok sooner; seeds scatter by a factor of two."""
    fraction, depth = point.get("split.train_fraction", 0.5), point.get("model.n_layers", 1)
    size, decay = point.get("task.p", 59), point.get("optimizer.weight_decay", 1.0)
    scatter = np.random.default_rng([point.get("seed", 0), round(1000 * fraction), depth]).normal()
    return float(
        np.round(
            2500
            * (0.5 / fraction) ** 4
            * depth**0.7
            * (59 / size)
            / decay**0.8
            * np.exp(0.35 * scatter)
        )
    )


def stopped_row(point: Point, budget: int = BUDGET, hold: int = 5) -> Row:
    """A run under the rule 'stop five evaluations after 0.99', or until the budget is spent."""
    step = np.arange(0, budget + 1, EVAL_EVERY)
    time = planned_time(point)
    value = run_values(step, 300.0, time if time <= budget else np.inf)
    end = np.searchsorted(step, time) + hold
    return Row(point, value[:end], "stopped") if end < len(step) else Row(point, value, "finished")


def write_store(
    directory: Path,
    rows: Sequence[Row],
    step: np.ndarray,
    probes: Sequence[str] = PROBES,
    **attributes: Any,
) -> None:
    """Admit runs to a group, and write their results; every coordinate of every row's point becomes a column."""
    writer = StoreWriter(GroupStore(directory))
    ids = [run_id(row.point) for row in rows]
    facts = {"group": directory.name} | attributes
    writer.admit(ids, probes, step.astype(int), _columns(rows, step), facts)
    ended = [row for row in rows if row.status in DONE]
    writer.add_ended([_ended(row, step) for row in ended], probes)
    others = [row for row in rows if row.status not in DONE]
    if others:
        writer.write_running([(run_id(r.point), len(r.value), r.value) for r in others], probes)


def _ended(row: Row, step: np.ndarray) -> Ended:
    done = len(row.value)
    last = int(step[done - 1])
    progress = Progress(row.status, done, last if row.status == "diverged" else -1)
    return Ended(run_id(row.point), progress, last, row.value, row.weights)


def _columns(rows: Sequence[Row], step: np.ndarray) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {
        "budget_evaluations": [len(step)] * len(rows),
        "n_train": [round(1000 * row.point.get("split.train_fraction", 0.5)) for row in rows],
        "steps_per_epoch": [1] * len(rows),
    }
    for name in ("init_seed", "split_seed", "order_seed", "noise_seed"):
        columns[name] = [row.point.get("seed", 0) for row in rows]
    for name in rows[0].point | rows[0].extra:
        columns[name] = [(row.point | row.extra)[name] for row in rows]
    return columns


def run_id(point: Point) -> str:
    """Readable in place of a hash."""
    return ";".join(f"{name}={value}" for name, value in sorted(point.items())) or "only"


def write_settings(
    path: Path,
    axes: dict[str, Any],
    budget: int = BUDGET,
    stop: dict[str, Any] | None = None,
    **tree: Any,
) -> None:
    """experiment.yaml with the resolved settings that the analysis reads."""
    path.mkdir(parents=True, exist_ok=True)
    plain = {
        name: [list(v) if isinstance(v, tuple) else v for v in values]
        for name, values in axes.items()
    }
    settings = {
        "schema": SCHEMA,
        "name": path.name,
        "task": {"kind": "modular", "p": 59},
        "split": {"kind": "random", "train_fraction": 0.5},
        "model": {"kind": "transformer", "n_layers": 1},
        "optimizer": {"kind": "adamw", "weight_decay": 1.0},
        "train": {"steps": budget, "eval_every": EVAL_EVERY, "stop": stop},
        "axes": plain,
    }
    text = io.StringIO()
    YAML().dump(settings | tree, text)
    write_both(path, text.getvalue(), settings | tree)


STOP = {"val_accuracy": 0.99, "hold": 5, "then": 0}


def write_results(
    path: Path,
    axes: dict[str, Sequence[Any]],
    make_row: Callable[[Point], Row] = stopped_row,
    budget: int = BUDGET,
    probes: Sequence[str] = PROBES,
) -> Path:
    """A whole directory: one group for each value of the shape axes, one store a group."""
    write_settings(path, axes, budget, STOP)
    groups: dict[str, list[Row]] = {}
    for point in grid(axes):
        key = f"p{point.get('task.p', 59)}l{point.get('model.n_layers', 1)}"
        groups.setdefault(key, []).append(make_row(point))
    for key, rows in groups.items():
        step = np.arange(0, budget + 1, EVAL_EVERY)
        write_store(path / "groups" / key, rows, step, probes, stop=STOP)
    return path
