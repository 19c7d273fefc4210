"""python -m analysis figure DIR KIND: one figure, exactly as wanted."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_pgf import LatexError

from analysis.chosen import KINDS, STYLES, figure
from analysis.commands.unfinished import check_finished
from analysis.commands.words import Parser, level, positive, size
from analysis.figures.style import Look, looking, write_caption, write_figure
from analysis.load import ResultsError
from grokjax.quoting import cut, cut_path

FORMATS = ("pdf", "png", "svg", "pgf")


def parser() -> argparse.ArgumentParser:
    """The words of this command."""
    own = Parser(prog="python -m analysis figure", description=__doc__)
    own.add_argument("path", metavar="DIR", help="a results directory")
    own.add_argument("kind", metavar="KIND", help=f"one of {', '.join(KINDS)}")
    own.add_argument(
        "--x", help="axis across: a setting that varied, also by the last part of its name"
    )
    own.add_argument("--y", help="axis up, of median_time and phases (none: bars over --x)")
    own.add_argument("--hue", help="axis with a line and a colour for each value (none: one line)")
    own.add_argument(
        "--panel", action="append", help="axis with a panel for each value (may be repeated; none: no panels); "
        "axes that are not named are pooled then. Without --panel all other axes have panels",
    )  # fmt: skip
    own.add_argument(
        "--values", action="append", help="a value to draw, of probes (may be repeated)"
    )
    own.add_argument(
        "--where", action="append", default=[], metavar="CONDITION",
        help="only runs with this, such as 'optimizer.weight_decay=1' or 'task.p>=31' (may be repeated)",
    )  # fmt: skip
    own.add_argument("--level", type=level, help="validation accuracy that counts as grokked")
    own.add_argument(
        "--style", default="screen", help=f"one of {', '.join(STYLES)} (default: screen)"
    )
    own.add_argument("--size", type=size, metavar="WxH", help="in inches, such as 3.3x2.5")
    own.add_argument("--font", type=positive, help="size of the text in points")
    own.add_argument("--title", help="a text above the figure; none: no titles at all")
    own.add_argument(
        "--format", help=f"one or more of {','.join(FORMATS)} (default: from --out, or pdf)"
    )
    own.add_argument("--out", type=Path, help="file to write (default: DIR/figures/KIND.pdf)")
    own.add_argument("--unfinished", action="store_true", help="draw also while training goes on")
    return own


def main(words: Sequence[str]) -> list[Path]:
    """Draw and write the figure; returns the files. Raises ResultsError."""
    given = parser().parse_args(words)
    out = given.out or Path(given.path) / "figures" / f"{given.kind}.pdf"
    formats = _formats(given.format, out)
    check_finished(Path(given.path), given.unfinished)
    panel = None if given.panel is None else [name for name in given.panel if name != "none"]
    drawn = figure(
        given.path, given.kind, x=given.x, y=given.y, hue=given.hue, panel=panel, values=given.values,
        where=given.where, level=given.level, size=given.size, font=given.font, style=given.style,
        title=given.title, caption=False if "pgf" in formats else None,
    )  # fmt: skip
    fixed = given.size is not None or STYLES[given.style].size is not None
    tight = {} if fixed else {"bbox_inches": "tight", "pad_inches": 0.12}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with looking(Look(font=given.font or STYLES[given.style].font)):
            files = [write_figure(drawn, out.with_suffix(f".{form}"), **tight) for form in formats]
        return [*files, *write_caption(drawn, out.with_suffix(".txt"))]
    except LatexError as error:
        told = str(error).strip().splitlines()[0]
        raise ResultsError(
            f"--format pgf: xelatex cannot set its text ({cut(told)}); complete the TeX distribution, or use pdf"
        ) from error
    except OSError as error:
        raise ResultsError(
            f"--out {cut_path(out)}: cannot be written ({error.strerror or error}); give another file"
        ) from error


def _formats(given: str | None, out: Path) -> list[str]:
    """The endings of the files. Raises ResultsError."""
    wanted = given.split(",") if given else [out.suffix[1:] or "pdf"]
    for form in wanted:
        if form not in FORMATS:
            flag = f"--format {cut(given)}" if given else f"--out {cut_path(out)}"
            raise ResultsError(f"{flag}: must be one of {', '.join(FORMATS)}")
    if "pgf" in wanted and shutil.which("xelatex") is None:
        raise ResultsError(
            "--format pgf: needs xelatex, which is not installed; install a TeX distribution, or use pdf"
        )
    return wanted
