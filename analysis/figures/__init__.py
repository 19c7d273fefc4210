"""The kinds of figures: name -> function from a study to named figures; none if there is nothing to show."""

from collections.abc import Callable, Iterator

from matplotlib.figure import Figure

from analysis.figures import (
    axis_curves,
    best_accuracy,
    curves,
    heatmaps,
    phase_diagram,
    probe_panels,
)
from analysis.study import Study

FIGURES: dict[str, Callable[[Study], Iterator[tuple[str, Figure]]]] = {
    "curves": curves.draw,
    "axis_curves": axis_curves.draw,
    "best_accuracy": best_accuracy.draw,
    "heatmaps": heatmaps.draw,
    "phase_diagram": phase_diagram.draw,
    "probe_panels": probe_panels.draw,
}
