"""Writes the table and draws all figures of a results directory."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

from analysis.figures import FIGURES
from analysis.figures.style import RC, save
from analysis.load import ResultsError, load
from analysis.study import Definitions, Study, make_study
from analysis.table import write_cells, write_table
from grokjax.quoting import cut_path

DEFAULT = Definitions()


def draw_everything(path: str | Path, definitions: Definitions = DEFAULT) -> list[Path]:
    """Write runs.csv, cells.csv and figures/*.png, *.pdf below `path`. Returns the paths that were written.

    Each file is written whole or not at all. This can be called at any time, also while training goes on. Raises
    ResultsError for a directory without results, and for one that cannot be written.
    """
    path = Path(path)
    study = make_study(load(path), definitions)
    try:
        return _write(study, path)
    except OSError as error:
        where = cut_path(error.filename2 or error.filename or path)
        raise ResultsError(
            f"{where}: cannot be written ({error.strerror or error}); "
            "free some disk space, or move away what is at this path"
        ) from error


def _write(study: Study, path: Path) -> list[Path]:
    written = [write_table(study, path / "runs.csv"), write_cells(study, path / "cells.csv")]
    folder = path / "figures"
    folder.mkdir(exist_ok=True)
    with mpl.rc_context(RC):
        for draw in FIGURES.values():
            for name, figure in draw(study):
                written += save(figure, folder / name)
    return written
