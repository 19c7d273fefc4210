"""The experiment: the kinds' settings assembled into one typed tree."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union

from pydantic import Field, field_validator

from grokjax.interventions import ACTIONS
from grokjax.losses import LOSSES
from grokjax.measurements import MEASUREMENTS
from grokjax.models import MODELS
from grokjax.optim import OPTIMIZERS
from grokjax.probes import DEFAULT_PROBES, PROBES
from grokjax.quoting import shown
from grokjax.settings import Settings, execution, extendable, hyper, shape
from grokjax.splits import SPLITS
from grokjax.tasks import TASKS

Seed = Annotated[int, Field(ge=0, lt=2**31)]
Count = Annotated[int, Field(ge=1)]


def _one_of(classes: list[type[Settings]]) -> Any:
    """The union of kinds, told apart by their `kind`."""
    if len(classes) == 1:
        return classes[0]
    return Annotated[Union[tuple(classes)], Field(discriminator="kind")]  # noqa: UP007


TaskSettings = _one_of([k.settings for k in TASKS.values()])
SplitSettings = _one_of([k.settings for k in SPLITS.values()])
ModelSettings = _one_of([k.settings for k in MODELS.values()])
OptimizerSettings = _one_of([k.settings for k in OPTIMIZERS.values()])
ProbeSettings = _one_of([k.settings for k in PROBES.values()])
InterventionSettings = _one_of([k.settings for k in ACTIONS.values()])
MeasurementSettings = _one_of([k.settings for k in MEASUREMENTS.values()])


class Epochs(Settings):
    """A duration in epochs."""

    epochs: int = shape(ge=1)
    """Passes over the training rows."""


class BatchShare(Settings):
    """min(max, ceil(share of the training rows)), as Power et al. 2022 use it."""

    max: int = shape(512, ge=1)
    """Upper limit in rows."""
    share: float = shape(0.5, gt=0, le=1)
    """Share of the training rows."""


class Early(Settings):
    """A denser beginning: memorisation happens in the first hundred steps."""

    until: int = shape(ge=1)
    """Step at which the dense part ends (a multiple of `every`)."""
    every: int = shape(ge=1)
    """Steps between evaluations in the dense part."""


class Stop(Settings):
    """End a run once it has generalised."""

    val_accuracy: float = extendable(ge=0, le=1)
    """Level of validation accuracy."""
    hold: int = extendable(1, ge=1)
    """Evaluations in a row at or above the level."""
    then: int = extendable(0, ge=0)
    """Further evaluations after that."""


class Train(Settings):
    """How long, in which batches and with which numbers."""

    steps: Count | Epochs = extendable()
    """Budget in optimiser steps, or {epochs: n}. A larger one continues the runs it had censored."""
    eval_every: Count | Epochs = shape(50)
    """Steps between evaluations, or {epochs: n}."""
    early: Early | None = shape(None)
    """A denser beginning, {until: 500, every: 10}."""
    stop: Stop | None = extendable(None)
    """Stop rule, or null: run to the budget."""
    snapshot_every: int | None = extendable(None, ge=1)
    """Evaluations between two saved sets of weights, step 0 included; null: final weights only."""
    batch_size: Literal["full"] | Count | BatchShare = shape("full")
    """Rows per step: full, a number, or {max: 512, share: 0.5}. Reshuffled every epoch, the last batch kept."""
    loss: Literal[tuple(LOSSES)] = shape("cross_entropy")  # type: ignore[valid-type]
    """cross_entropy is accurate to 1e-12; cross_entropy_float32 is the textbook form; mse; hinge (multiclass)."""
    subtract_initial: bool = shape(False, introduced=False)
    """Take the initial network's logits from a run's, which so starts with all of them 0 (source 004, experiment H)."""
    precision: Literal["float32", "tf32", "bfloat16"] = shape("float32")
    """Inputs of matrix products; parameters and sums are float32. tf32 and bfloat16 need an accelerator."""


class Execution(Settings):
    """How the work is done here. Never part of a run's identity."""

    out: str | None = execution(None, min_length=1)
    """Results directory; default results/<name>."""
    slots: int | None = execution(None, ge=1)
    """Runs in the batch at once; default by platform and memory."""
    tile: int | None = execution(None, ge=1)
    """Runs that one vmap covers; results depend on it in the last bits, so it is recorded."""
    chunk: int | None = execution(None, ge=1)
    """Blocks between two visits of the host; default: about a second's worth."""
    lag: Literal[0, 1] = execution(1)
    """Chunks that the host reads behind the device."""
    devices: int | None = execution(None, ge=1)
    """Devices to use; default all (on CPU one per core)."""
    checkpoint_seconds: float = execution(60.0, ge=0)
    """Time between checkpoints."""
    keep_state: Literal["budget", "all", "none"] = execution("budget")
    """Whose whole state is kept at the end, so that a larger budget can continue it."""

    @field_validator("out", mode="after")
    @classmethod
    def _is_a_path(cls, value: str | None) -> str | None:
        if value is not None and "\0" in value:
            raise ValueError(f"a path cannot contain a null byte, got {shown(value)}")
        return value


class RunSettings(Settings):
    """Everything that one run is."""

    task: TaskSettings = Field()  # type: ignore[valid-type]
    """What is learned."""
    split: SplitSettings = Field()  # type: ignore[valid-type]
    """Which rows train."""
    model: ModelSettings = Field()  # type: ignore[valid-type]
    """What learns."""
    optimizer: OptimizerSettings = Field()  # type: ignore[valid-type]
    """How it learns."""
    train: Train = Field()
    """For how long."""
    intervention: InterventionSettings | None = Field(None)  # type: ignore[valid-type]
    """A change made in the middle of training; null: none."""
    seed: Seed = hyper(0)
    """Sets all four streams of random numbers."""
    init_seed: Seed | None = hyper(None)
    """Initialisation; default seed."""
    split_seed: Seed | None = hyper(None)
    """Split; default seed."""
    order_seed: Seed | None = hyper(None)
    """Batch order; default seed."""
    noise_seed: Seed | None = hyper(None)
    """Label noise; default seed."""
    probes: tuple[ProbeSettings, ...] = extendable(DEFAULT_PROBES, strict=False)  # type: ignore[valid-type]
    """What is measured at an evaluation."""

    @field_validator("probes", mode="after")
    @classmethod
    def _with_metrics(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        """Stop rules and outcomes need losses and accuracies, so these are always measured, and come first."""
        metrics = tuple(p for p in value if p.kind == "metrics") or DEFAULT_PROBES[:1]
        return (*metrics[:1], *(p for p in value if p.kind != "metrics"))

    def seeds(self) -> dict[str, int]:
        """The four seeds, resolved."""
        names = ("init_seed", "split_seed", "order_seed", "noise_seed")
        own = {name: getattr(self, name) for name in names}
        return {name: self.seed if value is None else value for name, value in own.items()}


class Experiment(RunSettings):
    """One YAML file: fixed settings, and axes that vary."""

    name: str = execution(max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the experiment and of its results directory."""
    axes: dict[str, Any] = execution(default_factory=dict)
    """Settings that vary, by dotted name: a list, {linspace|logspace: [first, last, n]} or {range: n}."""
    measurements: tuple[MeasurementSettings, ...] = execution((), strict=False)  # type: ignore[valid-type]
    """What `run.py --measure` finds out about saved weights; may change at any time."""
    execution: Execution = Field(default_factory=Execution)
    """How the work is done here."""

    @field_validator("measurements", mode="after")
    @classmethod
    def _each_kind_once(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        """What is measured is stored by its kind."""
        kinds = [m.kind for m in value]
        if twice := next((k for k in kinds if kinds.count(k) > 1), None):
            raise ValueError(
                f"{twice} is there twice, but results are stored by kind; remove one of them"
            )
        return value
