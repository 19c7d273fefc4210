"""How long a run lasts: rows of a step, steps of an epoch, and the steps at which it is evaluated."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from grokjax.experiment.cadence import Cadence
from grokjax.experiment.config import BatchShare, Epochs, RunSettings
from grokjax.experiment.places import Places
from grokjax.settings import MAX_INTEGER

MAX_EVALUATIONS = 10_000_000
"""Largest number of evaluations of one run; listing their steps takes ten seconds."""


def batches_of(batch_size: Any, n_train: int) -> tuple[int | None, int]:
    """Rows per step (None: all) and steps per epoch."""
    if isinstance(batch_size, BatchShare):
        share = math.ceil(Fraction(repr(batch_size.share)) * n_train)
        batch_size = min(batch_size.max, share)
    if batch_size == "full" or batch_size >= n_train:
        return None, 1
    return batch_size, math.ceil(n_train / batch_size)


_CAUSES = ("task", "split", "train")
"""Sections that decide how many steps an epoch has."""


def durations(settings: RunSettings, batches: int, places: Places) -> tuple[Cadence, int]:
    """When a run is evaluated, and how often in all."""
    train = settings.train
    cadence = Cadence(_in_steps(train.eval_every, batches, "eval_every", places))
    if train.early is not None:
        dense, until = train.early.every, train.early.until
        _whole_epochs(dense, batches, "early.every", places)
        if until % dense:
            near = max(dense, until // dense * dense)
            message = f"{until} is not a multiple of train.early.every = {dense}; use {near}"
            raise places.error(("train", "early", "until"), message, because=("train",))
        cadence = Cadence(cadence.every, dense, until)
    steps = _in_steps(train.steps, batches, "steps", places)
    if not cadence.hits(steps):
        because = _CAUSES if batches > 1 else ("train",)
        raise places.error(("train", "steps"), _near_evaluations(steps, cadence), because)
    _check_count(steps, cadence.count(steps), places)
    return cadence, cadence.count(steps)


def _check_count(steps: int, evaluations: int, places: Places) -> None:
    """Check the number of steps and evaluations: epochs can give more steps than int32 can count."""
    if steps >= MAX_INTEGER:
        message = f"{steps} steps are too many; use at most {MAX_INTEGER - 1}"
        raise places.error(("train", "steps"), message, because=_CAUSES)
    if evaluations > MAX_EVALUATIONS:
        message = f"{steps} steps would be evaluated {evaluations:,} times, "
        message += f"and at most {MAX_EVALUATIONS:,} are possible"
        raise places.error(
            ("train", "steps"), f"{message}; use a larger train.eval_every", because=("train",)
        )


def _near_evaluations(steps: int, cadence: Cadence) -> str:
    n = cadence.count(steps)
    before, after = int(cadence.step_of(n - 1)), int(cadence.step_of(n))
    near = f"{before} or {after}" if before else f"{after}"
    # Without the frequent evaluations at the beginning, the others are at multiples of train.eval_every.
    early = ", or train.early=null" if cadence.early_until and steps % cadence.every == 0 else ""
    told = f"{steps} is not an evaluation step ({_spacing(steps, cadence)})"
    return f"{told}, and the last step must be one; use {near}{early}"


def _spacing(steps: int, cadence: Cadence) -> str:
    """The settings that decide which steps around `steps` are evaluated, in words."""
    every, until = f"train.eval_every is {cadence.every}", cadence.early_until
    if not until:
        return every
    if steps < until:
        return f"up to step {until} train.early.every is {cadence.early_every}"
    return f"from step {until} on, where train.early ends, {every}"


def _in_steps(duration: int | Epochs, batches: int, name: str, places: Places) -> int:
    if isinstance(duration, Epochs):
        return duration.epochs * batches
    _whole_epochs(duration, batches, name, places)
    return duration


def _whole_epochs(steps: int, batches: int, name: str, places: Places) -> None:
    if steps % batches == 0:
        return
    below, above = steps // batches * batches, (steps // batches + 1) * batches
    near = f"{below} or {above}" if below else f"{above}"
    message = f"{steps} steps are not a whole number of epochs, and an epoch has {batches} steps; use {near}"
    suggestion = "" if name.startswith("early") else ", or {epochs: n}"
    raise places.error(("train", *name.split(".")), message + suggestion, because=_CAUSES)
