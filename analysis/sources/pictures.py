"""Drawing whatever pictures of a source's plot list its results allow."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from analysis.figures.style import RC, save
from analysis.sources.claims import MissingError, Results

log = logging.getLogger("grokjax")


def draw_all(
    pictures: Mapping[str, Callable[[Results], Figure]], results: Results, folder: Path
) -> list[Path]:
    """Write <folder>/<name>.png and .pdf for every picture whose results are there; the others are named in the log."""
    written = []
    with mpl.rc_context(RC):
        for name, draw in pictures.items():
            try:
                figure = draw(results)
            except MissingError as missing:
                log.info("%s is not drawn: %s", name, missing)
                continue
            folder.mkdir(parents=True, exist_ok=True)
            written += save(figure, folder / name)
    return written
