"""Which form of an operation a program uses. Forms give the same numbers up to rounding, at very different speeds.

All choices by platform are here. A program enters `using(by_platform(...))` inside each function that it traces; code
that computes asks `current()`. Outside, the forms are those of the CPU.

On an H100 the gradient of a gather took 0.045 ms as scatter-add, whose bits differed from one execution to the next,
and 0.033 ms as a product, whose bits did not (docs/performance.md); two releases of jaxlib are up to 2,000 times slower
with scatter-add (jax#38806, #39959, #17844). With sums as reductions a step was 12 % faster there than with products
with ones (jax#33004). `python -m benchmarks.gpu` compares all of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Forms:
    """One choice for each operation that has several forms."""

    gather_gradient: Literal["scatter", "one-hot"]
    """Gradient of rows that are looked up: added row by row, or a product with a one-hot matrix."""
    sums: Literal["products", "reductions"]
    """Sums over rows and columns: products with ones, or plain reductions."""
    heads: Literal["one by one", "together"]
    """Attention over sequences: a product for each head, or one for all heads. On CPU, with 85 positions and four heads
    of width 12, the first takes 0.097 ms a row with its gradient, the second 0.141 (benchmarks/stream_parts.py)."""
    wide_gradients: bool
    """Whether the gradient of a tall matrix is computed transposed, behind a barrier (`linear.weight_gradient`)."""
    product_rows: int | None
    """Most rows that one product adds up in gradients of matrices and of looked-up rows; more are parts that are added
    afterwards (not where `wide_gradients` transposes).
    None: as many as there are. On an H100 sums over all rows take 61 % of a step in narrow tiles; parts were not
    measured there yet (docs/performance.md)."""
    gather_nonzeros: bool
    """Whether a model that can do so reads only the numbers of a row that are not zero (models/nonzeros.py). Its
    gradient is a scatter-add."""
    float32x3: str = "TF32_TF32_F32_X3"
    """JAX's name of the algorithm of products in this precision: float32 in three or more passes of a tensor core."""
    tf32: str = "TF32_TF32_F32"
    bfloat16: str = "BF16_BF16_F32"
    """By algorithm, because JAX's word bfloat16 means TF32 on a GPU."""


CPU = Forms("scatter", "products", "one by one", True, None, True)
GPU = Forms("one-hot", "reductions", "together", False, None, False)
TPU = dataclasses.replace(GPU, float32x3="BF16_BF16_F32_X6")

_current: ContextVar[Forms] = ContextVar("forms", default=CPU)


def by_platform(platform: str) -> Forms:
    """The forms of cpu, gpu or tpu."""
    return {"cpu": CPU, "tpu": TPU}.get(platform, GPU)


def current() -> Forms:
    """The forms of the program that is being traced."""
    return _current.get()


@contextlib.contextmanager
def using(forms: Forms) -> Iterator[None]:
    """What is traced in this block uses these forms."""
    token = _current.set(forms)
    try:
        yield
    finally:
        _current.reset(token)
