"""Train a grid of grokking runs, or continue it, then draw its figures: python run.py configs/quickstart.yaml"""

import os
import sys
from typing import Any

from grokjax import signals


def report(unraisable: Any) -> None:
    """Print an error in a thread of a library, but not what the threads of a save say after it has failed: orbax has
    closed their event loop by then, and why the save failed is told in one sentence."""
    error = unraisable.exc_value
    if not isinstance(error, RuntimeError) or str(error) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


if __name__ == "__main__":
    signals.watch()
    sys.unraisablehook = report
    from grokjax.cli.commands import main  # takes a second, in which a signal is heard already

    code = main(sys.argv[1:])
    if code == 2:
        # All is said. Python's own end would wait for threads that still write.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
