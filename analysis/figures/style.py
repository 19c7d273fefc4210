"""What all figures share: colours, captions, the form of numbers, and how files are written."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.study import Study
from grokjax.atomic import own_name, replacing

# Okabe and Ito 2008, without yellow, which is hard to see on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
TRAIN, VAL = PALETTE[0], PALETTE[1]
PHASE_COLOURS = {
    "comprehension": "#009E73",
    "grokking": "#E69F00",
    "memorisation": "#0072B2",
    "confusion": "#CC79A7",
    "diverged": "#404040",
    "undecided": "#D4D4D4",
}
RC: Any = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "pdf.fonttype": 42,
}
PGF: Any = {"pgf.rcfonts": False, "pgf.preamble": r"\usepackage{underscore}"}
"""A figure in LaTeX has the fonts of its document."""
NUMBERS = "\\providecommand{\\mathdefault}[1]{#1}%\n"
"""The one command of matplotlib that its figures use in LaTeX and do not define."""
CHARACTERS_PER_INCH = 13.5
NARROW = 5.5
"""Figures that are narrower, in inches at a font of 10 points, have their legend above and not beside the panels."""
CAPTION = "caption"


@dataclass(frozen=True)
class Look:
    """What a reader wants of a figure. `size` in inches, None: as large as what is drawn needs; `font` in points."""

    size: tuple[float, float] | None = None
    font: float = 10.0


_look: ContextVar[Look | None] = ContextVar("look", default=None)


def _wanted() -> Look:
    return _look.get() or Look()


@contextlib.contextmanager
def looking(look: Look) -> Iterator[None]:
    """Figures that are drawn in this block look so."""
    token = _look.set(look)
    font: Any = {"font.size": look.font, "axes.titlesize": look.font}
    try:
        with mpl.rc_context({**RC, **font}):
            yield
    finally:
        _look.reset(token)


def points(size: float) -> float:
    """A font size, given for a font of 10 points, in the one wanted."""
    return size * _wanted().font / 10


def new_figure(width: float, height: float) -> Figure:
    """An empty figure; sizes in inches, unless the reader wants another.

    Not by pyplot, which has global state and may need a display.
    """
    look = _wanted()
    scale = look.font / 10
    size = look.size or (width * scale, height * scale)
    return Figure(figsize=size, layout="constrained")


def room(figure: Figure) -> float:
    """Width in inches at a font of 10 points: how much text has room beside each other."""
    return figure.get_figwidth() * 10 / _wanted().font


def most_panels(width: float, height: float) -> int:
    """How many panels of this size, at a font of 10 points, have room in the size that the reader wants."""
    look = _wanted()
    if look.size is None:
        return 10**6
    across, down = (side * 10 / look.font for side in look.size)
    return max(1, int(across / width) * max(1, int(down / height)))


def side_legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """A legend beside the panels, or above them where the figure is narrow."""
    if room(figure) >= NARROW:
        figure.legend(handles=handles, loc="outside right upper", fontsize=points(9))
        return
    longest = max((len(str(handle.get_label())) for handle in handles), default=1)
    columns = max(1, min(len(handles), int(room(figure) * 14 / (longest + 6))))
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, fontsize=points(8),
                  columnspacing=1.0, handletextpad=0.5)  # fmt: skip


def add_caption(figure: Figure, *sentences: str) -> None:
    """Add text below the axes. `save` makes the file as large as what is drawn, so the text is never cut off."""
    text = " ".join(sentence for sentence in sentences if sentence)
    wrapped = textwrap.fill(text, int(room(figure) * CHARACTERS_PER_INCH))
    drawn = figure.text(
        0.01,
        -0.12 / figure.get_figheight(),
        wrapped,
        va="top",
        ha="left",
        fontsize=points(9),
        color="#303030",
        gid=CAPTION,
    )
    drawn.set_label(text)


def caption_of(figure: Figure) -> str:
    """The whole caption, on one line; empty where there is none."""
    return " ".join(str(text.get_label()) for text in figure.texts if text.get_gid() == CAPTION)


def caption_start(study: Study) -> str:
    """The start of a caption: which experiment, how many runs, which budget, and how many runs still train."""
    going = sum(status in ("waiting", "running") for status in study.status)
    sizes = sorted({len(cell.runs) for cell in study.cells()})
    seeds = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    name, n = study.dataset.attrs["name"], study.n_runs
    text = f"{name}: n = {n:,} runs, {seeds} a cell (seeds pooled), budget {study.budget:,} steps."
    if chosen := study.dataset.attrs.get("where"):
        text += f" Only runs with {' and '.join(chosen)}."
    elif study.grid_size > n:
        text += f" Not begun yet, hence not drawn: {study.grid_size - n:,} of {study.grid_size:,}."
    if axis := study.dataset.attrs.get("best_of"):
        text += f" Of the runs that differ only in {axis}: the one with the lowest training loss at its end."
    return text + (f" Training still going on: {going} of {n} runs." if going else "")


def definition(study: Study) -> str:
    """A sentence for the caption that defines the time."""
    lasting = (
        ""
        if study.sustain is None
        else f" and stays there for {study.sustain.evaluations} evaluations more"
    )
    reached = f"validation accuracy is at least {percent(study.level)}"
    return f"Time: first evaluation whose {reached}{lasting}."


def missing_runs(study: Study) -> str:
    """Sentences for the caption about runs that have no time for another reason than the end of the budget."""
    summary = study.summary(study.everyone)
    text = f"Diverged (can never arrive): {summary.diverged}." if summary.diverged else ""
    if summary.not_observed:
        text += f" Not observed (ended by the stop rule below this level): {summary.not_observed};"
        text += " where there is one, no median is given."
    return text.strip()


def late_runs(study: Study) -> str:
    """Sentences for the caption: how many runs had not arrived at their last evaluation."""
    summary, n = study.summary(study.everyone), study.n_runs
    ended = summary.censored - summary.undecided
    text = f"Not by step {study.budget:,} (censored): {ended:,} of {n:,} runs." if ended else ""
    if summary.undecided:
        text += f" Not yet, but still training: {summary.undecided:,} of {n:,}."
    return text.strip()


def arrivals(study: Study, runs: NDArray[np.int64]) -> str:
    """A text for runs of which none arrived: how many ended in which way."""
    summary = study.summary(runs)
    parts = {
        f"not by step {study.budget:,} (censored)": summary.censored - summary.undecided,
        "diverged": summary.diverged,
        "ended before (not observed)": summary.not_observed,
        "still training": summary.undecided,
    }
    told = [f"{count} {what}" for what, count in parts.items() if count]
    return "\n".join([f"none of n = {summary.n} runs arrived:", *told])


def time_label(study: Study) -> str:
    """Label of the time axis, with its unit."""
    return f"steps to {percent(study.level)} validation accuracy"


MOST_LINES = 200
"""Single runs that are drawn as lines of their own in a panel."""


def some_rows(values: np.ndarray, most: int = MOST_LINES) -> np.ndarray:
    """At most so many rows, evenly chosen. Medians and quantiles are of all rows."""
    return (
        values if len(values) <= most else values[np.linspace(0, len(values) - 1, most).astype(int)]
    )


def percent(level: float) -> str:
    """0.995 as '99.5 %', with a no-break space."""
    return f"{100 * level:g}\u00a0%"


def short(steps: float) -> str:
    """Steps in at most five characters: 850, 1,650, 12k, 1.2M."""
    if steps < 9_995:
        return f"{steps:,.0f}"
    if steps < 999_500:
        return f"{steps / 1e3:.0f}k"
    return f"{steps / 1e6:.2g}M" if steps < 9.95e6 else f"{steps / 1e6:.0f}M"


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write stem.png (200 dpi), stem.pdf and the caption as stem.txt, each whole or not at all."""
    files = [stem.with_name(f"{stem.name}.{form}") for form in ("png", "pdf")]
    for path in files:
        write_figure(figure, path, bbox_inches="tight", pad_inches=0.12)
        # Laid out once: the second file has the places of the first.
        figure.set_layout_engine("none")
    return [*files, *write_caption(figure, stem.with_name(f"{stem.name}.txt"))]


def write_figure(figure: Figure, path: Path, **options: Any) -> Path:
    """Write a figure in the format that the file's ending names."""
    form = path.suffix[1:]
    undated: Any = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    if form in undated:
        options["metadata"] = undated[form]
    with replacing(path, own_name(path)) as aside, mpl.rc_context(PGF):
        figure.savefig(aside, format=form, dpi=200, **options)
        if form == "pgf":
            aside.write_text(NUMBERS + aside.read_text())
    return path


def write_caption(figure: Figure, path: Path) -> list[Path]:
    """Write the caption of a figure that has one."""
    text = caption_of(figure)
    if not text:
        return []
    with replacing(path, own_name(path)) as aside:
        aside.write_text(text + "\n", encoding="utf-8")
    return [path]
