"""python -m analysis table DIR: the cells of the grid as a LaTeX table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from analysis.commands.unfinished import check_finished
from analysis.commands.words import Parser, level
from analysis.latex import write_latex
from analysis.load import ResultsError, load
from analysis.study import Definitions, make_study
from analysis.where import where
from grokjax.quoting import cut_path


def parser() -> argparse.ArgumentParser:
    """The words of this command."""
    own = Parser(prog="python -m analysis table", description=__doc__)
    own.add_argument("path", metavar="DIR", help="a results directory")
    own.add_argument(
        "--where", action="append", default=[], metavar="CONDITION",
        help="only runs with this, such as 'optimizer.weight_decay=1' (may be repeated)",
    )  # fmt: skip
    own.add_argument("--level", type=level, help="validation accuracy that counts as grokked")
    own.add_argument("--out", type=Path, help="file to write (default: DIR/cells.tex)")
    own.add_argument("--unfinished", action="store_true", help="write also while training goes on")
    return own


def main(words: Sequence[str]) -> list[Path]:
    """Write the table. Raises ResultsError."""
    given = parser().parse_args(words)
    out = given.out or Path(given.path) / "cells.tex"
    check_finished(Path(given.path), given.unfinished)
    study = make_study(where(load(given.path), given.where), Definitions(level=given.level))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        return [write_latex(study, out)]
    except OSError as error:
        raise ResultsError(
            f"--out {cut_path(out)}: cannot be written ({error.strerror or error}); give another file"
        ) from error
