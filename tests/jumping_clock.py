"""The command line on a machine whose clock jumps every three seconds, back and forth: python -m tests.jumping_clock
CONFIG ..."""

from __future__ import annotations

import sys
import time

from grokjax.cli.commands import main

JUMPS = (0.0, 86_400.0, -7_200.0, 3_600.0, -400_000.0)

if __name__ == "__main__":
    real, began = time.time, time.monotonic()
    time.time = lambda: real() + JUMPS[int((time.monotonic() - began) / 3) % len(JUMPS)]
    sys.exit(main(sys.argv[1:]))
