"""What of a group is still to be trained, and from which state each run starts.

Three steps: `to_train` reads what is done, `make_room` writes stores for what is not, `restore` reads the checkpoint.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from grokjax.engine.program import Program
from grokjax.experiment.grid import Group, Run
from grokjax.experiment.places import ConfigError
from grokjax.experiment.run_columns import columns, shapes
from grokjax.results.checkpoint import Checkpoints, Meta, look_into
from grokjax.results.running import Running
from grokjax.results.sealed import Damaged
from grokjax.results.status import DONE
from grokjax.results.store import GroupStore
from grokjax.results.writer import StoreWriter
from grokjax.training.runstate import FINISHED, RUNNING, RunState

log = logging.getLogger("grokjax")


def to_train(group: Group, store: GroupStore) -> list[Run]:
    """The runs that have not ended. Raises ConfigError if one of them cannot be continued."""
    return [run for run in group.runs if not _is_done(run, store)]


def _is_done(run: Run, store: GroupStore) -> bool:
    progress = store.progress(run.id)
    if progress.status == "finished" and progress.evaluations_done < run.budget:
        if store.weights.state_evaluations(run.id) == 0:
            raise ConfigError(
                f"{store.directory}: execution.keep_state: run {run.id} finished without saving its state, so "
                "it cannot be continued to a larger train.steps; use another directory with --out"
            )
        return False
    return progress.status in DONE


def describe_stores(group: Group, store: GroupStore) -> None:
    """Let stores of older versions say which shape settings their runs share."""
    for history in store.older:
        history.describe(shapes(group.first))


def is_admitted(group: Group, store: GroupStore) -> bool:
    """Whether all runs of a group were admitted with their budgets."""
    return all(_is_admitted(run, store) for run in group.runs)


def _is_admitted(run: Run, store: GroupStore) -> bool:
    admission = store.admission(run.id)
    return admission is not None and admission.budget(run.id) >= run.budget


def admit(group: Group, writer: StoreWriter, names: Sequence[str]) -> None:
    """Admit every run of the group that was not admitted, or only with a smaller budget. `names` of values."""
    lacking = [run for run in group.runs if not _is_admitted(run, writer.store)]
    if not lacking:
        return
    stop = group.first.settings.train.stop
    writer.admit(
        [run.id for run in lacking],
        names,
        group.first.cadence.steps(max(run.budget for run in lacking)),
        columns(lacking),
        {
            "group": group.hash,
            "stop": None if stop is None else stop.model_dump(),
            "shape": shapes(group.first),
        },
    )


@dataclasses.dataclass
class Starts:
    """Where runs start: at step 0, from the checkpoint, or from the state that an earlier budget left."""

    program: Program
    store: GroupStore
    chunk: int = 0
    """Of the checkpoint; 0 where there is none."""
    carried: dict[str, RunState] = dataclasses.field(default_factory=dict)
    """States of the checkpoint, by run."""

    def state(self, run: Run) -> RunState | None:
        """The state from which a run continues; None: it starts at step 0. A state of the checkpoint is given only
        once."""
        if run.id in self.carried:
            return self._with_history(run, self.carried.pop(run.id))
        try:
            kept = self.store.weights.state(run.id)
        except Damaged as error:
            log.warning(f"{error}; run {run.id} is trained again from the start")
            return None
        if kept is None:
            return None
        abstract, tree = jax.tree.flatten(self.program.abstract_state(1))
        leaves = [
            x.reshape(a.shape[1:]).astype(a.dtype) for x, a in zip(kept, abstract, strict=True)
        ]
        state: RunState = jax.tree.unflatten(tree, leaves)
        # A state from the end of this very budget lost its status to a kill, and cannot go on: the run is made again.
        if int(state.status) != FINISHED or int(state.evaluations) >= run.budget:
            return None
        running: RunState = state.replace(status=np.int32(RUNNING))  # type: ignore[attr-defined]
        return self._with_history(run, running)

    def _with_history(self, run: Run, state: RunState) -> RunState | None:
        """The state, if the measurements before it are on disk; else None, so that they are made again."""
        done, why = int(state.evaluations), f"{self.store.directory}: values are missing"
        try:
            self.store.read(run.id, self.program.names, done)
            if self.store.progress(run.id).evaluations_done >= done:
                return state
        except Damaged as error:
            why = str(error)
        log.warning(
            f"{why}; run {run.id} has none it can use before evaluation {done}, so it is trained again from the start"
        )
        return None


def restore(
    todo: list[Run],
    store: GroupStore,
    checkpoints: Checkpoints,
    program: Program,
    elsewhere: Sequence[Path] = (),
) -> Starts:
    """The newest undamaged checkpoint, as the states of the runs that are not trained yet.

    `elsewhere`: directories of the same group in which other processes began some of these runs; a run continues where
    it is furthest.
    """
    if not todo:
        return Starts(program, store)
    starts = Starts(program, store)
    if restored := checkpoints.restore(program.abstract_state):
        starts.chunk = restored[1].chunk
        starts.carried = _states(*restored, todo, program)
    for directory in elsewhere:
        _carry(starts, directory, todo)
    return starts


def _states(state: Any, meta: Meta, todo: list[Run], program: Program) -> dict[str, RunState]:
    """What a checkpoint has of these runs."""
    _warn_of_other_machine(meta, program)
    wanted = {run.id for run in todo}
    return {
        run: jax.tree.map(lambda x, i=slot: x[i], state)
        for slot, run in enumerate(meta.runs)
        if run in wanted
    }  # type: ignore[return-value]


def _carry(starts: Starts, directory: Path, todo: list[Run]) -> None:
    """Take the states that are further in the checkpoint of another directory, with the measurements before them."""
    found = look_into(directory / "checkpoints", starts.program.abstract_state)
    if found is None:
        return
    # After the checkpoint: what is written before a checkpoint is at least as far as it is.
    histories = Running(directory / "running.safetensors")
    there = _states(*found, todo, starts.program)
    further = [
        run
        for run, state in there.items()
        if (run not in starts.carried or starts.carried[run].age < state.age)
        and histories.evaluations(run) >= int(state.evaluations)
    ]
    starts.carried |= {run: there[run] for run in further}
    starts.store.running.take(further, histories)


def _warn_of_other_machine(meta: Meta, program: Program) -> None:
    here = (program.tile, program.mesh.devices.size)
    if (meta.tile, meta.devices) != here:
        log.warning(
            f"the checkpoint was saved with tile {meta.tile} on {meta.devices} devices; training continues with tile "
            f"{here[0]} on {here[1]}, so from here on results can differ in the last bits"
        )
