"""What the page knows: a study as plain data that JSON can hold."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex

from analysis.cells import SEEDS
from analysis.figures.style import PALETTE, PHASE_COLOURS
from analysis.outcomes import STATES
from analysis.phases import PHASES
from analysis.report.curves import grids_of
from analysis.report.outcome_columns import levels_of, outcomes
from analysis.report.packing import pack
from analysis.study import Study, scalar_names
from analysis.table import COUNTS, table_columns
from grokjax.experiment.axis_names import split_names


def page_data(study: Study) -> dict[str, Any]:
    """All of it but the curves: axes, columns of the runs, and when each run reached each level."""
    grids, grid = grids_of(study.dataset["step"].to_numpy())
    return {
        "name": study.dataset.attrs["name"],
        "n": study.n_runs,
        "budget": study.budget,
        "level": study.level,
        "rule": {
            "level": study.rule.level,
            "steps": study.rule.delay_steps,
            "ratio": study.rule.delay_ratio,
        },
        "levels": levels_of(study),
        "states": STATES,
        "phases": PHASES,
        "colours": {"palette": PALETTE, "phases": PHASE_COLOURS, "viridis": _viridis()},
        "axes": _axes(study),
        "columns": _columns(study),
        "outcomes": outcomes(study),
        "grids": [pack(steps) for steps in grids],
        "grid": pack(grid),
    }


def _viridis() -> list[str]:
    """The colours of the heat maps."""
    return [to_hex(colour) for colour in mpl.colormaps["viridis"](np.linspace(0, 1, 64))]


def _axes(study: Study) -> list[dict[str, Any]]:
    return [
        {
            "name": axis.name,
            "label": axis.label,
            "values": list(axis.values),
            "texts": axis.texts,
            "numeric": axis.numeric,
            "code": pack(axis.code),
        }
        for axis in study.axes
    ]


def _columns(study: Study) -> dict[str, Any]:
    """The columns of runs.csv that do not follow from outcomes, by name."""
    varied = [name for axis in study.dataset.attrs["axes"] for name in split_names(axis)]
    names = ["id", "group", *varied, *SEEDS, "status", *COUNTS, "last_step"]
    names += [f"final_{probe}" for probe in scalar_names(study.dataset)]
    table = table_columns(study)
    return {
        name: _column(table[name]) for name in dict.fromkeys([*names, "phase"]) if name in table
    }


def _column(values: np.ndarray) -> dict[str, Any]:
    if values.dtype.kind == "b":
        values = np.where(values, "true", "false")
    return pack(values)
