"""The cells of the grid as a LaTeX table, for the package booktabs."""

from __future__ import annotations

import math
from pathlib import Path

from analysis.cells import Cell
from analysis.figures.style import caption_start, definition, missing_runs
from analysis.statistics import Interval
from analysis.study import Study
from grokjax.atomic import own_name, replacing

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
}


def escaped(text: str) -> str:
    """A text as LaTeX prints it."""
    return "".join(_SPECIAL.get(sign, sign) for sign in text).replace("\u00a0", "~")


def latex_table(study: Study) -> str:
    """A tabular environment with a row for each cell; what its numbers mean stands above it as a comment."""
    head = [
        *(axis.label for axis in study.axes),
        "runs",
        "arrived",
        "median steps",
        r"95 % interval",
    ]
    about = " ".join(filter(None, [caption_start(study), definition(study), missing_runs(study)]))
    rows = [" & ".join(_row(study, cell)) + r" \\" for cell in study.cells()]
    return "\n".join(
        [
            f"% {about}",
            r"% needs \usepackage{booktabs}",
            rf"\begin{{tabular}}{{{'r' * len(head)}}}",
            r"\toprule",
            " & ".join(map(escaped, head)) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _row(study: Study, cell: Cell) -> list[str]:
    found = study.summary(cell.runs)
    places = [escaped(axis.texts[i]) for axis, i in zip(study.axes, cell.index, strict=True)]
    return [*places, str(found.n), str(found.hits), *_median(found.median, study.budget)]


def _median(median: Interval, budget: int) -> tuple[str, str]:
    """The median and its interval; a median beyond the budget and an open interval are said to be so."""
    if math.isnan(median.estimate):
        return "not observed", ""
    estimate = (
        _steps(median.estimate) if math.isfinite(median.estimate) else f"$>$\\,{_steps(budget)}"
    )
    if not math.isfinite(median.low):
        return estimate, ""
    high = _steps(median.high) if math.isfinite(median.high) else r"$\infty$"
    return estimate, f"{_steps(median.low)}--{high}"


def _steps(steps: float) -> str:
    return f"{steps:,.0f}".replace(",", r"\,")


def write_latex(study: Study, path: Path) -> Path:
    """Write the table, whole or not at all."""
    with replacing(path, own_name(path)) as aside:
        aside.write_text(latex_table(study), encoding="utf-8")
    return path
