"""python -m analysis.sources 002 results docs/results/source_002: writes the table and the figures of a source."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.sources import pictures_002, pictures_004, source_002, source_004
from analysis.sources.claims import Claim, Results
from analysis.sources.pictures import draw_all
from analysis.sources.write import MarkerError, table, write_between, write_runs


@dataclass(frozen=True)
class Source:
    """What a source claims, and the figures of its plot list: stem -> drawing."""

    title: str
    claims: Sequence[Claim]
    experiments: Sequence[str]
    pictures: dict[str, Callable]


SOURCES = {
    "002": Source(
        source_002.TITLE, source_002.CLAIMS, source_002.EXPERIMENTS, pictures_002.PICTURES
    ),
    "004": Source(
        source_004.TITLE, source_004.CLAIMS, source_004.EXPERIMENTS, pictures_004.PICTURES
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one sentence on stderr."""
    parser = argparse.ArgumentParser(prog="python -m analysis.sources", description=__doc__)
    parser.add_argument("source", choices=sorted(SOURCES))
    parser.add_argument("results", type=Path, help="the directory of the results directories")
    parser.add_argument("out", type=Path, help="<out>.md is written, and <out>/*.csv, *.png, *.pdf")
    options = parser.parse_args(arguments)
    if not options.results.is_dir():
        print(f"{options.results}: there is no such directory", file=sys.stderr)
        return 2
    source, results = SOURCES[options.source], Results(options.results)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    markdown = options.out.with_name(options.out.name + ".md")
    try:
        text = table(source.claims, results, source.experiments)
        written = [write_between(markdown, text, source.title)]
    except MarkerError as error:
        print(error, file=sys.stderr)
        return 2
    written += write_runs(results, source.experiments, options.out)
    written += draw_all(source.pictures, Results(options.results, partial=True), options.out)
    print("\n".join(map(str, written)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
