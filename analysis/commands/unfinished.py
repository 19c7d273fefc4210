"""Whether somebody still writes to a results directory."""

from __future__ import annotations

from pathlib import Path

from analysis.load import ResultsError
from grokjax.quoting import cut_path
from grokjax.results.locks import holder


def check_finished(path: Path, anyway: bool) -> None:
    """Refuse a directory in which a training goes on. Raises ResultsError."""
    who = None if anyway else holder(path)
    if who is not None:
        raise ResultsError(
            f"{cut_path(path)}: is still being written by {who}; wait until it has ended, or add --unfinished to use "
            "what there is"
        )
