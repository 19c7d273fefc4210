"""Which frequency each neuron consists of, for sums modulo p (Nanda et al. 2023, arXiv 2301.05217)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from grokjax.measurements.saved import Measurement, Saved
from grokjax.models import Model
from grokjax.models.neurons import activations
from grokjax.probes.frequencies import by_frequency, waves
from grokjax.probes.metrics import first_largest
from grokjax.settings import execution
from grokjax.tasks import Table


class NeuronFrequencies(Measurement):
    """For each neuron of the last hidden layer, at the answer, the frequency that explains most of its variance.

    The variance is that of its activation over all pairs (x, y). A frequency k explains the part that is made of cosine
    and sine of w_k x, of w_k y, and of their products. neuron_share: this part of the variance. neurons_of: number of
    neurons with at least the share `share` in a frequency. A neuron that does not vary has neither (NaN).
    """

    kind: Literal["neuron_frequencies"] = execution("neuron_frequencies")
    share: float = execution(0.85, gt=0, le=1)
    """Share of its variance from which on a neuron belongs to a frequency (0.85 in Nanda et al. 2023)."""
    requires: ClassVar[frozenset[str]] = frozenset({"neurons", "additive"})
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "neuron_frequency": ("neuron",),
        "neuron_share": ("neuron",),
        "neurons_of": ("frequency",),
    }


def labels(s: NeuronFrequencies, model: Model) -> dict[str, Any]:
    tokens_NT = jax.ShapeDtypeStruct(model.table.example.shape, np.int32)
    read = jax.eval_shape(lambda p, x: activations(model, p, x), model.shapes(), tokens_NT)
    return {
        "neuron": range(read.shape[-1]),
        "frequency": range(1, model.table.n_answers // 2 + 1),
    }


def neuron_frequencies(s: NeuronFrequencies, saved: Saved) -> dict[str, Array]:
    model = saved.view.model
    assert saved.view.tokens_NT is not None, "a model with neurons reads tokens"
    hidden_NF = activations(model, saved.params, saved.view.tokens_NT)[:, 0]
    share_KF = frequency_shares(hidden_NF[_by_pair(model.token_table)], model.table.n_answers)
    largest_F, best_F = share_KF.max(0), first_largest(share_KF.T)
    belongs_KF = (best_F == jnp.arange(len(share_KF))[:, None]) & (largest_F >= s.share)
    finite = jnp.isfinite(hidden_NF).all()
    return {
        "neuron_frequency": jnp.where(jnp.isfinite(largest_F), best_F + 1, jnp.nan),
        "neuron_share": largest_F,
        "neurons_of": jnp.where(finite, belongs_KF.sum(1), jnp.nan),
    }


def _by_pair(table: Table) -> np.ndarray:
    """Numbers of the table's rows in the order (0, 0), (0, 1), ..."""
    x_N, y_N = table.operands_N2.T.astype(np.int64)
    return np.argsort(x_N * table.n_answers + y_N)


def frequency_shares(hidden_NF: Float[Array, "N F"], p: int) -> Float[Array, "K F"]:
    """Share of each frequency 1 ... p//2 in the variance of each neuron over the pairs (0, 0), (0, 1), ...; NaN for a
    neuron that does not vary."""
    # Neurons that decay have activations whose squares are 0 in float32; a share does not depend on the scale.
    centred_NF = hidden_NF - hidden_NF.mean(0)
    varies_F = hidden_NF.max(0) > hidden_NF.min(0)
    scaled_NF = centred_NF / jnp.where(varies_F, jnp.abs(centred_NF).max(0), jnp.nan)
    over_x = jnp.matmul(waves(p), scaled_NF.reshape(p, -1), precision="highest")
    over_both = jnp.einsum("bq,aqf->abf", waves(p), over_x.reshape(p, p, -1), precision="highest")
    energy_ppF = over_both**2
    of_x_KpF = by_frequency(energy_ppF)
    of_y_KF = by_frequency(energy_ppF[0])
    # Products of the same frequency: of the components of x and of y alike.
    both_KF = jnp.diagonal(by_frequency(of_x_KpF.swapaxes(0, 1))).T
    return (of_x_KpF[:, 0] + of_y_KF + both_KF) / (scaled_NF**2).sum(0)
