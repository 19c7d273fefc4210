"""The parts of one run: what its group shares (Setup, Data), its numbers (Hyper) and what changes (RunState)."""

from __future__ import annotations

import dataclasses
from typing import no_type_check

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from grokjax.experiment.cadence import Cadence
from grokjax.experiment.config import RunSettings
from grokjax.experiment.grid import Group, Run
from grokjax.interventions import Watch
from grokjax.models import Model, ModelPlan, Params
from grokjax.models.nonzeros import Nonzeros
from grokjax.optim import OptState
from grokjax.probes import required
from grokjax.probes.view import Probe
from grokjax.settings import Settings, leaves
from grokjax.splits import Rows
from grokjax.tasks import Table
from grokjax.training.costs import WHOLE, RowBlocks

EMPTY, RUNNING, FINISHED, STOPPED, DIVERGED = range(5)
"""Codes of the status of a slot: empty, or the status of its run."""
STATUS = {RUNNING: "running", FINISHED: "finished", STOPPED: "stopped", DIVERGED: "diverged"}
"""A run's status by the code of its slot. On disk a run can also be 'waiting'; then it has no slot."""

NEVER = 2.0
"""A validation accuracy that cannot be reached: the stop level of a run without a stop rule."""

Number = Array | np.number
"""A number of one run: from NumPy on the host, traced in a program."""
Numbers = dict[str, Number]
"""Numbers by the names of settings."""

# Types of the fields of Hyper, RunState and Data are not checked at run time: vmap, eval_shape and tree.map put other
# objects than arrays there.


@struct.dataclass
@no_type_check
class Hyper:
    """The traced scalars of one run."""

    seeds: Numbers
    model: Numbers
    optimizer: Numbers
    counts: Array | np.ndarray
    """Number of units of each stratum that train, (strata,)."""
    n_train: Number
    n_noisy: Number
    budget: Number
    """Number of evaluations, step 0 included."""
    stop: Numbers
    intervention: Numbers | None
    """None if the experiment has no intervention."""


@struct.dataclass
@no_type_check
class RunState:
    """Everything that changes during one run."""

    params: Params
    opt_state: OptState
    rows: Rows
    age: Int[Array, ""]
    """Number of steps done."""
    evaluations: Int[Array, ""]
    """Number of evaluations done."""
    status: Int[Array, ""]
    hold: Int[Array, ""]
    """Number of evaluations in a row at or above the stop level."""
    after: Int[Array, ""]
    """Number of evaluations since the stop rule was met; -1 before."""
    diverged_at: Int[Array, ""]
    """Step of the evaluation at which the run's numbers were not finite; -1 if there is none."""
    sum_loss: Float[Array, ""]
    max_loss: Float[Array, ""]
    grads: Params | None
    updates: Params | None
    previous: Params | None
    update_length: dict[str, Array] | None
    snapshot: Params | None
    """Parameters at the last evaluation at which a snapshot was due."""
    intervention: Watch | None
    """What the run remembers of its intervention; None if the experiment has no intervention."""


@struct.dataclass
@no_type_check
class Data:
    """The arrays that all runs of a group share. They are arguments of the program, because XLA would fold constants.

    For a Sample each run has its own inputs and targets; `passes.data_of` puts them here.
    """

    train_input: ModelPlan
    table_input: ModelPlan
    targets_NA: Int[Array, "N A"] | None
    """Of a run's own rows, `passes.data_of` puts inputs and targets here. N A C where the answers are vectors."""
    mirror_N: Int[Array, " N"]
    strata_UW: tuple[Int[Array, "U W"], ...]
    nonzeros: Nonzeros | None = None
    """Of the training rows, where they are read in place of the rows; `passes.full_batch` puts them here."""
    initial_NAC: Float[Array, "N A C"] | None = None
    """Logits of a run's initial network, if they are subtracted; `passes.data_of` puts them here."""


@dataclasses.dataclass(frozen=True, eq=False)
class Setup:
    """What is static in a group: everything that its compiled program depends on."""

    settings: RunSettings
    model: Model
    bucket: int
    batch_size: int | None
    batches: int
    cadence: Cadence
    strata_UW: tuple[np.ndarray, ...]
    """Rows of each stratum's units (splits.Split)."""
    label_noise: bool
    """Whether any run of the group has wrong labels. If not, the training loss on true labels is the training loss."""
    blocks: RowBlocks = WHOLE

    @property
    def stream(self) -> bool:
        """Whether every step draws its own rows."""
        return self.model.table.stream

    @property
    def n_strata(self) -> int:
        return len(self.strata_UW)

    @property
    def n_rows(self) -> int:
        return self.model.table.n_rows

    @property
    def requires(self) -> frozenset[str]:
        return required(self.settings.probes)

    @property
    def snapshot_every(self) -> int | None:
        """Evaluations between two snapshots."""
        return self.settings.train.snapshot_every

    def probes(self, every: int) -> tuple[Probe, ...]:
        """The probes that are measured at every `every`-th evaluation."""
        return tuple(p for p in self.settings.probes if p.every == every)

    @property
    def cadences(self) -> list[int]:
        return sorted({p.every for p in self.settings.probes} | {1})


def make_setup(group: Group, blocks: RowBlocks = WHOLE) -> Setup:
    """The static part of a group."""
    run, settings = group.first, group.first.settings
    return Setup(
        settings=settings,
        model=Model(settings.model, run.table),
        bucket=run.bucket,
        batch_size=run.batch_size,
        batches=run.batches,
        cadence=run.cadence,
        strata_UW=run.split.strata_UW,
        label_noise=any(r.settings.split.label_noise > 0 for r in group.runs),
        blocks=blocks,
    )


def make_data(setup: Setup) -> Data:
    """The shared arrays of a group."""
    table = setup.model.table
    return Data(
        train_input=setup.model.plan(setup.batch_size or setup.bucket),
        table_input=setup.model.plan(table.n_rows),
        targets_NA=jnp.asarray(table.targets_NA, jnp.int32) if isinstance(table, Table) else None,
        mirror_N=jnp.asarray(table.mirror_N()),
        strata_UW=tuple(jnp.asarray(s) for s in setup.strata_UW),
    )


def make_hyper(run: Run) -> Hyper:
    """A run's traced scalars, as NumPy numbers."""
    s, split = run.settings, run.split
    stop = s.train.stop
    return Hyper(
        seeds={name: np.uint32(seed) for name, seed in s.seeds().items()},
        model=hyper_numbers(s.model),
        optimizer=hyper_numbers(s.optimizer),
        counts=np.array(split.counts, np.int32),
        n_train=np.int32(split.n_train),
        n_noisy=np.int32(split.n_noisy),
        budget=np.int32(run.budget),
        stop={
            "level": np.float32(NEVER if stop is None else stop.val_accuracy),
            "hold": np.int32(1 if stop is None else stop.hold),
            "then": np.int32(0 if stop is None else stop.then),
        },
        intervention=None if s.intervention is None else hyper_numbers(s.intervention),
    )


def hyper_numbers(settings: Settings) -> Numbers:
    hypers = {leaf.name: leaf.value for leaf in leaves(settings) if leaf.role == "hyper"}
    return {n: np.int32(v) if isinstance(v, int) else np.float32(v) for n, v in hypers.items()}


def example_hyper(setup: Setup) -> Hyper:
    """A Hyper of the right structure; its values mean nothing."""
    run_like: Numbers = {name: np.uint32(0) for name in setup.settings.seeds()}
    zero = np.int32(0)
    return Hyper(
        seeds=run_like,
        model=hyper_numbers(setup.settings.model),
        optimizer=hyper_numbers(setup.settings.optimizer),
        counts=np.zeros(setup.n_strata, np.int32),
        n_train=zero,
        n_noisy=zero,
        budget=zero,
        stop={"level": np.float32(0), "hold": zero, "then": zero},
        intervention=None
        if setup.settings.intervention is None
        else hyper_numbers(setup.settings.intervention),
    )
