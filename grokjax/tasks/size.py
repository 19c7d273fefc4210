"""How large a task is. A task that is too large is refused before any of its rows is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from grokjax.settings import SettingError, Settings

MAX_ROWS = 100_000_000
"""Rows of a task; as many numbers lie in the host's memory for each of its splits."""
MAX_BYTES = 2**37
"""Of an evaluation's numbers, where it is not known how much memory there is: no device of today has more."""
SMALL = 2**30
"""Bytes that fit everywhere, so that nobody has to ask for the memory."""


class Size(NamedTuple):
    """Of a task, and the setting that makes it large."""

    rows: int
    width: int
    """Numbers that an evaluation of one run holds at least for each row."""
    setting: str

    @property
    def n_bytes(self) -> int:
        return 4 * self.rows * self.width


SizeOf = Callable[[Any], Size]


def too_large(
    settings: Settings, size_of: SizeOf, memory: Callable[[], int]
) -> SettingError | None:
    """Why a task cannot be trained. `memory` is asked for its bytes where the task is not small."""
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
