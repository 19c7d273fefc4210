"""The command line on a machine whose clock jumps by hours, back and forth: python -m tests.jumping_clock CONFIG ..."""

from __future__ import annotations

import itertools
import sys
import time

from grokjax.cli.commands import main

if __name__ == "__main__":
    real, jumps = time.time, itertools.cycle([0.0, 86_400.0, -7_200.0, 3_600.0, -400_000.0])
    time.time = lambda: real() + next(jumps)
    sys.exit(main(sys.argv[1:]))
