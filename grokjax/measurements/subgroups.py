"""Which subgroups the output matrix knows: how much of it lies between the cosets of every subgroup, beside chance.

Power et al. 2022 (figure 3) looked for one subgroup of S5. Networks choose among representations of the group, and work
with cosets of different subgroups (Chughtai et al. 2023, arXiv 2302.03025; Stander et al. 2023, arXiv 2312.06581), so
the question is which one.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int

from grokjax.measurements.cosets import closure
from grokjax.measurements.saved import Measurement
from grokjax.models import Model
from grokjax.settings import execution
from grokjax.tasks.permutation import product_table

EXCHANGED = 20
"""Number of times that rows are exchanged at random, for the share by chance."""


class Subgroups(Measurement):
    """For every subgroup of the group, up to conjugation: the share of the variance of the output matrix's rows that
    lies between its cosets (1: elements of a coset have equal rows), the largest of all conjugates, left and right.

    share: that of the rows. chance: the same, the largest too, with the rows exchanged at random (mean of 20).
    chance_largest: the largest of these 20. order: number of elements of the subgroup.

    The whole group and the identity alone are left out. Where H is part of K, the share of H is at least that of K:
    so every subgroup of one that the network knows stands out from chance, too.
    """

    kind: Literal["subgroups"] = execution("subgroups")
    requires: ClassVar[frozenset[str]] = frozenset({"permutations"})
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "share": ("subgroup",),
        "chance": ("subgroup",),
        "chance_largest": ("subgroup",),
        "order": ("subgroup",),
    }


def labels(s: Subgroups, model: Model) -> dict[str, Any]:
    permutations = model.token_table.permutations
    assert permutations is not None, "required"
    return {"subgroup": list(classes_of(permutations))}


def score(s: Subgroups, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The measured arrays, from those of `output_matrix`. Shares are NaN if rows are not finite or all the same."""
    rows, permutations = found["rows"].astype(np.float64), found["permutations"]
    classes = classes_of(permutations)
    products = product_table(permutations)
    orders = np.array([float(len(members[0])) for members in classes.values()])
    rows = rows - rows.mean(0)
    total = (rows**2).sum()
    if not np.isfinite(total) or total == 0:
        nothing = np.full(len(classes), np.nan)
        return dict.fromkeys(("share", "chance", "chance_largest"), nothing) | {"order": orders}
    random = np.random.default_rng(0)
    exchanged = [random.permutation(len(rows)) for _ in range(EXCHANGED)]
    # All orders of the rows at once, as more columns.
    every = np.stack([rows, *(rows[order] for order in exchanged)], 1)
    shares = []
    for members in classes.values():
        own = [_between(every, products, h, left) for h in members for left in (True, False)]
        shares.append(np.max(own, 0) / total)
    found_C, by_chance_CR = np.array([s[0] for s in shares]), np.array([s[1:] for s in shares])
    return {
        "share": found_C,
        "chance": by_chance_CR.mean(1),
        "chance_largest": by_chance_CR.max(1),
        "order": orders,
    }


def _between(
    rows_NRD: Float[np.ndarray, "N R D"],
    products: Int[np.ndarray, "N N"],
    members: tuple[int, ...],
    left: bool,
) -> Float[np.ndarray, " R"]:
    """Sum of squares of the means over the cosets xH (left) or Hx, each counted for all of its elements."""
    sets = products[:, list(members)] if left else products[list(members), :].T
    means = rows_NRD[sets[np.unique(sets.min(1), return_index=True)[1]]].mean(1)
    return len(members) * (means**2).sum((0, 2))


def classes_of(
    permutations: Int[np.ndarray, "n points"],
) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Name -> all conjugates of a subgroup (element numbers), the largest subgroups first."""
    return _cached(tuple(map(tuple, np.asarray(permutations).tolist())))


@functools.cache
def _cached(elements: tuple[tuple[int, ...], ...]) -> dict[str, tuple[tuple[int, ...], ...]]:
    permutations = np.array(elements)
    products = product_table(permutations)
    inverse = np.argmax(products == 0, 1)
    n = len(products)
    made = {}
    for members, generators in all_subgroups(products).items():
        if not 1 < len(members) < n:
            continue
        conjugates = {
            tuple(sorted(products[products[inverse[g], list(members)], g].tolist()))
            for g in range(n)
        }
        made.setdefault(tuple(sorted(conjugates)), generators)
    named = {}
    for conjugates, generators in sorted(
        made.items(), key=lambda item: (-len(item[0][0]), item[0])
    ):
        written = " ".join(_cycles(permutations[g]) for g in generators)
        named[f"{len(conjugates[0])}: {written}"] = conjugates
    return named


def all_subgroups(products: Int[np.ndarray, "n n"]) -> dict[tuple[int, ...], tuple[int, ...]]:
    """Members -> generators of every subgroup: those of one element, then what any of them makes with one more."""
    found = {}
    for g in range(len(products)):
        found.setdefault(tuple(closure(products, [g])), (g,) if g else ())
    single = [generators for generators in found.values() if generators]
    new = list(found.items())
    while new:
        more = {}
        for (members, generators), (g,) in itertools.product(new, single):
            if g not in members:
                larger = tuple(closure(products, [*generators, g]))
                if larger not in found:
                    more.setdefault(larger, (*generators, g))
        found |= more
        new = list(more.items())
    return found


def _cycles(images: Int[np.ndarray, " points"]) -> str:
    """A permutation as cycles, as the setting `generators` of the measurement cosets has them."""
    seen, text = set(), ""
    for start in range(len(images)):
        cycle = []
        while start not in seen:
            seen.add(start)
            cycle.append(start)
            start = int(images[start])
        if len(cycle) > 1:
            text += f"({','.join(map(str, cycle))})"
    return text
