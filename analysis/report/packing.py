"""Arrays as text for the page: the smallest type that keeps every number, deflated, in base64."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np

LEVEL = 6
"""Of zlib: higher ones take much longer and save little."""

MOST_WORDS = 256
"""With more different texts than this, as with the ids of runs, they are deflated too."""


def pack(values: np.ndarray) -> dict[str, Any]:
    """Numbers or texts. Texts become codes of a list of words."""
    if values.dtype.kind in "UO":
        words, codes = np.unique(values.astype(str), return_inverse=True)
        if len(words) <= MOST_WORDS:
            return {"words": words.tolist(), "code": pack(codes)}
        lines = np.frombuffer("\0".join(words).encode(), np.uint8)
        return {"lines": packed(lines), "code": pack(codes)}
    return packed(smallest(values))


def packed(values: np.ndarray) -> dict[str, Any]:
    """An array as it is, in the byte order of all machines that show pages."""
    raw = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    text = base64.b64encode(zlib.compress(raw, LEVEL)).decode("ascii")
    return {"type": f"{values.dtype.kind}{values.dtype.itemsize}", "shape": values.shape, "z": text}


def smallest(values: np.ndarray) -> np.ndarray:
    """The same numbers in the smallest type that holds them all exactly; NaN and inf need a float."""
    numbers = np.asarray(values, np.float64)
    for kind in (np.uint8, np.uint16, np.int32, np.float32):
        with np.errstate(invalid="ignore", over="ignore"):
            small = numbers.astype(kind)
        if np.array_equal(small.astype(np.float64), numbers, equal_nan=True):
            return small
    return numbers
