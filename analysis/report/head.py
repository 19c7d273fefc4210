"""The head of the page: what the experiment claims, how far it is, on which machine, which definitions hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figures.style import definition
from analysis.study import Study
from grokjax.results.experiment_file import claim


def head(study: Study, path: Path, progress: dict[str, Any] | None = None) -> dict[str, Any]:
    """Plain data. `progress`: what a training told of itself, None where none goes on."""
    statuses, counts = np.unique(study.status, return_counts=True)
    return {
        "claim": claim(path),
        "path": path.resolve().name,
        "folder": str(path),
        "statuses": dict(zip(statuses.tolist(), counts.tolist(), strict=True)),
        "grid": study.grid_size,
        "varied": dict(study.dataset.attrs["axes"]),
        "settings": _flat(study.dataset.attrs["settings"]),
        "definitions": [
            definition(study),
            f"Phases after Liu et al. (2022); {study.rule.describe()}.",
        ],
        "starts": _starts(path / "provenance.jsonl"),
        "progress": progress,
    }


def _flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Settings by their dotted names, without axes and what only describes the file."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if not prefix and name in ("axes", "schema", "grokjax", "figures"):
            continue
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


_TOLD = ("time", "command", "python", "commit", "versions", "platform", "devices", "precision")


def _starts(file: Path) -> list[dict[str, Any]]:
    """The first and the last start, as far as they were recorded."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        facts = [json.loads(line) for line in (lines[:1] + lines[1:][-1:])]
    except (OSError, ValueError):
        return []
    return [{name: fact.get(name) for name in _TOLD} for fact in facts if isinstance(fact, dict)]
