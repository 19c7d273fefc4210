"""The sources. Every folder source_NNN beside this one is a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from analysis.sources.core.claims import Claim
from analysis.sources.core.plots import Picture
from analysis.sources.core.published import Published, load

FOLDER = Path(__file__).parent.parent


@dataclass(frozen=True)
class Source:
    """What a source claims, and the figures of its plot list: file stem -> function that draws."""

    title: str
    claims: Sequence[Claim]
    experiments: Sequence[str]
    pictures: Mapping[str, Picture]


def source_numbers(folder: Path = FOLDER) -> list[str]:
    """Numbers of all folders source_NNN that have a claims.yaml, in order."""
    paths = folder.glob("source_*/claims.yaml")
    return sorted(path.parent.name.removeprefix("source_") for path in paths)


def published(number: str) -> Published:
    """What claims.yaml says, read with the source's own quantities and checks. Raises PublishedError."""
    special = import_module(f"analysis.sources.source_{number}.special")
    text = (FOLDER / f"source_{number}" / "claims.yaml").read_text(encoding="utf-8")
    return load(text, f"source {number}", special.QUANTITIES, special.CHECKS)


def load_source(number: str) -> Source:
    """Claims and figures of a source. Raises PublishedError."""
    contents = published(number)
    plots = import_module(f"analysis.sources.source_{number}.plots")
    return Source(
        contents.title, contents.claims, contents.experiments, plots.pictures(contents.sets)
    )
