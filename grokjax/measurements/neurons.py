"""The fewest neurons that are enough for a network, and what these do alone (Merrill, Tsilivis & Shukla 2023).

The neurons are those of the hidden layer of a network with one, or of the last MLP of a transformer. A neuron is
removed by setting its outgoing weights to 0. All other parameters, biases included, do not change.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from grokjax.losses import is_answer
from grokjax.measurements.saved import At, Measurement, Saved
from grokjax.models import Model, Params
from grokjax.probes.metrics import first_largest, scored_mean
from grokjax.settings import execution

PARTS = ("generalising", "complement", "control")


class EffectiveSparsity(Measurement):
    """Fewest neurons with the same accuracy, or the same predictions, as the full network on the training rows.

    Neurons are kept in the order of descending norm of their incoming weights. Every number of neurons from 1 on is
    tried, so the fewest is exact.
    """

    kind: Literal["effective_sparsity"] = execution("effective_sparsity")
    requires: ClassVar[frozenset[str]] = frozenset({"hidden_layer", "classes"})
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "neurons_same_accuracy": (),
        "neurons_same_predictions": (),
        "neurons": (),
    }


class Subnetworks(Measurement):
    """Three parts of the network alone: `generalising` (the fewest neurons with the same training accuracy at the run's
    end), `complement` (the other neurons) and `control` (as many random neurons).

    For each part: size, norm of its incoming and outgoing weights, faithfulness (share of all rows on which it predicts
    the same as the full network), accuracy.
    """

    kind: Literal["subnetworks"] = execution("subnetworks")
    at: At = execution("final")
    """Which saved weights: final, all, or a list of steps. The neurons are always chosen at the end of the run."""
    requires: ClassVar[frozenset[str]] = frozenset({"hidden_layer", "classes", "final"})
    dims: ClassVar[dict[str, tuple[str, ...]]] = dict.fromkeys(
        ("size", "norm", "faithfulness", "train_accuracy", "val_accuracy"), ("part",)
    )


class Layer(NamedTuple):
    """Weights into and out of a hidden layer."""

    W_in_DF: Array
    W_out_FD: Array


def _names(model: Model) -> tuple[str | None, str, str]:
    """Section of the parameters (None: no section), and the names of the weights into and out of the layer there."""
    assert model.kind.hidden is not None, "asked for by 'hidden_layer'"
    return model.kind.hidden(model.settings)


def hidden_layer(model: Model, params: Params) -> Layer:
    section, into, out = _names(model)
    inner = params if section is None else params[section]
    return Layer(inner[into], inner[out])


def only(model: Model, params: Params, mask_F: Array) -> Params:
    """The parameters with the outgoing weights of all neurons outside the mask set to 0."""
    section, _, name = _names(model)
    kept = {name: jnp.where(mask_F[:, None], hidden_layer(model, params).W_out_FD, 0)}
    return (
        {**params, **kept} if section is None else {**params, section: {**params[section], **kept}}
    )


def places_F(model: Model, params: Params) -> Array:
    """Rank of each neuron, from 0, by descending norm of its incoming weights. Equal ones keep their order."""
    norms_F = jnp.linalg.norm(hidden_layer(model, params).W_in_DF, axis=0)
    return jnp.argsort(jnp.argsort(-norms_F, stable=True))


class Fewest(NamedTuple):
    """Numbers of neurons: the next to try, and the first with the same accuracy or predictions (0: none yet)."""

    tried: Array
    same_accuracy: Array
    same_predictions: Array


def fewest_neurons(saved: Saved, params: Params) -> Fewest:
    """Try 1, 2, ... neurons until the predictions on the training rows are those of the full network."""
    model, place_F, full_BA = (
        saved.view.model,
        places_F(saved.view.model, params),
        saved.answers_BA(params),
    )
    labels_BA = saved.view.labels_NA[saved.view.rows.index_B]
    real_B1, most = saved.real_B[:, None], len(place_F)

    def n_right(answers_BA: Array) -> Array:
        right_BA = (answers_BA == labels_BA) & real_B1
        return right_BA[:, : model.table.n_scored].sum()

    def attempt(s: Fewest) -> Fewest:
        answers_BA = saved.answers_BA(only(model, params, place_F < s.tried))
        same = ((answers_BA == full_BA) | ~real_B1).all() | (s.tried == most)
        equal = same | (n_right(answers_BA) == n_right(full_BA))
        same_accuracy = jnp.where((s.same_accuracy == 0) & equal, s.tried, s.same_accuracy)
        return Fewest(s.tried + 1, same_accuracy, jnp.where(same, s.tried, 0))

    # Equal predictions have equal accuracy, so `same_accuracy` is also set when the loop ends.
    zero = jnp.int32(0)
    return jax.lax.while_loop(
        lambda s: s.same_predictions == 0, attempt, Fewest(zero + 1, zero, zero)
    )


def effective_sparsity(s: EffectiveSparsity, saved: Saved) -> dict[str, Array]:
    fewest = fewest_neurons(saved, saved.params)
    n = len(places_F(saved.view.model, saved.params))
    counts = {
        "neurons_same_accuracy": fewest.same_accuracy,
        "neurons_same_predictions": fewest.same_predictions,
        "neurons": jnp.int32(n),
    }
    return {name: jnp.where(_finite(saved.params), x, jnp.nan) for name, x in counts.items()}


def _finite(params: Params) -> Array:
    return jnp.array([jnp.isfinite(w).all() for w in jax.tree.leaves(params)]).all()


def no_labels(s: EffectiveSparsity, model: Model) -> dict[str, Any]:
    return {}


def part_labels(s: Subnetworks, model: Model) -> dict[str, Any]:
    return {"part": PARTS}


def subnetworks(s: Subnetworks, saved: Saved) -> dict[str, Array]:
    assert saved.final is not None
    place_F = places_F(saved.view.model, saved.final)
    n = fewest_neurons(saved, saved.final).same_accuracy
    random_F = jax.random.permutation(jax.random.fold_in(saved.key, 1), len(place_F))
    masks_3F = jnp.stack([place_F < n, place_F >= n, random_F < n])
    full_NA = first_largest(saved.view.apply(saved.params))
    return jax.lax.map(lambda mask_F: _alone(saved, mask_F, full_NA), masks_3F)


def _alone(saved: Saved, mask_F: Array, full_NA: Array) -> dict[str, Array]:
    view, layer = saved.view, hidden_layer(saved.view.model, saved.params)
    squares_F = (layer.W_in_DF**2).sum(0) + (layer.W_out_FD**2).sum(1)
    logits_NAC = view.apply(only(view.model, saved.params, mask_F))
    fitted_NA = is_answer(logits_NAC, view.labels_NA).astype(jnp.float32)
    right_NA = is_answer(logits_NAC, view.targets_NA).astype(jnp.float32)
    numbers = {
        "size": mask_F.sum(),
        "norm": jnp.sqrt(jnp.where(mask_F, squares_F, 0).sum()),
        "faithfulness": (first_largest(logits_NAC) == full_NA).mean(),
        "train_accuracy": scored_mean(view, fitted_NA, view.rows.train_N),
        "val_accuracy": scored_mean(view, right_NA, view.val_N),
    }
    return {name: jnp.where(_finite(saved.params), x, jnp.nan) for name, x in numbers.items()}
