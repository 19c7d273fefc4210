"""What can only be checked run by run: whether the sections of a run's settings fit each other."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from grokjax.experiment.cadence import Cadence
from grokjax.experiment.config import Epochs, RunSettings
from grokjax.experiment.places import Places
from grokjax.experiment.rows import drawn_rows, n_train_of, table_of
from grokjax.losses import misused
from grokjax.models.checks import fault, misfit
from grokjax.probes import unmet
from grokjax.quoting import shown
from grokjax.settings import SettingError
from grokjax.tasks import unfit

Memory = Callable[[], int]
"""Bytes that a device has; asked for only where a task is large."""


def check_stream(settings: RunSettings, places: Places) -> None:
    """Refuse what has no meaning for rows that every step draws anew."""
    if not table_of(settings.task).stream:
        return
    if settings.split.kind != "drawn":
        told = "divides the rows of a table, but a stream draws new rows for every step; use drawn"
        message = f"{settings.split.kind} {told}"
        raise places.error(("split", "kind"), message, because=("task",))
    if settings.split.label_noise > 0:
        told = "gives wrong labels to training rows, but a stream has none that stay; use 0"
        message = f"{settings.split.label_noise} {told}"
        raise places.error(("split", "label_noise"), message, because=("task",))
    if not isinstance(settings.train.batch_size, int):
        told = "is a share of the training rows, but a stream has no end; use a number of rows, such as 64"
        message = f"{_said(settings.train.batch_size)} {told}"
        raise places.error(("train", "batch_size"), message, because=("task",))
    for name in ("steps", "eval_every"):
        if isinstance(getattr(settings.train, name), Epochs):
            message = "a stream has no epochs; give a number of steps"
            raise places.error(("train", name), message, because=("task",))


def check_loss(settings: RunSettings, places: Places) -> None:
    """Refuse a loss for answers of the other form, and wrong labels where there are no classes."""
    wrong = misused(settings.train.loss, table_of(settings.task).answers)
    if wrong:
        raise places.error(("train", "loss"), wrong, because=("train", "task"))
    if table_of(settings.task).answers == "vectors" and settings.split.label_noise > 0:
        told = (
            "gives wrong classes to training rows, but the answers of this task are vectors; use 0"
        )
        message = f"{settings.split.label_noise} {told}"
        raise places.error(("split", "label_noise"), message, because=("task",))


def _said(batch_size: Any) -> str:
    return shown(batch_size if isinstance(batch_size, str) else batch_size.model_dump())


@functools.lru_cache(maxsize=64)
def _unfit(task: Any, memory: Memory | None) -> SettingError | None:
    return unfit(task, memory)


def check_size(settings: RunSettings, places: Places, memory: Memory | None) -> None:
    """Before the first row of a task is made."""
    wrong = _unfit(settings.task, memory)
    if wrong:
        raise places.error(("task", wrong.name), wrong.why, because=("task",))


def check_table(settings: RunSettings, places: Places) -> None:
    """Make the rows of a task; refuse one whose rows cannot be made."""
    try:
        table_of(settings.task)
    except SettingError as error:
        raise places.error(("task", error.name), error.why, because=("task",)) from None


def check_model(settings: RunSettings, places: Places) -> None:
    wrong = misfit(settings.model.kind, table_of(settings.task))
    if wrong:
        raise places.error(("model", "kind"), wrong, because=("task", "model"))


@functools.lru_cache(maxsize=256)
def _fault(model: Any, task: Any) -> SettingError | None:
    return fault(model, table_of(task))


def check_module(settings: RunSettings, places: Places) -> None:
    """Refuse a model whose matrices have other names than probes and interventions look up. Traces the module."""
    wrong = _fault(settings.model, settings.task)
    if wrong:
        raise places.error(("model", wrong.name), wrong.why, because=("task", "model"))


def check_probes(settings: RunSettings, places: Places) -> None:
    for probe in settings.probes:
        lacking = unmet(probe, settings.model, table_of(settings.task)) if probe.requires else None
        if lacking:
            message = (
                f"{probe.kind} needs {lacking}; remove this probe, or change the model or the task"
            )
            raise places.error(("probes",), message, because=("model", "task"))


def check_intervention(
    settings: RunSettings, cadence: Cadence, budget: int, places: Places
) -> None:
    """Refuse a step that is not an evaluation, or not before the last one: the intervention would never be made."""
    when = None if settings.intervention is None else settings.intervention.when
    if when is None or when.kind != "step":
        return
    key, last = ("intervention", "when", "step"), int(cadence.step_of(budget - 2))
    if when.step > last:
        message = f"{when.step} is not before the last evaluation of the run; use {last} or less"
        raise places.error(key, message, because=("train", "intervention"))
    if not cadence.hits(when.step):
        message = f"{when.step} is not an evaluation step, and an intervention follows an evaluation; use "
        near = cadence.count(when.step)
        message += f"{int(cadence.step_of(near - 1))} or {int(cadence.step_of(near))}"
        raise places.error(key, message, because=("train", "intervention"))


def training_rows(settings: RunSettings, places: Places) -> int:
    try:
        return n_train_of(settings.task, settings.split, drawn_rows(settings))
    except SettingError as error:
        raise places.error(("split", error.name), error.why, because=("task", "split")) from None
