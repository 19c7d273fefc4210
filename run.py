"""Train a grid of grokking runs, or continue it, then draw its figures: python run.py configs/quickstart.yaml"""

import os
import sys

from grokjax import signals

if __name__ == "__main__":
    signals.watch()
    from grokjax.cli.commands import main  # takes a second, in which a signal is heard already

    code = main(sys.argv[1:])
    if code == 2:
        # All is said. Python's own end would wait for threads that still write, and they print what stopped them.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
