"""Positions of the values of an axis: on a linear or a log scale, or at equal distances, as for names."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from analysis.cells import Axis

# A range with at least this ratio has a log scale.
LOG_SPAN = 20.0
# How far a mark may be from its value, so that nobody takes it for another value: as a share of the least distance
# between numbers, of that between names, and of the axis.
OF_GAP, OF_NAMES_GAP, OF_AXIS = 0.25, 0.3, 0.03
# Room before the first and after the last value: as a share of the range for numbers, in columns for names.
MARGIN, NAMES_MARGIN = 0.09, 0.5


def _is_log(x: Axis) -> bool:
    return (
        x.numeric
        and float(x.values[0]) > 0
        and float(x.values[-1]) >= LOG_SPAN * float(x.values[0])
    )


def _is_even(x: Axis) -> bool:
    """Whether values have equal distances: names, and wide ranges with zero or negative numbers."""
    if not x.numeric:
        return True
    sizes = np.abs([float(value) for value in x.values])
    return not _is_log(x) and bool(sizes.max() >= LOG_SPAN * sizes[sizes > 0].min())


def _places(x: Axis) -> np.ndarray:
    """Positions of the values on a scale with the same distances as in the figure."""
    if _is_even(x):
        return np.arange(len(x.values), dtype=float)
    values = np.array(x.values, float)
    return np.log(values) if _is_log(x) else values


def _margin(x: Axis) -> float:
    return MARGIN * float(np.ptp(_places(x))) if x.numeric else NAMES_MARGIN


def _reach(x: Axis) -> float:
    """How far marks may be moved: little compared with the distance to the next value, and with the axis."""
    gap = float(np.diff(_places(x)).min())
    if not x.numeric:  # a mark between two names is not taken for another value
        return OF_NAMES_GAP * gap
    return min(OF_GAP * gap, OF_AXIS * (float(np.ptp(_places(x))) + 2 * _margin(x)))


def moved(x: Axis, index: int, share: float) -> float:
    """Position of a value, moved sideways by a share, -1 to 1, of the largest distance allowed."""
    return _on_axis(x, float(_places(x)[index]) + share * _reach(x))


def _on_axis(x: Axis, place: float) -> float:
    return float(np.exp(place)) if _is_log(x) else place


def scale(ax: Axes, x: Axis) -> None:
    """Set a log scale if the range needs one, and a labelled tick at every value. `fit_ticks` removes some labels."""
    if _is_log(x):
        ax.set_xscale("log")
    places = _places(x)
    ax.set_xticks([_on_axis(x, place) for place in places], x.ticks)
    ax.set_xticks([], minor=True)
    ax.set_xlim(_on_axis(x, places[0] - _margin(x)), _on_axis(x, places[-1] + _margin(x)))


def spacing_note(x: Axis) -> str:
    """A sentence for the caption if equal distances on the axis are not equal differences of values."""
    if x.numeric and _is_even(x):
        return f"The values of {x.label} stand in equal distances, whatever lies between them."
    return ""
