"""The host loop of a group: fill slots, advance, record, retire, checkpoint.

The device is always one chunk ahead of what the host has read. That is safe because a run decides for itself when it
is done and then stays as it is; the host only reads, stores and refills.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from grokjax import devices, plan, training
from grokjax.checkpoint import Checkpoints, Meta
from grokjax.config import Execution
from grokjax.engine import MAX_BLOCKS, Program, Records
from grokjax.grid import Group, Run
from grokjax.models import tensor_names
from grokjax.schedule import Slots
from grokjax.settings import leaves
from grokjax.source import ConfigError
from grokjax.store import DONE, GroupStore, Progress
from grokjax.training import RUNNING, STATUS, RunState

log = logging.getLogger("grokjax")

CHUNK_SECONDS = 1.0
"""Time between two visits of the host that the chunk length aims at."""


class Interrupted(Exception):
    """A signal asked for an end; everything is saved."""


@dataclasses.dataclass
class Tally:
    """How a group is doing: what the progress display shows."""

    group: str
    n_runs: int
    running: int = 0
    waiting: int = 0
    done: dict[str, int] = dataclasses.field(default_factory=dict)
    memorised: int = 0
    grokked: int = 0
    evaluations: int = 0
    run_steps: int = 0
    executed_steps: int = 0
    """Slot-steps that were computed, frozen and padded ones included."""
    compile_seconds: float = 0.0
    train_seconds: float = 0.0
    steps_left: int = 0
    """If every run uses its whole budget."""

    @property
    def rate(self) -> float:
        """Run-steps per second, compilation left out."""
        return self.run_steps / self.train_seconds if self.train_seconds > 0 else 0.0

    @property
    def idle(self) -> float:
        """Share of the computed slot-steps that trained nothing."""
        return 1 - self.run_steps / self.executed_steps if self.executed_steps else 0.0


LEVEL = 0.99
"""Accuracy from which the progress display counts a run as having memorised or grokked."""


class GroupTrainer:
    """Trains one group in its directory, from wherever it was left."""

    def __init__(
        self,
        group: Group,
        directory: Path,
        execution: Execution,
        mesh: Mesh,
        observe: Callable[[Tally], None] = lambda _: None,
        fewer_slots: int | None = None,
    ):
        self.group, self.execution, self.mesh, self.observe = group, execution, mesh, observe
        self.runs = {run.id: run for run in group.runs}
        self.setup = training.make_setup(group)
        self.tally = Tally(group.hash, len(group.runs))
        self.store = GroupStore(directory)
        self.checkpoints = Checkpoints(directory / "checkpoints")
        self.carried: dict[str, RunState] = {}
        self.buffers: dict[str, np.ndarray] = {}
        self._ages: dict[str, int] = {}
        self._grokked: set[str] = set()
        self._memorised: set[str] = set()
        self._in_flight: collections.deque[tuple[Records, dict[int, str]]] = collections.deque()
        self._retiring: list[tuple[str, Any, Progress]] = []
        self._make_program(fewer_slots)
        self._prepare()

    # -- start -------------------------------------------------------------------------------------------------------

    def _make_program(self, fewer: int | None) -> None:
        self.tile, slots = choose_slots(self.group, self.execution, self.mesh)
        self.program = Program(self.setup, self.mesh, min(fewer or slots, slots), self.tile)

    def _prepare(self) -> None:
        """What is done, what goes on from where, what starts."""
        todo = [run for run in self.group.runs if not self._is_done(run)]
        self._admit_to_store(todo)
        restored = self.checkpoints.restore(self.program.abstract_state) if todo else None
        self.chunk = 0
        if restored is not None:
            self._carry_from_checkpoint(*restored, {run.id for run in todo})
        for run in todo:
            if run.id not in self.carried:
                self._carry_from_kept_state(run)
            self._open_buffer(run)
        self.slots = Slots(
            self.mesh.devices.size,
            self.program.slots_per_device,
            self.tile,
            [run.id for run in todo],
            lambda i: (i in self.carried, likely_length(self.runs[i])),  # type: ignore[arg-type]
        )
        self._count_done()

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

    def _admit_to_store(self, todo: list[Run]) -> None:
        """Make sure a store has room for every run that is to be trained."""
        lacking = [
            run
            for run in todo
            if (history := self.store.of(run.id)) is None or history.n_evaluations < run.budget
        ]
        if not lacking:
            return
        steps = self.setup.cadence.steps(max(run.budget for run in lacking))
        stop = self.setup.settings.train.stop
        self.store.add(
            [run.id for run in lacking],
            self.program.names,
            steps,
            columns(lacking),
            {"group": self.group.hash, "stop": None if stop is None else stop.model_dump()},
        )

    def _carry_from_checkpoint(self, state: RunState, meta: Meta, todo: set[str]) -> None:
        self.chunk = meta.chunk
        here = (self.tile, self.mesh.devices.size)
        if (meta.tile, meta.devices) != here:
            log.warning(
                "saved with tile %d on %d devices, goes on with tile %d on %d: exact from here, "
                "but no longer bit for bit what the first machine would have given",
                *(meta.tile, meta.devices, *here),
            )
        for slot, run in enumerate(meta.runs):
            if run in todo:
                self.carried[run] = jax.tree.map(lambda x, i=slot: x[i], state)

    def _carry_from_kept_state(self, run: Run) -> None:
        kept = self.store.read_state(run.id)
        if kept is None:
            return
        one = self.program.abstract_state(1)
        leaves_, tree = jax.tree.flatten(one)
        shaped = [
            x.reshape(a.shape[1:]).astype(a.dtype) for x, a in zip(kept, leaves_, strict=True)
        ]
        state = jax.tree.unflatten(tree, shaped)
        self.carried[run.id] = state.replace(status=np.int32(RUNNING))

    def _open_buffer(self, run: Run) -> None:
        history = self.store.of(run.id)
        assert history is not None
        buffer = np.full((history.n_evaluations, len(self.program.names)), np.nan, np.float32)
        if run.id in self.carried:
            done = int(self.carried[run.id].evaluations)
            buffer[:done] = history.read(run.id)[:done]
            self._ages[run.id] = int(self.carried[run.id].age)
        self.buffers[run.id] = buffer

    # -- the loop ----------------------------------------------------------------------------------------------------

    def train(self, interrupted: Callable[[], bool] = lambda: False) -> Tally:
        """Until every run is done. Raises Interrupted once a signal's state is saved."""
        self.state = self.program.empty()
        self.hyper = self._blank_hyper()
        self._blocks, self._clock, saved = 1, time.monotonic(), time.monotonic()
        while not (self.slots.done and not self._in_flight and not self._retiring):
            self._fill()
            if self.slots.running:
                self._dispatch()
            self._store_retired()
            self._read(self.execution.lag if self.slots.running else 0)
            stop = interrupted()
            if stop or time.monotonic() - saved > self.execution.checkpoint_seconds:
                self._checkpoint(wait=stop)
                saved = time.monotonic()
            if stop and not self.slots.done:
                self.checkpoints.close()
                raise Interrupted
        self._finish()
        return self.tally

    def _finish(self) -> None:
        self.store.flush()
        self.checkpoints.wait()
        self.checkpoints.close()
        self._show()

    def _blank_hyper(self) -> Any:
        filler = training.make_hyper(self.group.first)
        return jax.tree.map(lambda x: np.stack([x] * self.program.slots), filler)

    def _fill(self) -> None:
        placed = self.slots.fill()
        if not placed:
            return
        for slot, run in placed.items():
            jax.tree.map(
                lambda all_, one, s=slot: all_.__setitem__(s, one),
                self.hyper,
                training.make_hyper(self.runs[run]),
            )
        # A copy: the device may still be reading the arrays of an earlier chunk.
        self._hyper_placed = self.program.place(jax.tree.map(np.copy, self.hyper))
        fresh = np.zeros(self.program.slots, bool)
        fresh[[s for s, run in placed.items() if run not in self.carried]] = True
        if fresh.any():
            self.state = self.program.admit(self.state, self._hyper_placed, fresh)
        back = {s: self.carried.pop(run) for s, run in placed.items() if run in self.carried}
        if back:
            self.state = self.program.insert(self.state, back)

    def _dispatch(self) -> None:
        live = np.array(self.slots.live_tiles())
        began, first = time.monotonic(), self.program.traces == 0
        self.state, records = self.program.advance(
            self.state, self._hyper_placed, live, self._blocks
        )
        if first:  # tracing and compiling happen before the call returns
            self.tally.compile_seconds += time.monotonic() - began
            self._clock = time.monotonic()
        self.chunk += 1
        self._in_flight.append((records, dict(self.slots.running)))

    def _read(self, behind: int) -> None:
        """Read finished chunks until `behind` are in flight."""
        while len(self._in_flight) > behind:
            records, placement = self._in_flight.popleft()
            self._record(jax.tree.map(np.asarray, records), placement)
            self._pace()
            self._show()

    def _pace(self) -> None:
        """Choose the next chunk's length so that a chunk lasts about CHUNK_SECONDS."""
        now = time.monotonic()
        took, self._clock = now - self._clock, now
        self.tally.train_seconds += took
        wanted = self._blocks * CHUNK_SECONDS / max(took, 1e-3)
        free = int(np.clip(wanted, max(1, self._blocks // 2), self._blocks * 2))
        self._blocks = min(self.execution.chunk or free, MAX_BLOCKS)

    def _record(self, records: Any, placement: dict[int, str]) -> None:
        self.tally.executed_steps += int(records.executed.sum()) * self.setup.cadence.unit
        ended = {}
        for slot, run in placement.items():
            if self.slots.running.get(slot) != run:
                continue  # ended in an earlier chunk; this one was in flight already
            made = np.flatnonzero(records.evaluation[slot] >= 0)
            self.buffers[run][records.evaluation[slot, made]] = records.values[slot, made]
            self._note_progress(run, int(records.age[slot]), int(records.evaluations[slot]))
            status = int(records.status[slot])
            if status != RUNNING:
                done = int(records.evaluations[slot])
                ended[slot] = Progress(STATUS[status], done, int(records.diverged_at[slot]))
        self._retire(ended)

    def _note_progress(self, run: str, age: int, evaluations: int) -> None:
        self.tally.run_steps += age - self._ages.get(run, 0)
        self._ages[run] = age
        last = self.buffers[run][evaluations - 1] if evaluations else None
        if last is not None:
            train, val = (self.program.names.index(f"{s}_accuracy") for s in ("train", "val"))
            self._memorised |= {run} if last[train] >= LEVEL else set()
            self._grokked |= {run} if last[val] >= LEVEL else set()

    def _retire(self, ended: dict[int, Progress]) -> None:
        """Take the states of ended runs out, without waiting, and free their slots."""
        if not ended:
            return
        rows = self.program.extract(self.state, list(ended))
        for (slot, progress), row in zip(ended.items(), rows, strict=True):
            self._retiring.append((self.slots.release(slot), row, progress))

    def _store_retired(self) -> None:
        """History, then weights, then the status that commits the run."""
        for run, row, progress in self._retiring:
            history = self.store.of(run)
            assert history is not None
            history.write(run, self.buffers.pop(run))
            self._write_weights(run, row.fetch(), progress)
            history.note(run, progress)
        if self._retiring:
            self.store.flush()
            self._count_done()
        self._retiring = []

    def _write_weights(self, run: str, state: RunState, progress: Progress) -> None:
        facts = {"run": run, "step": str(int(state.age)), "status": progress.status}
        keep = self.execution.keep_state
        if keep == "all" or (keep == "budget" and progress.status == "finished"):
            self.store.write_state(run, jax.tree.leaves(state), progress.evaluations_done)
        self.store.write_weights(run, tensor_names(state.params), facts)

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def _checkpoint(self, wait: bool) -> None:
        """Drain, write histories, then save the state that goes with them."""
        self._read(0)
        self._store_retired()
        for slot_run in self.slots.running.values():
            self._write_running(slot_run)
        self.store.flush()
        # A copy: the state is donated to the next chunk while orbax still writes.
        state = jax.tree.map(lambda x: np.array(x, copy=True), self.state)
        occupants = [self.slots.running.get(s) for s in range(self.program.slots)]
        meta = Meta(self.chunk, occupants, self.tile, self.mesh.devices.size)
        self.checkpoints.save(state, meta)
        if wait:
            self.checkpoints.wait()
        self._clock = time.monotonic()

    def _write_running(self, run: str) -> None:
        history = self.store.of(run)
        assert history is not None
        history.write(run, self.buffers[run])
        age = self._ages.get(run, 0)
        done = int(self.setup.cadence.count(age)) if age else 0
        history.note(run, Progress("running", min(done, self._evaluations(run)), -1))

    def _evaluations(self, run: str) -> int:
        """Evaluations recorded of a run that is still running."""
        measured = ~np.isnan(self.buffers[run]).all(axis=1)
        return int(np.flatnonzero(measured)[-1]) + 1 if measured.any() else 0

    # -- display -----------------------------------------------------------------------------------------------------

    def _count_done(self) -> None:
        statuses = [self.store.progress(run).status for run in self.runs]
        self.tally.done = {s: statuses.count(s) for s in DONE}

    def _show(self) -> None:
        t = self.tally
        t.running, t.waiting = len(self.slots.running), self.slots.n_waiting
        t.memorised, t.grokked = len(self._memorised), len(self._grokked)
        t.evaluations = sum(
            self.setup.cadence.count(a) for r, a in self._ages.items() if r in self.runs
        )
        t.steps_left = sum(_total_steps(self.runs[r]) - self._ages.get(r, 0) for r in self.buffers)
        self.observe(t)


def _total_steps(run: Run) -> int:
    return int(run.cadence.step_of(run.budget - 1))


def likely_length(run: Run) -> tuple[float, ...]:
    """Runs that sort last start first: small fractions and small decays take long."""
    optimizer = run.settings.optimizer
    decay = getattr(optimizer, "weight_decay", getattr(optimizer, "l2", 0.0))
    return (float(-run.n_train), float(-decay), float(-optimizer.learning_rate))


def columns(runs: list[Run]) -> dict[str, list[Any]]:
    """What a history store says about each run: every number and every axis."""
    rows = [describe(run) for run in runs]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, float("nan")) for row in rows] for name in names}


def describe(run: Run) -> dict[str, Any]:
    """One run as a row: seeds, counts, hyper settings, axes."""
    numbers = {
        leaf.name: leaf.value
        for leaf in leaves(run.settings)
        if leaf.role == "hyper" and isinstance(leaf.value, int | float)
    }
    axes = {
        n: v if isinstance(v, int | float | str) else json.dumps(v) for n, v in run.point.items()
    }
    counts = {
        "n_train": run.n_train,
        "steps_per_epoch": run.batches,
        "budget_evaluations": run.budget,
    }
    return {**numbers, **run.settings.seeds(), **counts, **axes}


def choose_slots(group: Group, execution: Execution, mesh: Mesh) -> tuple[int, int]:
    """Tile and number of slots. Raises ValueError 'setting: why' where the memory is too small for them."""
    where, n = devices.platform(mesh), mesh.devices.size
    tile = execution.tile or devices.default_tile(where, group.first.settings.model.kind)
    cost, limit = plan.cost(group.first), devices.memory_limit(where)
    step, fitting = tile * n, plan.fitting_slots(cost, limit, tile, n)
    if execution.slots is None:
        slots = devices.default_slots(where, tile, n, len(group.runs), fitting)
    else:
        slots = max(step, execution.slots // step * step)
    if slots > fitting:
        name = "tile" if execution.slots is None else "slots"
        raise ValueError(
            f"{name}: {slots} slots need {plan.size(plan.needed_bytes(cost, slots, tile, n))} of memory and "
            f"{plan.size(limit)} are free; lower execution.slots, execution.tile, model.d_model, model.d_mlp "
            "or train.batch_size"
        )
    return tile, slots
