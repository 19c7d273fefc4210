"""One figure of a results directory, exactly as wanted: kind, axes, runs, level, size and font."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from analysis.cells import Axis
from analysis.figures import (
    FIGURES,
    axis_curves,
    best_accuracy,
    curves,
    heatmaps,
    phase_diagram,
    probe_panels,
)
from analysis.figures.style import CAPTION, Look, add_caption, caption_of, looking
from analysis.load import ResultsError, load
from analysis.study import Definitions, Study, make_study, scalar_names
from analysis.where import full_name, where
from grokjax.quoting import cut

STYLES = {
    "screen": Look(),
    "paper": Look((3.3, 2.6), 8.0),
    "slide": Look((10.0, 5.6), 16.0),
}
"""`screen` is as large as what is drawn needs; `paper` fits one column."""


@dataclass(frozen=True)
class Wanted:
    """The axes of a figure, by name; None leaves the choice to the kind. `panel`: the only axes with panels."""

    x: str | None = None
    y: str | None = None
    hue: str | None = None
    panel: tuple[str, ...] | None = None
    values: tuple[str, ...] | None = None
    """Values that probes recorded, for the kind probes."""


def figure(
    path: str | Path,
    kind: str,
    *,
    x: str | None = None,
    y: str | None = None,
    hue: str | None = None,
    panel: str | Sequence[str] | None = None,
    values: Sequence[str] | None = None,
    where: Sequence[str] = (),
    level: float | None = None,
    size: tuple[float, float] | None = None,
    font: float | None = None,
    style: str = "screen",
    title: str | None = None,
    caption: bool | None = None,
) -> Figure:
    """A matplotlib Figure of a results directory, to be saved or changed further.

    `kind` is one of KINDS. `size` is in inches, `font` in points; both replace those of the `style` (STYLES).
    `title`: a text above the figure, or 'none' for no titles of panels either. `caption`: whether its text stands
    below the figure too (default: only in the style screen); `caption_of` gives it. Raises ResultsError.
    """
    study = _study(path, where, level)
    look = look_of(style, size, font)
    panels = (panel,) if isinstance(panel, str) else None if panel is None else tuple(panel)
    wanted = Wanted(x, y, hue, panels, None if values is None else tuple(values))
    return draw_wanted(
        study, kind, wanted, look, title, style == "screen" if caption is None else caption
    )


def draw_wanted(
    study: Study, kind: str, wanted: Wanted, look: Look, title: str | None, caption: bool
) -> Figure:
    """The same of a study that is there already."""
    if kind not in KINDS:
        raise ResultsError(
            f"figure {cut(kind)}: there is no such kind; choose from {', '.join(KINDS)}"
        )
    study, pooled = _with_panels(study, wanted)
    with looking(look):
        drawn = KINDS[kind](study, wanted)
        _finish(drawn, look, title, caption, pooled)
    return drawn


def look_of(style: str, size: tuple[float, float] | None, font: float | None) -> Look:
    """A style with what replaces parts of it. Raises ResultsError."""
    if style not in STYLES:
        raise ResultsError(
            f"--style {cut(style)}: there is no such style; choose from {', '.join(STYLES)}"
        )
    if size is not None and not all(0.5 <= side <= 100 for side in size):
        raise ResultsError(
            f"--size {size[0]:g}x{size[1]:g}: width and height must be from 0.5 to 100 inches"
        )
    if font is not None and not 3 <= font <= 72:
        raise ResultsError(f"--font {font:g}: must be from 3 to 72 points")
    look = STYLES[style]
    return Look(size or look.size, font or look.font)


def _study(path: str | Path, conditions: Sequence[str], level: float | None) -> Study:
    if level is not None and not 0 < level <= 1:
        raise ResultsError(
            f"--level {level:g}: must be an accuracy above 0 and at most 1, such as 0.99"
        )
    dataset = where(load(path), conditions)
    return make_study(dataset, Definitions(level=level))


def _with_panels(study: Study, wanted: Wanted) -> tuple[Study, str]:
    """The study with the axes that are drawn or have panels, and a sentence about those that are pooled."""
    if wanted.panel is None:
        return study, ""
    names = [n for n in (wanted.x, wanted.y, wanted.hue, *wanted.panel) if n not in (None, "none")]
    kept = list(dict.fromkeys(axis_named(study, str(name), "--panel").name for name in names))
    axes = {axis.name: axis for axis in study.axes}
    pooled = [axis.label for name, axis in axes.items() if name not in kept]
    told = f"All values of {' and '.join(pooled)} are pooled." if pooled else ""
    return dataclasses.replace(study, axes=tuple(axes[name] for name in kept)), told


def axis_named(study: Study, name: str, flag: str) -> Axis:
    """An axis that varied. Raises ResultsError."""
    varied = [axis.name for axis in study.axes]
    dataset = study.dataset
    if name in dataset.coords and dataset[name].dims == ("run",) and name not in ", ".join(varied):
        raise ResultsError(
            f"{flag} {cut(name)}: did not vary in these runs; choose from {', '.join(varied) or 'none'}"
        )
    found = full_name(name, varied, flag)
    return study.axes[varied.index(found)]


def _finish(drawn: Figure, look: Look, title: str | None, caption: bool, pooled: str) -> None:
    """Titles, the caption and the size of labels that are drawn later."""
    if pooled:
        text = f"{caption_of(drawn)} {pooled}"
        _remove_caption(drawn)
        add_caption(drawn, text)
    if not caption:
        _hide_caption(drawn)
    if title == "none":
        for ax in drawn.axes:
            ax.set_title("")
    elif title:
        drawn.suptitle(title, fontsize=look.font * 1.1)


def _remove_caption(drawn: Figure) -> None:
    for text in [text for text in drawn.texts if text.get_gid() == CAPTION]:
        text.remove()


def _hide_caption(drawn: Figure) -> None:
    for text in drawn.texts:
        if text.get_gid() == CAPTION:
            text.set_visible(False)


def _time(study: Study, wanted: Wanted) -> Figure:
    _refuse(wanted, "time", "y", "values")
    return axis_curves.draw_axis(study, *_across(study, wanted, "time"))


def _best(study: Study, wanted: Wanted) -> Figure:
    _refuse(wanted, "best", "y", "values")
    return best_accuracy.draw_axis(study, *_across(study, wanted, "best"))


def _across(study: Study, wanted: Wanted, kind: str) -> tuple[Axis, Axis | None]:
    """The axis across, and the one with a line for each value."""
    x = _axis(study, wanted.x, "--x", 0, kind)
    if wanted.hue == "none":
        return x, None
    others = [axis for axis in study.axes if axis is not x]
    return x, axis_named(study, wanted.hue, "--hue") if wanted.hue else next(iter(others), None)


def _median_time(study: Study, wanted: Wanted) -> Figure:
    _refuse(wanted, "median_time", "hue", "values")
    return heatmaps.draw_pair(study, *_pair(study, wanted, "median_time"))


def _phases(study: Study, wanted: Wanted) -> Figure:
    _refuse(wanted, "phases", "hue", "values")
    if len(study.axes) == 1 or wanted.y == "none":
        return phase_diagram.draw_single(study, _axis(study, wanted.x, "--x", 0, "phases"))
    return phase_diagram.draw_pair(study, *_pair(study, wanted, "phases"))


def _curves(study: Study, wanted: Wanted) -> Figure:
    _refuse(wanted, "curves", "x", "y", "hue", "values")
    return next(iter(curves.draw(study)))[1]


def _probes(study: Study, wanted: Wanted) -> Figure:
    _refuse(wanted, "probes", "x", "y")
    if wanted.hue is not None:
        hue = () if wanted.hue == "none" else (axis_named(study, wanted.hue, "--hue"),)
        others = tuple(axis for axis in study.axes if axis not in hue)
        study = dataclasses.replace(study, axes=hue + others if hue else ())
    known = scalar_names(study.dataset)
    names = [full_name(name, known, "--values") for name in wanted.values or known]
    return probe_panels.draw_page(study, names[: probe_panels.MOST])


def _axis(study: Study, name: str | None, flag: str, place: int, kind: str) -> Axis:
    if name is not None:
        return axis_named(study, name, flag)
    if place >= len(study.axes):
        raise ResultsError(
            f"figure {kind}: needs {place + 1} axes, but {len(study.axes)} settings varied in these runs; "
            "choose another kind"
        )
    return study.axes[place]


def _pair(study: Study, wanted: Wanted, kind: str) -> tuple[Axis, Axis]:
    """Two different axes."""
    x = _axis(study, wanted.x, "--x", 0, kind) if wanted.x else None
    y = _axis(study, wanted.y, "--y", 1, kind) if wanted.y else None
    x = (
        x
        or next((axis for axis in study.axes if axis is not y), None)
        or _axis(study, None, "--x", 1, kind)
    )
    y = (
        y
        or next((axis for axis in study.axes if axis is not x), None)
        or _axis(study, None, "--y", 1, kind)
    )
    if x is y:
        raise ResultsError(f"--y {y.name}: is the same axis as --x; choose two different ones")
    return x, y


def _refuse(wanted: Wanted, kind: str, *names: str) -> None:
    for name in names:
        if getattr(wanted, name) is not None:
            raise ResultsError(f"--{name}: the figure {kind} has none; leave it out")


def _listed(name: str) -> Callable[[Study, Wanted], Figure]:
    """The first figure of a kind that a user added to FIGURES."""

    def draw(study: Study, wanted: Wanted) -> Figure:
        _refuse(wanted, name, "x", "y", "hue", "values")
        for _, drawn in FIGURES[name](study):
            return drawn
        raise ResultsError(f"figure {name}: has nothing to show for these runs")

    return draw


_DRAWN_ABOVE = [
    kind.draw
    for kind in (axis_curves, best_accuracy, heatmaps, phase_diagram, curves, probe_panels)
]
KINDS: dict[str, Callable[[Study, Wanted], Figure]] = {
    "time": _time,
    "best": _best,
    "median_time": _median_time,
    "phases": _phases,
    "curves": _curves,
    "probes": _probes,
    **{name: _listed(name) for name, draw in FIGURES.items() if draw not in _DRAWN_ABOVE},
}
"""The kinds of figures by their names on the command line."""
