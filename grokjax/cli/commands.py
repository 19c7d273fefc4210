"""The command line of run.py: words in, exit code out."""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import sys
from pathlib import Path
from typing import Any

from grokjax import signals
from grokjax.experiment.loading import ConfigError, load_with_places
from grokjax.quoting import cut, cut_path

log = logging.getLogger("grokjax")


def main(words: list[str]) -> int:
    """Returns 0 for success, 2 for a mistake of the user, 75 when a signal ended a training that can be continued.

    --verify returns 1 if it finds damage.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    log.setLevel(logging.INFO)
    if "-h" in words or "--help" in words or not words:
        from grokjax.cli.help import help_text

        sys.stdout.write(help_text())
        return 0 if words else 2
    try:
        args = _parse(words)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return _guarded(args)


_OPTIONS = ("plan", "measure", "verify", "out", "no_figures", "on", "share", "plan_to")


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--verify", action="store_true")
    parser.add_argument("--out", action="append")
    parser.add_argument("--on")
    parser.add_argument("--share")
    parser.add_argument("--plan-to")
    parser.add_argument("--no-figures", action="store_true")
    try:
        args, unknown = parser.parse_known_intermixed_args(words)
    except argparse.ArgumentError as error:
        raise ConfigError(f"{error.argument_name}: {cut(error.message)}; see --help") from None
    if unknown:
        setting = unknown[0].lstrip("-") if "=" in unknown[0] else ""
        hint = f"; write a setting without dashes: {cut(setting)}" if setting else ""
        raise ConfigError(f"{cut(unknown[0])}: is not an option{hint}; see --help")
    if len(args.out or ()) > 1:
        raise ConfigError("--out: is given twice; give one results directory")
    args.out = args.out[0] if args.out else None
    for name in ("measure", "verify"):
        others = {*_OPTIONS} - {name}
        if getattr(args, name) and any(getattr(args, other) for other in others):
            raise ConfigError(
                f"--{name}: cannot be used with other options; remove them, or see --help"
            )
    alone = [n for n in ("plan", "on", "share", "plan_to") if getattr(args, n)]
    if len(alone) > 1:
        first, second = (f"--{name.replace('_', '-')}" for name in alone[:2])
        raise ConfigError(f"{first}: cannot be used with {second}; remove one of them")
    if args.verify and len(args.words) > 1:
        raise ConfigError(
            f"{cut(args.words[1])}: --verify takes only a results directory; remove this word"
        )
    if not args.words or "=" in args.words[0]:
        first = (
            "a results directory, for example results/quickstart"
            if args.measure or args.verify
            else "a configuration file, for example configs/quickstart.yaml"
        )
        raise ConfigError(f"run.py: the first word must be {first}; see --help")
    args.config, *args.overrides = args.words
    args.given = words
    return args


def _guarded(args: argparse.Namespace) -> int:
    from grokjax.cluster.errors import ClusterError
    from grokjax.results.locks import Locked

    try:
        return _run(args)
    except (ConfigError, ClusterError, Locked) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        where = f"{cut_path(error.filename)}: " if error.filename else ""
        sys.stderr.write(
            f"{where}{error.strerror or error}; what was saved is kept; solve this and run the same command again\n"
        )
        return 2
    except KeyboardInterrupt:
        return signals.end(
            "stopped at once; the last checkpoint is kept; run the same command again to continue"
        )


def _run(args: argparse.Namespace) -> int:
    if args.measure:
        return _measure(args)
    if args.verify:
        return _verify(Path(args.config))
    overrides = list(args.overrides)
    if args.out is not None:
        overrides.append(f"execution.out={json.dumps(args.out)}")  # quoted: '1' is a name here
    experiment, places = load_with_places(args.config, overrides)
    if args.plan:
        from grokjax.cli.estimate import plan_text

        sys.stdout.write(plan_text(experiment, places))
        return 0
    if args.plan_to:
        from grokjax.cli.estimate import write_plan

        write_plan(experiment, places, Path(args.plan_to))
        return 0
    return _train(args, experiment, places)


def _measure(args: argparse.Namespace) -> int:
    from grokjax.driver.measure import measure_directory

    for file in measure_directory(Path(args.config), args.overrides):
        log.info(f"wrote {file}")
    return 0


def _verify(path: Path) -> int:
    """Returns 1 where something is damaged."""
    from grokjax.results.directory import check_is_results
    from grokjax.results.verify import verify

    check_is_results(path)
    report = verify(path)
    for problem in report.problems:
        log.info(problem)
    n = len(report.problems)
    found = "nothing is damaged" if n == 0 else f"{n} problem{'s' * (n > 1)}, named above"
    log.info(f"{cut_path(path)}: {report.ended} of {report.runs} runs have ended; {found}")
    if report.unverified:
        log.info(
            f"{report.unverified} runs were written by an older version without checksums, so that damage to them "
            "cannot be noticed"
        )
    return 1 if n else 0


def _train(args: argparse.Namespace, experiment: Any, places: Any) -> int:
    from grokjax.driver.trainer import Interrupted

    try:
        path = _results(args, experiment, places)
    except Interrupted:
        again = shlex.join(["python", "run.py", *args.given])
        return signals.end(f"interrupted; everything is saved. Continue with: {again}")
    code = 0 if args.no_figures or args.share else _draw(path)
    log.info(f"results in {path}")
    return code


def _results(args: argparse.Namespace, experiment: Any, places: Any) -> Path:
    """The results directory, after the training of all runs, or of a share."""
    if args.on:
        from grokjax.cluster.session import run_on

        return run_on(args.on, experiment, places, args.config, args.overrides)
    if args.share:
        from grokjax.driver.share_session import train_share

        return train_share(experiment, args.share, places)
    from grokjax.driver.session import run_experiment

    return run_experiment(experiment, places=places, page=not args.no_figures)


def _draw(path: Path) -> int:
    import analysis

    try:
        for file in analysis.draw_everything(path):
            log.info(f"wrote {file}")
    except analysis.ResultsError as error:
        sys.stderr.write(f"{error}; the training is done and saved\n")
        return 2
    return 0
