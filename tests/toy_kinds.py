"""A program of a user's: run.py with kinds that are listed in their dictionaries only: a task, a model, a probe, an
optimiser, a measurement and a figure.

Run by tests/test_kinds.py in a process of its own, because `grokjax.experiment.config` reads the dictionaries once.
"""

from __future__ import annotations

import sys
from typing import ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

from analysis.figures import FIGURES
from grokjax import optim
from grokjax.measurements import MEASUREMENTS, MeasurementKind
from grokjax.measurements.saved import Measurement
from grokjax.models import MODELS, ModelKind
from grokjax.probes import PROBES
from grokjax.probes.view import Probe
from grokjax.settings import Kind, Settings, execution, hyper, shape
from grokjax.tasks import TASKS, Table, TaskKind


class Maximum(Settings):
    """max(x, y) of two numbers."""

    kind: Literal["maximum"] = shape("maximum")
    n: int = shape(6, ge=2)
    """Numbers 0 .. n-1."""


def maximum_table(s: Maximum) -> Table:
    x_N, y_N = (a.reshape(-1) for a in np.meshgrid(np.arange(s.n), np.arange(s.n), indexing="ij"))
    operands_N2 = np.stack([x_N, y_N], 1).astype(np.int32)
    targets_NA = operands_N2.max(1, keepdims=True)
    return Table(operands_N2, targets_NA, (1,), s.n, s.n, s.n, operands_N2, commutative=True)


class Bilinear(Settings):
    """logits = W[x] * W[y] U."""

    kind: Literal["bilinear"] = shape("bilinear")
    width: int = shape(8, ge=1)
    """Width of the embedding."""
    init_scale: float = hyper(1.0, gt=0)
    """Factor on the weights at initialisation."""
    readout_scale: float = hyper(1.0, gt=0)
    """Factor on the logits."""


class BilinearModule(nn.Module):
    s: Bilinear
    n_vocab: int
    n_classes: int

    def setup(self) -> None:
        normal = nn.initializers.normal(0.3)
        self.W_E = self.param("W_E", normal, (self.n_vocab, self.s.width))
        self.W_U = self.param("W_U", normal, (self.s.width, self.n_classes))

    def dense(self, tokens_NT: jax.Array, answer_positions: tuple[int, ...]) -> jax.Array:
        return (self.W_E[tokens_NT].prod(1) @ self.W_U)[:, None]


class Largest(Probe):
    """Largest weight."""

    kind: Literal["largest"] = shape("largest")


def largest(s, view):
    weights = jnp.stack([jnp.abs(x).max() for x in jax.tree.leaves(view.params)])
    return {"largest_weight": weights.max()}


class Signs(optim.Schedule):
    """Steps of fixed length along the signs of the gradient."""

    kind: Literal["signs"] = shape("signs")


def signs(s, numbers) -> optax.GradientTransformation:
    return optax.scale_by_sign()


class Smallest(Measurement):
    """Smallest weight of each tensor."""

    kind: Literal["smallest"] = execution("smallest")
    dims: ClassVar[dict[str, tuple[str, ...]]] = {"smallest_weight": ("tensor",)}


def tensors(s, model):
    return {"tensor": ["W_E", "W_U"]}


def smallest(s, saved):
    return {"smallest_weight": jnp.stack([jnp.abs(saved.params[n]).min() for n in ("W_E", "W_U")])}


def draw(study):
    """Largest weight of each run over its evaluations."""
    figure = Figure()
    figure.subplots().plot(study.dataset["value"].sel(probe="largest_weight").T)
    yield "largest_weight", figure


TASKS["maximum"] = TaskKind(Maximum, maximum_table)
MODELS["bilinear"] = ModelKind(
    Bilinear, lambda s, table: BilinearModule(s, table.n_vocab, table.n_classes)
)
PROBES["largest"] = Kind(Largest, largest)
optim.OPTIMIZERS["signs"] = Kind(Signs, signs)
MEASUREMENTS["smallest"] = MeasurementKind(Smallest, smallest, tensors)
FIGURES["largest"] = draw

if __name__ == "__main__":
    from grokjax.cli.commands import main

    sys.exit(main(sys.argv[1:]))
