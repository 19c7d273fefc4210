"""Where the values of an axis stand: on a linear or a log scale, or evenly as names do."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from analysis.cells import Axis

# A range this wide is read as a ratio.
LOG_SPAN = 20.0
# Width of a character as a share of the axis.
TICK_ROOM = 0.026


def _is_log(x: Axis) -> bool:
    return (
        x.numeric
        and float(x.values[0]) > 0
        and float(x.values[-1]) >= LOG_SPAN * float(x.values[0])
    )


def _is_even(x: Axis) -> bool:
    """Names, and wide ranges that contain zero, stand in equal distances."""
    if not x.numeric:
        return True
    sizes = np.abs([float(value) for value in x.values])
    return not _is_log(x) and bool(sizes.max() >= LOG_SPAN * sizes[sizes > 0].min())


def moved(x: Axis, index: int, fraction: float) -> float:
    """Where a value stands, moved sideways by a fraction of the distance between values.

    That is the smallest distance, as long as it is not below half of the mean one.
    """
    if _is_even(x):
        return index + fraction
    values = np.array(x.values, float)
    places = np.log(values) if _is_log(x) else values
    gaps = np.diff(places)
    place = float(places[index] + fraction * max(gaps.min(), gaps.mean() / 2))
    return float(np.exp(place)) if _is_log(x) else place


def scale(ax: Axes, x: Axis) -> None:
    """Log scale where due, and ticks at the values themselves as far as there is room."""
    if _is_log(x):
        ax.set_xscale("log")
    at, few = [moved(x, index, 0) for index in range(len(x.values))], _with_room(x)
    ax.set_xticks([at[i] for i in few], [x.texts[i] for i in few])
    ax.set_xticks([], minor=True)
    ax.set_xlim(moved(x, 0, -0.5), moved(x, len(x.values) - 1, 0.5))


def _with_room(x: Axis) -> list[int]:
    """Indices of values far enough from the last one kept for their labels to stand apart."""
    at = np.array([moved(x, index, 0) for index in range(len(x.values))])
    place = np.log(at) if _is_log(x) else at
    place = (place - place[0]) / (place[-1] - place[0])
    room, kept = TICK_ROOM * max(map(len, x.texts)), [0]
    for index in range(1, len(place)):
        if place[index] - place[kept[-1]] >= room:
            kept.append(index)
    return kept
