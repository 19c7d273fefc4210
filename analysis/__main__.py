"""python -m analysis results/x: redraw the table and all figures of a results directory."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn, TypeVar

from analysis.draw import draw_everything
from analysis.load import ResultsError
from analysis.outcomes import Sustain
from analysis.phases import PhaseRule
from analysis.study import Definitions
from grokjax.quoting import cut

N = TypeVar("N", int, float)


def _positive(text: str) -> float:
    value = _number(text, float)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a positive number, got {cut(text)}")
    return value


def _level(text: str) -> float:
    value = _number(text, float)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(
            f"expected an accuracy above 0 and at most 1, got {cut(text)}"
        )
    return value


def _count(text: str) -> int:
    value = _number(text, int)
    if not 1 <= value < 2**31:
        raise argparse.ArgumentTypeError(
            f"expected a whole number from 1 to {2**31 - 1}, got {cut(text)}"
        )
    return value


def _number(text: str, kind: type[N]) -> N:
    try:
        return kind(text)
    except ValueError:  # also for more digits than Python reads
        told = "a whole number" if kind is int else "a number"
        raise argparse.ArgumentTypeError(f"expected {told}, got {cut(text)}") from None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and one sentence, which is shortened if an argument is very long."""
        self.exit(2, f"{self.prog}: {cut(message, 200)}; see --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m analysis", description=__doc__)
    parser.add_argument("path", help="a results directory; training may still go on in it")
    parser.add_argument(
        "--level",
        type=_level,
        help="validation accuracy that counts as grokked (default: the stop level, or 0.99)",
    )
    parser.add_argument(
        "--sustain",
        type=_count,
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
        type=_level,
        default=0.9,
        help="accuracy that the phases ask for (default: 0.9)",
    )
    late = parser.add_mutually_exclusive_group()
    late.add_argument(
        "--delay-steps",
        type=_positive,
        default=1000.0,
        help="delay of grokking in steps (default: 1000)",
    )
    late.add_argument(
        "--delay-ratio",
        type=_positive,
        help="delay of grokking as validation time over training time",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one sentence on stderr if there is nothing to analyse."""
    options = _parser().parse_args(arguments)
    definitions = Definitions(
        level=options.level,
        rule=PhaseRule(options.phase_level, options.delay_steps, options.delay_ratio),
        sustain=None if options.sustain is None else Sustain(options.sustain),
    )
    try:
        written = draw_everything(options.path, definitions, options.best_of)
    except ResultsError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(str(path) for path in written))
    return 0


if __name__ == "__main__":
    sys.exit(main())
