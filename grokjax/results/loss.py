"""What is lost on disk, as a sentence for the user."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from grokjax.quoting import cut_path


class Loss(NamedTuple):
    """Something on disk that cannot be used."""

    path: Path
    why: str
    """As the end of 'PATH: ...'."""
    runs: tuple[str, ...] = ()
    """Runs of which something is lost."""
    what: str = "results"
    """What of these runs is lost."""

    def __str__(self) -> str:
        return self.told("")

    def told(self, advice: str) -> str:
        """One sentence: the file, what is wrong, what is lost, and what to do about the runs that lost something."""
        n = len(self.runs)
        named = ", ".join([*self.runs[:3], *(["..."] if n > 3 else [])])
        lost = f"; the {self.what} of {n} run{'s' * (n > 1)} ({named}) cannot be used" if n else ""
        return f"{cut_path(self.path)}: {self.why}{lost}{f'; {advice}' if n and advice else ''}"
