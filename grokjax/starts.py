"""Where each run of a group starts: at step 0, from the checkpoint, or from the state that an earlier budget left."""

from __future__ import annotations

import logging

import jax
import numpy as np

from grokjax.checkpoint import Checkpoints, Meta
from grokjax.columns import columns, shapes
from grokjax.engine import Program
from grokjax.grid import Group, Run
from grokjax.runstate import FINISHED, RUNNING, RunState
from grokjax.source import ConfigError
from grokjax.store import DONE, GroupStore

log = logging.getLogger("grokjax")


class Starts:
    """What is still to be trained of a group, and from which state. Makes room in the store for all of it."""

    def __init__(self, group: Group, store: GroupStore, checkpoints: Checkpoints, program: Program):
        self.group, self.store, self.program = group, store, program
        self._budget = {run.id: run.budget for run in group.runs}
        self.todo = [run for run in group.runs if not self._is_done(run)]
        self._make_room()
        self.chunk = 0
        self.carried: dict[str, RunState] = {}
        restored = checkpoints.restore(program.abstract_state) if self.todo else None
        if restored is not None:
            self._carry(*restored)

    def _is_done(self, run: Run) -> bool:
        progress = self.store.progress(run.id)
        if progress.status == "finished" and progress.evaluations_done < run.budget:
            if self.store.state_evaluations(run.id) == 0:
                raise ConfigError(
                    f"{self.store.directory}: execution.keep_state: run {run.id} was finished without keeping its "
                    "state, so a larger train.steps cannot continue it; name another directory with --out"
                )
            return False
        return progress.status in DONE

    def _make_room(self) -> None:
        """A store for every run that is to be trained and has none, or too short a one."""
        for history in self.store.histories:
            history.describe(shapes(self.group.first))
        lacking = [
            run
            for run in self.todo
            if (history := self.store.of(run.id)) is None or history.n_evaluations < run.budget
        ]
        if not lacking:
            return
        setup = self.program.setup
        stop = setup.settings.train.stop
        self.store.add(
            [run.id for run in lacking],
            self.program.names,
            setup.cadence.steps(max(run.budget for run in lacking)),
            columns(lacking),
            {
                "group": self.group.hash,
                "stop": None if stop is None else stop.model_dump(),
                "shape": shapes(self.group.first),
            },
        )

    def _carry(self, state: RunState, meta: Meta) -> None:
        self.chunk = meta.chunk
        here = (self.program.tile, self.program.mesh.devices.size)
        if (meta.tile, meta.devices) != here:
            log.warning(
                "saved with tile %d on %d devices, goes on with tile %d on %d: exact from here, "
                "but no longer bit for bit what the first machine would have given",
                *(meta.tile, meta.devices, *here),
            )
        todo = {run.id for run in self.todo}
        for slot, run in enumerate(meta.runs):
            if run in todo:
                self.carried[run] = jax.tree.map(lambda x, i=slot: x[i], state)

    def state(self, run: str) -> RunState | None:
        """The state to go on from; None: start at step 0. A state of the checkpoint is handed out once."""
        if run in self.carried:
            return self.carried.pop(run)
        kept = self.store.read_state(run)
        if kept is None:
            return None
        leaves_, tree = jax.tree.flatten(self.program.abstract_state(1))
        shaped = [
            x.reshape(a.shape[1:]).astype(a.dtype) for x, a in zip(kept, leaves_, strict=True)
        ]
        state = jax.tree.unflatten(tree, shaped)
        # A state from the end of this very budget lost its status to a kill, and cannot go on: the run is made again.
        if int(state.status) != FINISHED or int(state.evaluations) >= self._budget[run]:
            return None
        return state.replace(status=np.int32(RUNNING))
