"""Writes report.html, and beside it the files that are too large for it or change while training goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from analysis.report.curves import METRICS, blocks, curve, grids_of
from analysis.report.data import page_data
from analysis.report.head import head
from analysis.report.page import as_script, page
from analysis.study import Study
from grokjax.atomic import own_name, replacing

PAGE, FOLDER = "report.html", "report_files"
INSIDE = 20_000
"""With more runs than this, the curves of the metrics are in side files too."""
BLOCK = 5_000
"""Runs in one side file."""
SMALL = 2_000_000
"""Values of all curves of a directory that stand in the page, where there are no more than this."""
MOST_PROBES = 200
"""Probes that the page offers; entries of long vectors come last."""


def write_report(
    study: Study,
    path: Path,
    progress: dict[str, Any] | None = None,
    comparison: dict[str, Any] | None = None,
) -> list[Path]:
    """Write the page and its side files, each whole or not at all. Returns their paths.

    `progress` is what a training tells of itself while it goes on; open pages then follow it. `comparison`: what stands
    above, where the study has two experiments.
    """
    data = whole_data(study, path, progress) | {"comparison": comparison}
    folder = path / FOLDER
    written = _write_side_files(study, folder, data)
    files = {path / PAGE: page(data)}
    if progress is not None or folder.is_dir():
        folder.mkdir(exist_ok=True)
        now = {"version": data["version"], "ended": progress is None, "progress": progress}
        if progress is not None:
            files[folder / "data.js"] = as_script("grokjaxData", data)
        files[folder / "version.js"] = as_script("grokjaxVersion", now)
    for file, text in files.items():
        _write(file, text)
    if progress is None:
        (folder / "data.js").unlink(missing_ok=True)
    return [*written, *files]


def whole_data(study: Study, path: Path, progress: dict[str, Any] | None) -> dict[str, Any]:
    """Everything that stands in the page itself."""
    probes = probes_of(study)
    inside = probes if study.n_runs * len(probes) * 128 <= SMALL else list(METRICS)
    inside = inside if study.n_runs <= INSIDE else []
    _, grid = grids_of(study.dataset["step"].to_numpy())
    everyone = slice(0, study.n_runs)
    return {
        **page_data(study),
        "head": head(study, path, progress),
        "version": f"{time.time():.3f}",
        "live": progress is not None,
        "probes": probes,
        "block": BLOCK,
        "curves": {probe: [curve(study, probe, everyone, grid)] for probe in inside},
    }


def probes_of(study: Study) -> list[str]:
    """The metrics, then all other probes, those with one value first."""
    names = [str(name) for name in study.dataset["probe"].to_numpy() if str(name) not in METRICS]
    return [*METRICS, *sorted(names, key=lambda name: "/" in name)][:MOST_PROBES]


def _write_side_files(study: Study, folder: Path, data: dict[str, Any]) -> list[Path]:
    """The curves that are not in the page: for each probe a file for each block of runs."""
    outside = [probe for probe in data["probes"] if probe not in data["curves"]]
    if not outside:
        return []
    folder.mkdir(exist_ok=True)
    _, grid = grids_of(study.dataset["step"].to_numpy())
    written = []
    for probe in outside:
        number = data["probes"].index(probe)
        for k, runs in enumerate(blocks(study.n_runs, BLOCK)):
            file = folder / f"curves_{number}_{k}.js"
            content = curve(study, probe, runs, grid)
            _write(file, as_script("grokjaxCurves", data["version"], probe, content))
            written.append(file)
    return written


def _write(file: Path, text: str) -> None:
    with replacing(file, own_name(file)) as aside:
        aside.write_text(text, encoding="utf-8")
