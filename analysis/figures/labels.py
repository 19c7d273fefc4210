"""Labels that do not overlap: they are turned if that helps, else some are left out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis as Ruler
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import BboxBase

from analysis.cells import Axis

ROOM = 0.3
"""Least distance between two labels, in heights of a label."""

CHARACTER = 0.08
"""Width of a character of 10 points in inches, about."""
CELL_SHARE = 0.9
"""Part of a cell's width that its text may take."""


def fit_ticks(figure: Figure, axes: Iterable[Axes], turn: bool = False) -> None:
    """Make the labels of horizontal axes not overlap: with `turn` they are turned first, then some are removed.

    The ticks stay. Call it last, because what is drawn later can make the axes narrower.
    """
    axes = list(axes)
    figure.draw_without_rendering()
    for ax in axes:
        labels = _shown(ax.get_xticklabels())
        angle = _angle(labels) if turn else 0
        if angle:
            for label in labels:
                label.set(rotation=angle, ha="right" if angle < 90 else "center")
                label.set_rotation_mode("anchor" if angle < 90 else "default")
    figure.draw_without_rendering()
    for ax in axes:
        _thin(ax.get_xticklabels(), ax.xaxis)


def fit_vertical_ticks(figure: Figure, ax: Axes) -> None:
    """The same for the vertical axis. Its labels are not turned."""
    figure.draw_without_rendering()
    _thin(ax.get_yticklabels(), ax.yaxis)


def fit_texts(figure: Figure, texts: Sequence[Text]) -> bool:
    """Remove all texts if two of them overlap, because a part of them would mislead. Returns whether they stay."""
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in texts]
    if len(standing_apart(boxes)) == len(boxes):
        return True
    for text in texts:
        text.remove()
    return False


def fit_in_cells(figure: Figure, panels: Iterable[Axes], columns: int) -> None:
    """Make all texts inside lattices equally smaller, so that the widest fits into a cell."""
    figure.draw_without_rendering()
    panels = list(panels)
    room = min(ax.get_window_extent().width for ax in panels) / columns
    texts = [text for ax in panels for text in ax.texts]
    widest = max((text.get_window_extent().width for text in texts), default=0.0)
    if widest > CELL_SHARE * room:
        for text in texts:
            text.set_fontsize(float(text.get_fontsize()) * CELL_SHARE * room / widest)


def standing_apart(boxes: Sequence[BboxBase]) -> list[int]:
    """Indices of the first box, and of every later box with room between it and the last one kept."""
    kept = [0] if boxes else []
    for index, box in enumerate(boxes[1:], 1):
        if _apart(boxes[kept[-1]], box):
            kept.append(index)
    return kept


def _apart(a: BboxBase, b: BboxBase) -> bool:
    beside = max(b.x0 - a.x1, a.x0 - b.x1)
    above = max(b.y0 - a.y1, a.y0 - b.y1)
    line = min(a.height, 1.6 * a.width)  # a label that is turned is as high as its text is long
    return beside >= ROOM * line or above >= 0


def name_room(axis: Axis) -> float:
    """Inches that the names of an axis need more than numbers do."""
    return CHARACTER * max(0, max(map(len, axis.ticks)) - 6)


def turned_room(axis: Axis, pitch: float) -> float:
    """The same below the axis, where the names, so many inches apart, are too long to stand beside each other."""
    beside = CHARACTER * max(map(len, axis.ticks)) < pitch
    return 0.0 if axis.numeric or beside else name_room(axis)


def _shown(labels: Sequence[Text]) -> list[Text]:
    return [label for label in labels if label.get_visible() and label.get_text()]


def _angle(labels: list[Text]) -> int:
    """Angle of the labels in degrees: the first of 0, 45 and 90 at which they fit."""
    boxes = [label.get_window_extent() for label in labels]
    if len(standing_apart(boxes)) == len(boxes):
        return 0
    pitch = min(b.x0 + b.x1 - a.x0 - a.x1 for a, b in itertools.pairwise(boxes)) / 2
    return 45 if pitch * math.sin(math.radians(45)) >= 1.1 * boxes[0].height else 90


def _thin(labels: Sequence[Text], axis: Ruler) -> None:
    """Remove the labels without room. Their ticks stay."""
    shown = _shown(labels)
    kept = [shown[i] for i in _with_room(shown)]
    if len(kept) < len(shown):
        axis.set_ticklabels([label.get_text() if label in kept else "" for label in labels])


def _with_room(labels: list[Text]) -> list[int]:
    """Labels to keep: every second, third, ..., because it looks regular, unless another choice keeps many more."""
    if not labels or labels[0].get_rotation() == 45:  # turned by 45 degrees only if all have room
        return list(range(len(labels)))
    boxes = [label.get_window_extent() for label in labels]
    most = standing_apart(boxes)
    for every in range(1, len(boxes)):
        regular = list(range(0, len(boxes), every))
        if len(standing_apart([boxes[i] for i in regular])) == len(regular):
            return regular if len(regular) >= 0.6 * len(most) else most
    return most
