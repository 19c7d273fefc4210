"""How large a task is. A task that is too large is refused before any of its rows is created."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from grokjax.settings import SettingError, Settings

MAX_ROWS = 100_000_000
"""Largest number of rows of a task. The host keeps as many numbers in memory for each split."""
MAX_BYTES = 2**39
"""Limit in bytes for the numbers of an evaluation if the memory is not known: 512 GiB. No single device of today has so
much (an H200 has 139 GiB), so what was trained on one is never refused afterwards."""
SMALL = 2**30
"""A task with at most so many bytes fits on every device, so the memory is not asked for."""


class Size(NamedTuple):
    """Size of a task, and the setting that makes it large."""

    rows: int
    width: int
    """Least number of numbers that an evaluation of one run keeps for each row."""
    setting: str

    @property
    def n_bytes(self) -> int:
        return 4 * self.rows * self.width


SizeOf = Callable[[Any], Size]


def too_large(
    settings: Settings, size_of: SizeOf, memory: Callable[[], int]
) -> SettingError | None:
    """An error that says why a task is too large, or None. `memory` is called only if the task is not small."""
    size = size_of(settings)
    if size.rows <= MAX_ROWS and size.n_bytes <= SMALL:
        return None
    limit = memory()
    if _fits(size, limit):
        return None
    value = getattr(settings, size.setting)
    most = _largest(settings, size_of, size.setting, limit)
    return SettingError(
        size.setting,
        f"{value} makes {size.rows:,} rows of {size.width:,} numbers, "
        f"{_gigabytes(size.n_bytes)} in each evaluation; at most {_gigabytes(limit)} are available, and at most "
        f"{MAX_ROWS:,} rows are possible; use at most {most}",
    )


def _fits(size: Size, limit: int) -> bool:
    return size.rows <= MAX_ROWS and size.n_bytes <= limit


def _largest(settings: Settings, size_of: SizeOf, name: str, limit: int) -> int:
    """The largest value of a setting with which the task fits."""
    fitting, value = 1, getattr(settings, name)
    while value - fitting > 1:
        middle = (fitting + value) // 2
        changed = settings.model_copy(update={name: middle})
        fits = _fits(size_of(changed), limit)
        fitting, value = (middle, value) if fits else (fitting, middle)
    return fitting


def _gigabytes(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:,.1f} GiB"
