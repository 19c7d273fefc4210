"""The figures that a configuration asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from analysis.chosen import Wanted, draw_wanted, look_of
from analysis.figures.style import write_caption, write_figure
from analysis.load import ResultsError
from analysis.study import Definitions, Study, make_study
from analysis.where import where


def asked_figures(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name of the file, what was asked) of each."""
    entries = study.dataset.attrs["settings"].get("figures") or []
    for number, entry in enumerate(entries, 1):
        yield entry.get("name") or f"{entry['draw']}_{number}", entry


def draw_asked(study: Study, name: str, asked: dict[str, Any], folder: Path) -> list[Path]:
    """Write one of them. Raises ResultsError where these results have no such figure."""
    style = asked.get("style") or "screen"
    size, panel, values = (_tuple(asked.get(part)) for part in ("size", "panel", "values"))
    look = look_of(style, size, asked.get("font"))  # type: ignore[arg-type]
    wanted = Wanted(asked.get("x"), asked.get("y"), asked.get("hue"), panel, values)
    level = asked.get("level")
    definitions = Definitions(level or study.level, study.rule, study.sustain)
    try:
        some = make_study(where(study.dataset, asked.get("where") or ()), definitions)
        drawn = draw_wanted(
            some, asked["draw"], wanted, look, asked.get("title"), style == "screen"
        )
    except ResultsError as error:
        raise ResultsError(str(error).replace("--", "")) from error
    fixed = look.size is not None
    tight: dict[str, Any] = {} if fixed else {"bbox_inches": "tight", "pad_inches": 0.12}
    files = [
        write_figure(drawn, folder / f"{name}.{form}", **tight)
        for form in asked.get("format") or ("png", "pdf")
    ]
    return [*files, *write_caption(drawn, folder / f"{name}.txt")]


def _tuple(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)
