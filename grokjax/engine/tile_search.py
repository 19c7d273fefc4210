"""How many tiles a device should have: measured on the first chunks of a group, and remembered.

No training is wasted: the chunks are normal training, and a run's numbers do not depend on how many runs there are.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grokjax.atomic import own_name, replacing

NEAR = 0.97
"""A number of tiles counts as good as the best if its rate is at least this share of the best rate."""

log = logging.getLogger("grokjax")


class TileSearch:
    """Tries 1, 2, 4, ... tiles per device, one chunk each. Then it uses the largest number with nearly the best rate.

    Of equal rates the larger number is better for refilling: when a run ends within a chunk, the device still has other
    runs to train.
    """

    def __init__(
        self,
        most: int,
        known: int | None = None,
        when_found: Callable[[TileSearch], None] = lambda _: None,
    ):
        self.rates: dict[int, float] = {}
        self._when_found = when_found
        self._left = [] if known else _doublings(most)
        self._chosen = min(known or most, most)

    @property
    def searching(self) -> bool:
        return bool(self._left)

    @property
    def tiles(self) -> int:
        """Number of tiles per device to fill now."""
        return self._left[0] if self._left else self._chosen

    def observe(self, run_steps: int, seconds: float, tiles_in_use: int) -> None:
        """Note the run-steps and seconds of a chunk, and how many tiles per device were in use."""
        if not self._left:
            return
        if tiles_in_use < self._left[0]:  # no run waits any more: nothing is left to measure
            self._left, self._chosen = [], self._left[0]
        else:
            self.rates[self._left.pop(0)] = run_steps / max(seconds, 1e-9)
            if not self._left:
                best = max(self.rates.values())
                self._chosen = max(n for n, rate in self.rates.items() if rate >= NEAR * best)
        if not self._left and self.rates:
            self._when_found(self)


def _doublings(most: int) -> list[int]:
    """1, 2, 4, ... and `most`; empty if `most` is 1, because there is no choice."""
    tried = [2**i for i in range(most.bit_length()) if 2**i < most]
    return [*tried, most] if tried else []


class Memory:
    """A small file of choices, by program and device. If it is lost, the search takes a few chunks again."""

    def __init__(self, path: Path):
        self.path = path

    def _read(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            choices = json.loads(self.path.read_text())
            if isinstance(choices, dict):
                return choices
        return {}

    def recall(self, key: str) -> int | None:
        """The earlier choice; None if there is none, or if the file is damaged."""
        choice = self._read().get(key)
        tiles = choice.get("tiles") if isinstance(choice, dict) else None
        return tiles if isinstance(tiles, int) and tiles > 0 else None

    def note(self, key: str, search: TileSearch) -> None:
        """Remember the choice. If the file cannot be written, training continues."""
        rates = {str(n): round(rate, 1) for n, rate in search.rates.items()}
        known = self._read() | {key: {"tiles": search.tiles, "run_steps_per_second": rates}}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path, own_name(self.path)) as aside:
                aside.write_text(json.dumps(known, indent=1))
        except OSError as error:
            log.debug("%s cannot be written: %s", self.path, error.strerror)


def remembered_search(path: Path, key: str, most: int, fixed: bool) -> TileSearch:
    """A search that begins with the choice stored under `key` and stores its own. `fixed`: no search, always `most`."""
    memory = Memory(path)
    known = most if fixed else memory.recall(key)
    return TileSearch(most, known, lambda search: memory.note(key, search))
