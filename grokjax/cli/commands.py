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
    """Returns 0 for success, 2 for a mistake of the user, 75 when a signal ended a training that can be continued."""
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


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--out", action="append")
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
    if args.measure and (args.plan or args.out is not None or args.no_figures):
        raise ConfigError(
            "--measure: cannot be used with other options; remove them, or see --help"
        )
    if not args.words or "=" in args.words[0]:
        first = (
            "a results directory, for example results/quickstart"
            if args.measure
            else "a configuration file, for example configs/quickstart.yaml"
        )
        raise ConfigError(f"run.py: the first word must be {first}; see --help")
    args.config, *args.overrides = args.words
    args.given = words
    return args


def _guarded(args: argparse.Namespace) -> int:
    from grokjax.results.locks import Locked

    try:
        return _run(args)
    except (ConfigError, Locked) as error:
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
    overrides = list(args.overrides)
    if args.out is not None:
        overrides.append(f"execution.out={json.dumps(args.out)}")  # quoted: '1' is a name here
    experiment, places = load_with_places(args.config, overrides)
    if args.plan:
        from grokjax.cli.estimate import plan_text

        sys.stdout.write(plan_text(experiment, places))
        return 0
    return _train(args, experiment, places)


def _measure(args: argparse.Namespace) -> int:
    from grokjax.driver.measure import measure_directory

    for file in measure_directory(Path(args.config), args.overrides):
        log.info(f"wrote {file}")
    return 0


def _train(args: argparse.Namespace, experiment: Any, places: Any) -> int:
    from grokjax.driver.session import run_experiment
    from grokjax.driver.trainer import Interrupted

    try:
        path = run_experiment(experiment, places=places)
    except Interrupted:
        again = shlex.join(["python", "run.py", *args.given])
        return signals.end(f"interrupted; everything is saved. Continue with: {again}")
    code = 0 if args.no_figures else _draw(path)
    log.info(f"results in {path}")
    return code


def _draw(path: Path) -> int:
    import analysis

    try:
        for file in analysis.draw_everything(path):
            log.info(f"wrote {file}")
    except analysis.ResultsError as error:
        sys.stderr.write(f"{error}; the training is done and saved\n")
        return 2
    return 0
