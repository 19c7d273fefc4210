"""Writes the tables, the page and all figures of a results directory."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

from analysis.asked import asked_figures, draw_asked
from analysis.best import best_of
from analysis.figures import FIGURES
from analysis.figures.style import Look, looking, save
from analysis.latex import write_latex
from analysis.load import ResultsError, load
from analysis.report import write_report
from analysis.study import Definitions, Study, make_study
from analysis.table import write_cells, write_parquet, write_table
from grokjax.quoting import cut, cut_path

log = logging.getLogger("grokjax")

DEFAULT = Definitions()


def draw_everything(
    path: str | Path, definitions: Definitions = DEFAULT, best: str | None = None
) -> list[Path]:
    """Write runs.csv, runs.parquet, cells.csv, report.html, figures/*.png and *.pdf below `path`.

    Returns the paths written.

    `best`: an axis; of the runs that differ only in it, only the best one counts (analysis.best.best_of).

    Each file is written whole or not at all. This can be called at any time, also while training goes on. Raises
    ResultsError for a directory without results, for one that cannot be written, and, once all others are written, if
    some figures could not be drawn.
    """
    path = Path(path)
    dataset = load(path)
    study = make_study(dataset if best is None else best_of(dataset, best), definitions)
    try:
        return _write(study, path)
    except OSError as error:
        where = cut_path(error.filename2 or error.filename or path)
        raise ResultsError(
            f"{where}: cannot be written ({error.strerror or error}); "
            "free some disk space, or move away what is at this path"
        ) from error


def _write(study: Study, path: Path) -> list[Path]:
    written = [
        write_table(study, path / "runs.csv"),
        write_parquet(study, path / "runs.parquet"),
        write_cells(study, path / "cells.csv"),
        write_latex(study, path / "cells.tex"),
        *write_report(study, path),
    ]
    figures, faults = draw_figures(study, path / "figures")
    written += figures + _draw_asked(study, path / "figures")
    if faults:
        raise ResultsError(_undrawn(faults, cut_path(path)))
    return written


def draw_figures(study: Study, folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Draw all kinds into a folder. Returns the files, and for kinds that could not be drawn why."""
    folder.mkdir(exist_ok=True)
    written: list[Path] = []
    faults: dict[str, str] = {}
    with looking(Look()):
        for kind in FIGURES:
            files, fault = _draw_kind(kind, study, folder)
            written += files
            if fault is not None:
                faults[kind] = fault
                log.warning(f"figure {kind}: {fault}; the other figures are drawn")
    return written, faults


def _draw_asked(study: Study, folder: Path) -> list[Path]:
    """The figures that the configuration asks for. One that these results do not have is told and left out."""
    written: list[Path] = []
    for name, asked in asked_figures(study):
        try:
            written += draw_asked(study, name, asked, folder)
        except ResultsError as error:
            log.warning(f"figures: {name}: {error}; the other figures are drawn")
    return written


def _draw_kind(kind: str, study: Study, folder: Path) -> tuple[list[Path], str | None]:
    """(files written, what went wrong in words). Raises OSError only for a file that cannot be written."""
    written: list[Path] = []
    try:
        figures = list(FIGURES[kind](study))
    except Exception as error:  # whatever a user's function raises
        return written, _told(error)
    for name, figure in figures:
        try:
            written += save(figure, folder / name)
        except OSError:
            raise
        except Exception as error:  # some mistakes show only when text and lines are laid out
            return written, _told(error)
    return written, None


def _undrawn(faults: dict[str, str], path: str) -> str:
    named = "; ".join(f"{kind}: {fault}" for kind, fault in faults.items())
    return (
        f"{path}: {len(faults)} of {len(FIGURES)} kinds of figures could not be drawn ({named}); the tables and the "
        "other figures are written; correct the functions that analysis/figures/__init__.py lists under these names, "
        f"then run python -m analysis {path}"
    )


def _told(error: Exception) -> str:
    """The error, and the last line of our own or of the user's code on the way to it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename]
    where = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {cut(error, 200)}{where}"
