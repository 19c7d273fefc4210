"""python -m analysis compare A B: two experiments on one page and in one set of figures."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.combining import combined, differences
from analysis.commands.unfinished import check_finished
from analysis.commands.words import Parser, level
from analysis.comparing import FEWEST, SharedCell, as_rows, shared_cells
from analysis.draw import draw_figures
from analysis.figures.differences import draw_differences
from analysis.figures.style import Look, looking, save
from analysis.load import ResultsError, load
from analysis.report import write_report
from analysis.study import Definitions, Study, default_level, make_study
from analysis.table import write_cells, write_rows, write_table
from grokjax.quoting import cut, cut_path
from grokjax.results.experiment_file import NAME


def parser() -> argparse.ArgumentParser:
    """The words of this command."""
    own = Parser(prog="python -m analysis compare", description=__doc__)
    own.add_argument("first", metavar="A", help="a results directory")
    own.add_argument("second", metavar="B", help="another one")
    own.add_argument("--level", type=level, help="validation accuracy that counts as grokked (default: "
                     "the lower one of the two stop levels)")  # fmt: skip
    own.add_argument("--out", type=Path, help="folder to write to (default: A_vs_B beside A)")
    own.add_argument(
        "--unfinished", action="store_true", help="compare also while training goes on"
    )
    return own


def main(words: Sequence[str]) -> list[Path]:
    """Write the page, the tables and the figures. Raises ResultsError."""
    given = parser().parse_args(words)
    paths = Path(given.first), Path(given.second)
    names = _names(*paths)
    out = given.out or paths[0].resolve().parent / f"{names[0]}_vs_{names[1]}"
    if (out / NAME).exists():
        raise ResultsError(f"--out {cut_path(out)}: is a results directory; give another folder")
    for path in paths:
        check_finished(path, given.unfinished)
    parts = dict(zip(names, map(load, paths), strict=True))
    wanted = given.level or min(map(default_level, parts.values()))
    study = make_study(combined(parts), Definitions(level=wanted))
    cells = shared_cells(study, names)
    if not cells:
        raise ResultsError(
            f"{cut(names[0])} and {cut(names[1])}: have no cell of the grid in common; compare experiments whose axes "
            "share values"
        )
    note = _note(cells, differences(*parts.values()))
    try:
        return _write(study, out, cells, names, note)
    except OSError as error:
        raise ResultsError(
            f"--out {cut_path(out)}: cannot be written ({error.strerror or error}); give another folder"
        ) from error


def _names(first: Path, second: Path) -> tuple[str, str]:
    """What the experiments are called: the names of their directories, with those above where they are equal."""
    a, b = first.resolve(), second.resolve()
    if a == b:
        raise ResultsError(f"{cut_path(second)}: is given twice; give two different directories")
    return (
        (a.name, b.name)
        if a.name != b.name
        else (f"{a.parent.name}-{a.name}", f"{b.parent.name}-{b.name}")
    )


def _write(
    study: Study, out: Path, cells: list[SharedCell], names: tuple[str, str], note: str
) -> list[Path]:
    out.mkdir(parents=True, exist_ok=True)
    comparison = {"names": names, "note": note, "cells": [_for_page(cell) for cell in cells]}
    written = [
        write_rows(as_rows(cells, names), out / "comparison.csv"),
        write_table(study, out / "runs.csv"),
        write_cells(study, out / "cells.csv"),
        *write_report(study, out, comparison=comparison),
    ]
    figures, faults = draw_figures(study, out / "figures")
    if faults:
        told = "; ".join(f"{kind}: {fault}" for kind, fault in faults.items())
        raise ResultsError(
            f"{cut_path(out)}: some figures could not be drawn ({told}); the rest is written"
        )
    with looking(Look()):
        for name, figure in draw_differences(cells, names, study.level):
            written += save(figure, out / "figures" / name)
    return written + figures


def _note(cells: list[SharedCell], different: dict[str, tuple[Any, Any]]) -> str:
    settings = "; ".join(f"{name}: {cut(a)} and {cut(b)}" for name, (a, b) in different.items())
    tested = sum(cell.p is not None for cell in cells)
    return (
        f"Settings that differ: {settings or 'none'}. {len(cells)} cells in common. Difference: second median minus "
        "first, in steps, with 95 % limits over draws of runs; where a median is beyond the budget there is none. "
        f"Log-rank p, adjusted (Holm) for the {tested} cells that were tested. Nothing is compared with fewer than "
        f"{FEWEST} runs on a side, or where the stop rule ended runs below the level."
    )


def _for_page(cell: SharedCell) -> dict[str, Any]:
    def told(x: float) -> Any:
        return (
            x
            if math.isfinite(x)
            else "not observed"
            if math.isnan(x)
            else "beyond budget"
            if x > 0
            else "-inf"
        )

    difference = cell.difference
    return {
        "label": cell.label,
        "n": cell.n,
        "median": [told(median.estimate) for median in cell.medians],
        "difference": None if difference is None else told(difference.estimate),
        "low": None if difference is None else _limit(difference.low),
        "high": None if difference is None else _limit(difference.high),
        "p": cell.p,
        "adjusted": cell.adjusted,
    }


def _limit(x: float) -> Any:
    return x if math.isfinite(x) else "no limit"
