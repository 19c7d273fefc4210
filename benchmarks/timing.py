"""Peers measured in turn: one call of each, again and again, so that a machine's moods fall on all of them."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

REPEATS = 5
"""Measurements of each peer, at least."""
SECONDS = 1.0
"""A measurement makes calls until so much time is over."""
REST = 0.5
"""Before each: threads of another library that spin while they wait have gone to sleep by then."""


@dataclasses.dataclass
class Peer:
    """Something that trains: `make` prepares and warms up, and returns a call that gives the run-steps it made."""

    name: str
    make: Callable[[], Callable[[], int]]
    first_seconds: float = 0.0
    """Preparation and first call: compilation is in it."""
    rates: list[float] = dataclasses.field(default_factory=list)
    failed: str = ""
    """Why there are no rates."""

    @property
    def rate(self) -> float:
        """Median run-steps per second."""
        return statistics.median(self.rates) if self.rates else float("nan")


def measure(
    peers: list[Peer],
    repeats: int = REPEATS,
    note: Callable[[str], None] = print,
    seconds: float = SECONDS,
    rest: float = REST,
) -> None:
    """Fill in the rates. A peer that fails says why and is left out."""
    calls = {}
    for peer in peers:
        began = time.perf_counter()
        try:
            calls[peer.name] = peer.make()
            calls[peer.name]()
        except Exception as error:  # a peer of another library: whatever it raises is its result
            peer.failed = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
        peer.first_seconds = time.perf_counter() - began
    for _ in range(repeats):
        for peer in peers:
            if peer.name in calls:
                time.sleep(rest)
                peer.rates.append(_rate(calls[peer.name], seconds))
    for peer in peers:
        note(f"  {peer.name}: {peer.failed or f'{peer.rate:.1f} run-steps/s'}")


def _rate(call: Callable[[], int], seconds: float) -> float:
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        steps += call()
    return steps / (time.perf_counter() - began)


def rows_of(peers: list[Peer]) -> list[dict[str, Any]]:
    """The peers as rows of a table."""
    return [
        {"peer": p.name, "rate": round(p.rate, 2), "first_seconds": round(p.first_seconds, 1)}
        | {"rates": [round(r, 2) for r in p.rates], "failed": p.failed}
        for p in peers
    ]
