"""What the coordinator knows of the workers: from the files in which they say that they are alive. No JAX."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grokjax.results.shares import Share, folder

FROZEN_SECONDS = 60.0
"""A worker that was heard of, and then not for so long, is given up: its share is placed anew."""


@dataclass
class Placement:
    """A share that was given to the scheduler."""

    share: Share
    stamp: str = ""
    """Of the worker's last message before; an older worker's counts as no message."""
    heard: float | None = None
    """When this worker was last heard of, by our own clock; None: it has not started yet."""
    said: dict[str, Any] = field(default_factory=dict)
    moving: bool = False
    """Whether it was asked to end, so that others get a part of its runs."""

    @property
    def tally(self) -> dict[str, Any]:
        """The numbers of its last message; empty before the first."""
        return self.said.get("tally", {})

    def ask(self, path: Path, now: float) -> None:
        """Look for a new message."""
        text = newest_message(path, self.share.name)
        if text and text != self.stamp:
            self.stamp, self.heard = text, now
            self.said = _as_json(text) or self.said

    def is_frozen(self, now: float) -> bool:
        """Whether the worker has started, and says nothing any more. Clocks of other machines do not matter."""
        return self.heard is not None and now - self.heard > FROZEN_SECONDS


def newest_message(path: Path, name: str) -> str:
    """What the last worker of a share said; empty if there was none."""
    numbers = [int(d.name) for d in (folder(path) / name).glob("*") if d.name.isdigit()]
    if not numbers:
        return ""
    try:
        return (folder(path) / name / str(max(numbers)) / "progress.json").read_text()
    except OSError:
        return ""


def _as_json(text: str) -> dict[str, Any] | None:
    try:
        return json.loads(text)
    except ValueError:
        return None
