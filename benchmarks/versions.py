"""`python -m benchmarks.versions PYTHON PYTHON ...`: the same programs under several versions of JAX.

Each interpreter is a process of its own, and they take turns, so that a machine's moods fall on all of them: workloads
A to D of grokjax alone, and the seconds until their first calls are done. The first interpreter is the measure.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

WORKLOADS = ("A", "B", "C", "D")
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.versions", description=__doc__)
    parser.add_argument("pythons", nargs="*", default=[sys.executable], metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.child:
        print(json.dumps(_measure()))
        return
    found: dict[str, list[dict[str, Any]]] = {python: [] for python in words.pythons}
    for turn in range(words.rounds):
        for python in words.pythons:
            found[python].append(_child(python))
            print(f"round {turn + 1}: {found[python][-1]}", file=sys.stderr, flush=True)
    print("\n".join(_table(found)))


def _child(python: str) -> dict[str, Any]:
    """One process with an empty compilation cache, so that the first call compiles."""
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [python, "-m", "benchmarks.versions", "--child"],
            capture_output=True,
            text=True,
            check=True,
            env={"XDG_CACHE_HOME": cache, "PATH": "/usr/bin:/bin"},
        )
    return json.loads(done.stdout.splitlines()[-1])


def _measure() -> dict[str, Any]:
    """Run-steps per second of each workload with one run a device, and seconds until the first call was done."""
    from grokjax.engine import devices

    devices.set_up()  # before anything imports a device
    import platform

    import jax

    from benchmarks import jax_peers
    from benchmarks.timing import Peer, measure
    from benchmarks.workloads import WORKLOADS as KNOWN

    found: dict[str, Any] = {"python": platform.python_version(), "jax": jax.__version__}
    for name in WORKLOADS:
        w = KNOWN[name]
        peer = Peer(name, lambda w=w: jax_peers.engine(w, jax.device_count()))
        measure([peer], 3, note=lambda _: None)
        if peer.failed:
            sys.exit(f"workload {name}: {peer.failed}")
        found[name] = peer.rate
        found[f"{name} compile"] = peer.first_seconds
    return found


def _table(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Medians over the rounds, and each round's ratio to the first interpreter of that round."""
    lines = [
        "| python | jax | "
        + " | ".join(f"{w}, run-steps/s" for w in WORKLOADS)
        + " | first calls, s |",
        "|---|---|" + "---|" * (len(WORKLOADS) + 1),
    ]
    first = next(iter(found.values()))
    for rounds in found.values():
        cells = []
        for name in WORKLOADS:
            rate = statistics.median(r[name] for r in rounds)
            ratio = statistics.median(
                mine[name] / theirs[name] for mine, theirs in zip(rounds, first, strict=True)
            )
            cells.append(f"{rate:,.1f} ({ratio:.2f} x)")
        compiling = statistics.median(sum(r[f"{w} compile"] for w in WORKLOADS) for r in rounds)
        cells.append(f"{compiling:.0f}")
        lines.append(f"| {rounds[0]['python']} | {rounds[0]['jax']} | {' | '.join(cells)} |")
    return [*lines, "", time.strftime("Measured %Y-%m-%d.")]


if __name__ == "__main__":
    main()
