"""Train a grid of grokking runs, or continue it, then draw its figures: python run.py configs/quickstart.yaml"""

import sys

from grokjax.commands import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
