"""python -m analysis results/x: write the tables, the page report.html and all figures of a results directory.

Other commands (each has --help): figure DIR KIND draws one figure as wanted; table DIR writes the cells as a LaTeX
table; compare A B puts two experiments on one page; serve DIR shows a folder of results directories in a browser.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.commands import compare, figure, serve, table
from analysis.commands.words import Parser, count, level, positive
from analysis.draw import draw_everything
from analysis.load import ResultsError
from analysis.outcomes import Sustain
from analysis.phases import PhaseRule
from analysis.study import Definitions


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m analysis", description=__doc__)
    parser.add_argument("path", help="a results directory; training may still go on in it")
    parser.add_argument(
        "--level",
        type=level,
        help="validation accuracy that counts as grokked (default: the stop level, or 0.99)",
    )
    parser.add_argument(
        "--sustain",
        type=count,
        metavar="N",
        help="ask that the next N evaluations stay at the level",
    )
    parser.add_argument(
        "--best-of",
        metavar="AXIS",
        help="of the runs that differ only in this axis, use the one with the lowest training loss at its end",
    )
    parser.add_argument(
        "--phase-level",
        type=level,
        default=0.9,
        help="accuracy that the phases ask for (default: 0.9)",
    )
    late = parser.add_mutually_exclusive_group()
    late.add_argument(
        "--delay-steps",
        type=positive,
        default=1000.0,
        help="delay of grokking in steps (default: 1000)",
    )
    late.add_argument(
        "--delay-ratio",
        type=positive,
        help="delay of grokking as validation time over training time",
    )
    return parser


COMMANDS = {
    "figure": figure.main,
    "table": table.main,
    "compare": compare.main,
    "serve": serve.main,
}
"""Commands with a word of their own: words -> files written."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one sentence on stderr if there is nothing to analyse."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("grokjax").setLevel(logging.INFO)
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        command = COMMANDS.get(words[0]) if words else None
        written = command(words[1:]) if command else _draw(words)
    except ResultsError as error:
        print(error, file=sys.stderr)
        return 2
    if written:
        print("\n".join(str(path) for path in written))
    return 0


def _draw(words: Sequence[str]) -> list[Path]:
    options = _parser().parse_args(words)
    definitions = Definitions(
        level=options.level,
        rule=PhaseRule(options.phase_level, options.delay_steps, options.delay_ratio),
        sustain=None if options.sustain is None else Sustain(options.sustain),
    )
    return draw_everything(options.path, definitions, options.best_of)


if __name__ == "__main__":
    sys.exit(main())
