"""Products in a small permutation group, as in Power et al. 2022 (arXiv:2201.02177, appendix A.1).

Elements are numbered in the lexicographic order of the permutations as tuples, so 0 is the
identity. Products are read from left to right, as in the authors' code: (xy)(i) = y(x(i)).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Int
from pydantic import Field, model_validator

from grokjax.settings import Settings, shape
from grokjax.tasks.equations import FORMATS, check_tokens, equation_table
from grokjax.tasks.table import Table

Elements = Int[np.ndarray, "*shape"]
Product = Callable[[Elements, Elements], Elements]


class Permutation(Settings):
    """All equations of one operation in a permutation group."""

    kind: Literal["permutation"] = shape("permutation")
    group: Literal["S3", "S4", "S5", "A5"] = shape("S5")
    """All permutations of 3, 4 or 5 points, or the even ones of 5 points."""
    operation: Literal["xy", "xyx^-1", "xyx"] = shape("xy")
    """The operation; products are read from left to right."""
    format: Literal[tuple(FORMATS)] = shape("a b =")  # type: ignore[valid-type]
    """Tokens of a row: `a b`, `a b =`, `a op b =`, or `| a op b = c |`, where the answer and the end token are
    answers; the ids of tokens that are no elements come after those of the elements."""
    classes: Literal["elements", "elements+1", "vocabulary"] = shape("vocabulary")
    """Number of logits. Those beyond the elements are never the right answer."""
    n_vocab: Annotated[int, Field(ge=1)] | None = shape(None, introduced=None)
    """Number of tokens; null: those that occur. openai/grok has 239, most of which do not occur."""

    @model_validator(mode="after")
    def _tokens_fit(self) -> Permutation:
        n = len(group_elements(self.group))
        check_tokens(self.format, n, self.n_vocab, self.classes == "elements")
        return self


OPERATIONS: dict[str, Callable[[Elements, Elements, Elements, Product], Elements]] = {
    "xy": lambda x, y, inverse, product: product(x, y),
    "xyx^-1": lambda x, y, inverse, product: product(product(x, y), inverse[x]),
    "xyx": lambda x, y, inverse, product: product(product(x, y), x),
}


def group_elements(group: str) -> Int[np.ndarray, "elements points"]:
    """The permutations of a group, one in each row: entry i is the image of point i."""
    every = np.array(list(itertools.permutations(range(int(group[1:])))))
    return every if group[0] == "S" else every[_is_even(every)]


def _is_even(permutations: Int[np.ndarray, "elements points"]) -> Bool[np.ndarray, " elements"]:
    pairs = itertools.combinations(range(permutations.shape[1]), 2)
    inversions = [permutations[:, i] > permutations[:, j] for i, j in pairs]
    return np.sum(inversions, axis=0) % 2 == 0


def product_table(
    elements: Int[np.ndarray, "elements points"],
) -> Int[np.ndarray, "elements elements"]:
    """The group's multiplication table in element numbers."""
    n_points = elements.shape[1]
    # Images are read as digits in base n_points. These numbers have the same order as the elements.
    place_values = n_points ** np.arange(n_points)[::-1]
    images_XYP = elements[:, elements].swapaxes(0, 1)
    return np.searchsorted(elements @ place_values, images_XYP @ place_values)


def permutation_table(settings: Permutation) -> Table:
    """Rows in row-major order of (x, y)."""
    elements = group_elements(settings.group)
    products = product_table(elements)
    n = len(products)
    inverse = np.argmax(products == 0, axis=1)
    x_N, y_N = np.divmod(np.arange(n * n), n)
    operation = OPERATIONS[settings.operation]
    answers_N = operation(x_N, y_N, inverse, lambda a, b: products[a, b])
    n_classes = {"elements": n, "elements+1": n + 1, "vocabulary": None}[settings.classes]
    operands_N2 = np.stack([x_N, y_N], 1)
    table = equation_table(operands_N2, answers_N, n, settings.format, n_classes, settings.n_vocab)
    return dataclasses.replace(table, permutations=elements)
