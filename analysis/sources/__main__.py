"""python -m analysis.sources 002 results docs/results/source_002: writes the table and the figures of a source."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.sources.core.claims import Results
from analysis.sources.core.lookup import PublishedError
from analysis.sources.core.plots import draw_all
from analysis.sources.core.report import MarkerError, table, write_between, write_runs
from analysis.sources.core.source import load_source, source_numbers


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one sentence on stderr."""
    parser = argparse.ArgumentParser(prog="python -m analysis.sources", description=__doc__)
    parser.add_argument("source", choices=source_numbers())
    parser.add_argument("results", type=Path, help="the directory of the results directories")
    parser.add_argument("out", type=Path, help="<out>.md is written, and <out>/*.csv, *.png, *.pdf")
    options = parser.parse_args(arguments)
    if not options.results.is_dir():
        print(f"{options.results}: there is no such directory", file=sys.stderr)
        return 2
    try:
        written = _write(options.source, options.results, options.out)
    except (MarkerError, PublishedError) as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(map(str, written)))
    return 0


def _write(number: str, root: Path, out: Path) -> list[Path]:
    """The files of a source, the table first."""
    source, results = load_source(number), Results(root)
    out.parent.mkdir(parents=True, exist_ok=True)
    text = table(source.claims, results, source.experiments)
    written = [write_between(out.with_name(out.name + ".md"), text, source.title)]
    written += write_runs(results, source.experiments, out)
    return written + draw_all(source.pictures, Results(root, partial=True), out)


if __name__ == "__main__":
    sys.exit(main())
