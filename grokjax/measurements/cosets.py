"""Whether the output matrix knows a subgroup: clusters of its rows against cosets (Power et al. 2022, figure 3)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int
from pydantic import Field, field_validator

from grokjax.measurements.projection import output_rows
from grokjax.measurements.saved import Measurement, Saved
from grokjax.models import Model
from grokjax.settings import SettingError, execution
from grokjax.tasks.permutation import product_table

Elements = Int[np.ndarray, " n"]
PERMUTED = 20
"""Number of times that labels are exchanged at random, for the score by chance."""
_CYCLES = re.compile(r"(\(\d(,\d)*\))+")


class Cosets(Measurement):
    """Clusters of the rows of the output matrix (k-means, as many as cosets) against the left and the right cosets of a
    subgroup and all its conjugates; the best match is kept.

    purity: share of the elements that have the commonest coset of their cluster. silhouette: of the cosets, without
    clusters. chance_: the same, best match kept too, with the rows exchanged at random (mean of 20). coset: number of
    each element's coset in the best match by purity. left: 1 if these are left cosets xH.
    """

    kind: Literal["cosets"] = execution("cosets")
    generators: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = execution(
        ("(0,3)(1,4)", "(1,2)(3,4)"), strict=False
    )
    """Generators of the subgroup, in cycles of points; the default is the one of Power et al., of order 10 in S5."""
    requires: ClassVar[frozenset[str]] = frozenset({"permutations"})
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "purity": (),
        "silhouette": (),
        "chance_purity": (),
        "chance_silhouette": (),
        "left": (),
        "coset": ("element",),
    }

    @field_validator("generators")
    @classmethod
    def _are_cycles(cls, generators: tuple[str, ...]) -> tuple[str, ...]:
        for text in generators:
            points = re.findall(r"\d", text)
            if not _CYCLES.fullmatch(text) or len(points) != len(set(points)):
                raise SettingError(
                    "generators",
                    f"{text!r} must be cycles of different points from 0 on, such as '(0,3)(1,4)'",
                )
        return generators


def labels(s: Cosets, model: Model) -> dict[str, Any]:
    return {"element": range(model.table.n_answers)}


def output_matrix(s: Measurement, saved: Saved) -> dict[str, Array]:
    """The rows of the output matrix, and the permutations as tuples of images. They are compared on the host."""
    table = saved.view.model.token_table
    assert table.permutations is not None, "required"
    rows = output_rows(saved.view.model, saved.params)
    return {"rows": rows, "permutations": jnp.asarray(table.permutations)}


def score(s: Cosets, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The measured arrays. All are NaN (coset: -1) if the rows are not finite."""
    rows, permutations = found["rows"].astype(np.float64), found["permutations"]
    partitions = list(partitions_of(permutations, s.generators))
    if not np.isfinite(rows).all():
        nothing = dict.fromkeys(s.dims, np.asarray(np.nan))
        return nothing | {"coset": np.full(len(rows), -1)}
    clusters = _clusters(rows, 1 + int(partitions[0][1].max()))
    purity, silhouette, best = _best(rows, clusters, partitions)
    random = np.random.default_rng(0)
    orders = [random.permutation(len(rows)) for _ in range(PERMUTED)]
    chance = np.array([_best(rows[o], clusters[o], partitions)[:2] for o in orders]).mean(0)
    left, coset = partitions[best]
    scores = {
        "purity": purity,
        "silhouette": silhouette,
        "chance_purity": chance[0],
        "chance_silhouette": chance[1],
        "left": left,
    }
    return {name: np.asarray(float(x)) for name, x in scores.items()} | {"coset": coset}


def _clusters(rows: np.ndarray, k: int) -> Elements:
    # Imported where it is used: it takes a second.
    from sklearn.cluster import KMeans

    return KMeans(k, n_init=10, random_state=0).fit_predict(rows)  # type: ignore[arg-type]


def _best(
    rows: np.ndarray, clusters: Elements, partitions: list[tuple[bool, Elements]]
) -> tuple[float, float, int]:
    """The largest purity, the largest silhouette, and which partition has the former."""
    from sklearn.metrics import silhouette_score

    pure = [purity_of(clusters, coset) for _, coset in partitions]
    apart = [silhouette_score(rows, coset) for _, coset in partitions]
    return max(pure), max(apart), int(np.argmax(pure))


def purity_of(clusters: Elements, labels: Elements) -> float:
    """Share of the elements that have the commonest label of their cluster."""
    counts = np.zeros((clusters.max() + 1, labels.max() + 1))
    np.add.at(counts, (clusters, labels), 1)
    return float(counts.max(1).sum() / len(labels))


def partitions_of(
    permutations: Int[np.ndarray, "n points"], generators: tuple[str, ...]
) -> Iterator[tuple[bool, Elements]]:
    """(whether left, coset number of each element) for the subgroup and its conjugates, left cosets and right ones.

    Raises ValueError if a generator is not in the group.
    """
    products = product_table(permutations)
    inverse = np.argmax(products == 0, 1)
    subgroup = closure(products, [_element(text, permutations) for text in generators])
    conjugates = {
        frozenset(products[products[inverse[g], subgroup], g].tolist())
        for g in range(len(products))
    }
    for members in sorted(map(sorted, conjugates)):
        for left in (True, False):
            sets = products[:, members] if left else products[members, :].T
            _, number = np.unique(sets.min(1), return_inverse=True)
            yield left, number


def _element(text: str, permutations: Int[np.ndarray, "n points"]) -> int:
    images = np.arange(permutations.shape[1])
    for cycle in re.findall(r"\(([^)]*)\)", text):
        points = [int(p) for p in cycle.split(",")]
        if max(points) >= len(images):
            raise ValueError(
                f"{text} moves point {max(points)}, and the points are 0 to {len(images) - 1}"
            )
        images[points] = points[1:] + points[:1]
    same = np.flatnonzero((permutations == images).all(1))
    if len(same) == 0:
        raise ValueError(f"{text} is not in the group")
    return int(same[0])


def closure(products: Int[np.ndarray, "n n"], generators: list[int]) -> list[int]:
    """The elements of the subgroup that the generators make, in order."""
    within = np.zeros(len(products), bool)
    within[[0, *generators]] = True
    members = np.flatnonzero(within)
    while True:
        within[products[np.ix_(members, members)]] = True
        more = np.flatnonzero(within)
        if len(more) == len(members):
            return members.tolist()
        members = more


def misfit(s: Cosets, permutations: Int[np.ndarray, "n points"]) -> str | None:
    """Why the generators say nothing about this group, in words; None if they do."""
    try:
        _, coset = next(partitions_of(permutations, s.generators))
    except ValueError as error:
        return f"a subgroup of the task's group, but {error}; use other generators"
    n = 1 + int(coset.max())
    if n in (1, len(permutations)):
        made = ", ".join(s.generators)
        return f"a subgroup between the whole group and the identity, but {made} make one of them"
    return None
