"""The output matrix on a plane by t-SNE (van der Maaten & Hinton 2008), as in Power et al. 2022, figure 3."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from jax import Array

from grokjax.measurements.projection import output_rows
from grokjax.measurements.saved import Measurement, Saved
from grokjax.models import Model
from grokjax.settings import execution


class TSNE(Measurement):
    """The rows of the output matrix, one for each possible answer, on a plane. Starts from their principal components;
    the map is the same on every call."""

    kind: Literal["tsne"] = execution("tsne")
    perplexity: float = execution(30.0, gt=0)
    """How many neighbours count; made smaller where there are not three times as many answers."""
    seed: int = execution(0, ge=0, lt=2**31)
    """Seed of the map."""
    dims: ClassVar[dict[str, tuple[str, ...]]] = {"points": ("element", "component")}


def labels(s: TSNE, model: Model) -> dict[str, Any]:
    return {"element": range(model.table.n_answers), "component": [0, 1]}


def tsne(s: TSNE, saved: Saved) -> dict[str, Array]:
    return {"points": output_rows(saved.view.model, saved.params)}


def embed(s: TSNE, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """points (element, 2); NaN if a row is not finite, or there are fewer than four."""
    # Imported where it is used: it takes a second.
    from sklearn.manifold import TSNE as Map

    rows = found["points"].astype(np.float64)
    if len(rows) < 4 or not np.isfinite(rows).all():
        return {"points": np.full((len(rows), 2), np.nan)}
    perplexity = min(s.perplexity, (len(rows) - 1) / 3)
    made = Map(2, perplexity=perplexity, init="pca", random_state=s.seed, method="exact")
    return {"points": made.fit_transform(rows).astype(np.float64)}
