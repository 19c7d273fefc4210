"""How many weights are small, and how many of these see only constant tokens."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import Array

from grokjax.models import Params
from grokjax.probes.view import Probe, View
from grokjax.settings import shape
from grokjax.tasks.table import Table


class Sparsity(Probe):
    """Share of all parameters whose magnitude is below a threshold, and the number of the others (source 002)."""

    kind: Literal["sparsity"] = shape("sparsity")
    threshold: float = shape(0.01, gt=0)
    """Magnitude below which a weight counts as zero."""


class StructuralSparsity(Probe):
    """Sparsity after the weights that see only constant tokens are folded into the first bias: they only add to it."""

    kind: Literal["structural_sparsity"] = shape("structural_sparsity")
    threshold: float = shape(0.01, gt=0)
    """Magnitude below which a weight counts as zero."""
    requires: ClassVar[frozenset[str]] = frozenset({"token_mlp"})


def count_below(tree: Params, threshold: float) -> Array:
    """Number of entries with a magnitude below the threshold, over all leaves."""
    counts = [(jnp.abs(x) < threshold).sum() for x in jax.tree.leaves(tree)]
    return sum(counts[1:], counts[0])


def n_entries(tree: Params) -> int:
    return sum(x.size for x in jax.tree.leaves(tree))


def sparsity(s: Sparsity, view: View) -> dict[str, Array]:
    small, n = count_below(view.params, s.threshold), n_entries(view.params)
    return {"sparsity": small / n, "active_weights": n - small}


def structural_sparsity(s: StructuralSparsity, view: View) -> dict[str, Array]:
    """sparsity_structural, and dead_share: share of the small weights in the rows of W_0 that see constant tokens."""
    folded, dead_TDF = fold_constants(view.params, view.model.token_table)
    return {
        "sparsity_structural": count_below(folded, s.threshold) / n_entries(folded),
        "dead_share": (jnp.abs(dead_TDF) < s.threshold).sum()
        / count_below(view.params, s.threshold),
    }


def fold_constants(params: Params, table: Table) -> tuple[Params, Array]:
    """(parameters of an MLP without those that see only constant tokens, the rows of W_0 that do as T D F).

    The product of a constant token with its rows of W_0 is the same in every example, so it is added to b_0.
    """
    tokens_T, constant = table.tokens_NT[0], (table.tokens_NT == table.tokens_NT[0]).all(0)
    W_E = params["W_E"]
    W_TDF = params["W_0"].reshape(len(tokens_T), W_E.shape[1], -1)
    folded = {k: v for k, v in params.items() if k not in ("W_E", "W_0")}
    fixed_F = jnp.einsum("td,tdf->f", W_E[tokens_T[constant]], W_TDF[constant])
    folded["b_0"] = params.get("b_0", 0) + fixed_F
    folded["W_0"] = W_TDF[~constant]
    used = sorted(set(table.tokens_NT[:, ~constant].ravel().tolist()))
    return folded | {"W_E": W_E[jnp.array(used)]}, W_TDF[constant]
