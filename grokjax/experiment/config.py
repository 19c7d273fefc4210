"""The experiment: the kinds' settings assembled into one typed tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union

from pydantic import Field, field_validator

from grokjax.experiment.figure_settings import FigureSettings
from grokjax.interventions import ACTIONS
from grokjax.losses import LOSSES, VECTOR_LOSSES
from grokjax.measurements import MEASUREMENTS
from grokjax.models import MODELS
from grokjax.optim import OPTIMIZERS
from grokjax.probes import DEFAULT_PROBES, PROBES
from grokjax.quoting import shown
from grokjax.settings import Settings, check_kinds, execution, extendable, hyper, shape
from grokjax.splits import SPLITS
from grokjax.tasks import TASKS

Seed = Annotated[int, Field(ge=0, lt=2**31)]
Count = Annotated[int, Field(ge=1)]


def _one_of(dictionary: str, kinds: Mapping[str, Any]) -> Any:
    """The union of a dictionary's kinds; the value of `kind` says which one is meant."""
    check_kinds(dictionary, kinds)
    classes = [kind.settings for kind in kinds.values()]
    if len(classes) == 1:
        return classes[0]
    return Annotated[Union[tuple(classes)], Field(discriminator="kind")]  # noqa: UP007


TaskSettings = _one_of("TASKS", TASKS)
SplitSettings = _one_of("SPLITS", SPLITS)
ModelSettings = _one_of("MODELS", MODELS)
OptimizerSettings = _one_of("OPTIMIZERS", OPTIMIZERS)
ProbeSettings = _one_of("PROBES", PROBES)
InterventionSettings = _one_of("ACTIONS", ACTIONS)
MeasurementSettings = _one_of("MEASUREMENTS", MEASUREMENTS)


class Epochs(Settings):
    """A number of epochs."""

    epochs: int = shape(ge=1)
    """Passes over the training rows."""


class BatchShare(Settings):
    """A batch size of min(max, ceil(share x training rows)), as in Power et al. 2022."""

    max: int = shape(512, ge=1)
    """Largest batch size, in rows."""
    share: float = shape(0.5, gt=0, le=1)
    """Share of the training rows."""


class Early(Settings):
    """More frequent evaluations at the beginning: memorisation happens in the first hundred steps."""

    until: int = shape(ge=1)
    """Step at which the frequent evaluations end; a multiple of `every`."""
    every: int = shape(ge=1)
    """Steps between two evaluations until then."""


class Stop(Settings):
    """End a run after it has generalised."""

    val_accuracy: float = extendable(ge=0, le=1)
    """Validation accuracy that a run must reach."""
    hold: int = extendable(1, ge=1)
    """Number of evaluations in a row at or above this accuracy."""
    then: int = extendable(0, ge=0)
    """Number of further evaluations before the run ends."""


class Train(Settings):
    """Duration, batches, loss and precision of the training."""

    steps: Count | Epochs = extendable()
    """Largest number of optimiser steps, or {epochs: n}. A larger value continues runs that had not ended by
    themselves."""
    eval_every: Count | Epochs = shape(50)
    """Steps between two evaluations, or {epochs: n}."""
    early: Early | None = shape(None)
    """More frequent evaluations at the beginning, for example {until: 500, every: 10}."""
    stop: Stop | None = extendable(None)
    """When a run ends early; null: never."""
    snapshot_every: int | None = extendable(None, ge=1)
    """Save the weights at every n-th evaluation, beginning with step 0; null: save only the final weights."""
    batch_size: Literal["full"] | Count | BatchShare = shape("full")
    """Rows per step: full, a number, or {max: 512, share: 0.5}. Rows are reshuffled every epoch; the last batch may
    be smaller."""
    loss: Literal[(*LOSSES, *VECTOR_LOSSES)] = shape("cross_entropy")  # type: ignore[valid-type]
    """cross_entropy is accurate down to 1e-12; cross_entropy_float32 is the usual form; mse; multiclass hinge. Where
    answers are vectors: squared_error, summed over entries."""
    subtract_initial: bool = shape(False, introduced=False)
    """Subtract the logits of the initial network, so that all logits begin at 0 (source 004, experiment H)."""
    precision: Literal["float32", "float32x3", "tf32", "bfloat16"] = shape("float32")
    """Precision of the inputs of matrix products; everything else is float32. float32x3 (float32 by several products
    of less precise numbers), tf32 and bfloat16 need an accelerator."""


class Cluster(Settings):
    """How the work is divided between many machines (--on). Not part of a run's id."""

    share: int | None = execution(None, ge=1)
    """Number of runs in a share, rounded up to whole tiles; null: as many as take ten minutes by the estimate of
    --plan, but so few that every worker has some."""
    gpus: int | None = execution(None, ge=0)
    """GPUs of a worker; null: 1 where the cluster has GPUs, else 0."""
    cpus: int | None = execution(None, ge=1)
    """CPU cores of a worker; null: with GPUs 1; without, execution.devices, or all cores of the smallest machine."""
    workers: int | None = execution(None, ge=1)
    """Most workers at a time; null: with ray as many as the cluster has room for, with slurm 16."""
    retries: int = execution(3, ge=0)
    """How often the worker of a share may die, one time after the other, without getting further."""
    minutes: int = execution(60, ge=1)
    """With slurm: time limit of a job. What is left then is scheduled again."""
    sbatch: dict[str, str | int] = execution(default_factory=dict)
    """With slurm: further options of sbatch, such as {account: abc, constraint: a100}."""


class Execution(Settings):
    """How the work is done on this machine. Not part of a run's id."""

    out: str | None = execution(None, min_length=1)
    """Results directory; null: results/<name>."""
    slots: int | None = execution(None, ge=1)
    """Number of runs that are trained at the same time; null: chosen from the platform and its memory."""
    tile: int | None = execution(None, ge=1)
    """Number of runs in one vmap; null: chosen from the platform. Results depend on it in the last bits, so it is
    recorded."""
    chunk: int | None = execution(None, ge=1)
    """Blocks that the device trains before the host reads the results; null: about a second of training."""
    lag: Literal[0, 1] = execution(1)
    """1: the device already trains the next chunk while the host reads the last one; 0: it waits."""
    devices: int | None = execution(None, ge=1)
    """Number of devices to use; null: all (on CPU one per core)."""
    checkpoint_seconds: float = execution(60.0, ge=0)
    """Seconds between two checkpoints."""
    keep_state: Literal["budget", "all", "none"] = execution("budget")
    """Which runs keep their full state at the end, so that a larger train.steps can continue them: those that used
    their whole budget, all, or none."""
    cluster: Cluster = Field(default_factory=Cluster)
    """How the work is divided between many machines (--on)."""

    @field_validator("out", mode="after")
    @classmethod
    def _is_a_path(cls, value: str | None) -> str | None:
        if value is not None and "\0" in value:
            raise ValueError(f"a path cannot contain a null byte, got {shown(value)}")
        return value


class RunSettings(Settings):
    """All settings of one run."""

    task: TaskSettings = Field()  # type: ignore[valid-type]
    """The task that is learned."""
    split: SplitSettings = Field()  # type: ignore[valid-type]
    """Which rows are used for training."""
    model: ModelSettings = Field()  # type: ignore[valid-type]
    """The network."""
    optimizer: OptimizerSettings = Field()  # type: ignore[valid-type]
    """The optimiser."""
    train: Train = Field()
    """The training."""
    intervention: InterventionSettings | None = Field(None)  # type: ignore[valid-type]
    """A change that is made once during training; null: none."""
    seed: Seed = hyper(0)
    """Where one of the four seeds below is null, it has this value."""
    init_seed: Seed | None = hyper(None)
    """Seed of the initialisation; null: seed."""
    split_seed: Seed | None = hyper(None)
    """Seed of the split; null: seed."""
    order_seed: Seed | None = hyper(None)
    """Seed of the order of the rows in batches; null: seed."""
    noise_seed: Seed | None = hyper(None)
    """Seed of the label noise, and of dropout and the noise of optimisers; null: seed."""
    probes: tuple[ProbeSettings, ...] = extendable(DEFAULT_PROBES, strict=False)  # type: ignore[valid-type]
    """Which values an evaluation records. Replaces the default probes; metrics is always there."""

    @field_validator("probes", mode="after")
    @classmethod
    def _with_metrics(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        """Stop rules and outcomes need losses and accuracies, so these are always measured, and come first."""
        metrics = tuple(p for p in value if p.kind == "metrics") or DEFAULT_PROBES[:1]
        return (*metrics[:1], *(p for p in value if p.kind != "metrics"))

    def seeds(self) -> dict[str, int]:
        """The values of the four seeds."""
        names = ("init_seed", "split_seed", "order_seed", "noise_seed")
        own = {name: getattr(self, name) for name in names}
        return {name: self.seed if value is None else value for name, value in own.items()}


class Experiment(RunSettings):
    """An experiment: the settings of all runs, and the axes of the grid."""

    name: str = execution(max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the experiment and of its results directory."""
    axes: dict[str, Any] = execution(default_factory=dict)
    """Settings that vary, by dotted name. Each has a list, {linspace: [first, last, n]}, {logspace: [first, last, n]}
    or {range: n}."""
    measurements: tuple[MeasurementSettings, ...] = execution((), strict=False)  # type: ignore[valid-type]
    """What `run.py --measure` computes from saved weights; can be changed at any time."""
    figures: tuple[FigureSettings, ...] = execution((), strict=False)
    """Figures that are drawn besides those that every experiment gets; can be changed at any time."""
    execution: Execution = Field(default_factory=Execution)
    """How the work is done on this machine."""

    @field_validator("measurements", mode="after")
    @classmethod
    def _each_kind_once(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        """Results are stored by kind, so each kind can be there only once."""
        kinds = [m.kind for m in value]
        if twice := next((k for k in kinds if kinds.count(k) > 1), None):
            raise ValueError(
                f"{twice} is there twice, but results are stored by kind; remove one of them"
            )
        return value
