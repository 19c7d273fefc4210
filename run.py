"""Train a grid of grokking runs, or continue it, then draw its figures: python run.py configs/quickstart.yaml"""

import sys

from grokjax import signals

if __name__ == "__main__":
    signals.watch()
    from grokjax.cli.commands import main  # takes a second, in which a signal is heard already

    sys.exit(main(sys.argv[1:]))
