"""`python -m benchmarks.trees DIRECTORY DIRECTORY ...`: several checkouts of grokjax side by side on this machine.

Each measurement is a process of its own in the checkout's directory, with this interpreter, and they take turns, so
that a machine's moods fall on all of them: workloads A to D, and the seconds of the grid of workload E with slots. The
first directory is the measure. Each checkout keeps its compiled programs for the next round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROUNDS = 3
WORKLOADS = ("A", "B", "C", "D")
CHILD = "GROKJAX_CHILD"
"""Environment variable that says: measure the checkout in the working directory."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trees", description=__doc__)
    parser.add_argument("trees", nargs="+", type=Path, metavar="DIRECTORY")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    words = parser.parse_args()
    found: dict[Path, list[dict[str, float]]] = {tree: [] for tree in words.trees}
    with tempfile.TemporaryDirectory() as caches:
        for turn in range(words.rounds):
            for i, tree in enumerate(words.trees):
                found[tree].append(_in_process(tree, Path(caches) / str(i)))
                told = {name: round(x, 1) for name, x in found[tree][-1].items()}
                print(f"round {turn + 1}, {tree.name}: {told}", file=sys.stderr, flush=True)
    print("\n".join(_table(found)))


def _in_process(tree: Path, cache: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve())],
        capture_output=True,
        text=True,
        cwd=tree,
        env={
            **os.environ,
            CHILD: "1",
            "XDG_CACHE_HOME": str(cache),
            "PYTHONPATH": str(tree.resolve()),
        },
    )
    if done.returncode:
        sys.exit(f"{tree}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _measure() -> dict[str, float]:
    """Run-steps per second of A to D with a run a device, and seconds of E; modules are those of the checkout."""
    try:
        from grokjax.engine import devices
    except ImportError:  # a checkout from before the packages
        from grokjax import devices  # type: ignore[attr-defined, no-redef]
    devices.set_up()  # before anything imports a device
    import jax

    from benchmarks import grid, jax_peers, workloads
    from benchmarks.timing import Peer, measure

    workloads.LARGE = 4 * 10**8  # older ones had a budget that is refused by now
    found = {}
    for name in WORKLOADS:
        w = workloads.WORKLOADS[name]
        peer = Peer(name, lambda w=w: jax_peers.engine(w, jax.device_count()))
        measure([peer], 3, note=lambda _: None)
        if peer.failed:
            sys.exit(f"workload {name}: {peer.failed}")
        found[name] = peer.rate
    return found | {"E, s": grid.train()[0]}


def _table(found: dict[Path, list[dict[str, Any]]]) -> list[str]:
    """Medians over the rounds with the span of rounds, and medians of the ratios to the first of the same round."""
    first = next(iter(found.values()))
    names = list(first[0])
    lines = [f"| | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for tree, rounds in found.items():
        cells = []
        for name in names:
            values = [r[name] for r in rounds]
            ratios = [mine[name] / theirs[name] for mine, theirs in zip(rounds, first, strict=True)]
            span = f"{min(values):,.1f} to {max(values):,.1f}"
            cells.append(
                f"{statistics.median(values):,.1f} ({span}; {statistics.median(ratios):.2f} x)"
            )
        lines.append(f"| {tree.name} | {' | '.join(cells)} |")
    return [*lines, "", time.strftime("Measured %Y-%m-%d.")]


if __name__ == "__main__":
    if os.environ.get(CHILD):
        # Python puts the folder of this file first; the checkout's packages must be found instead.
        sys.path.pop(0)
        print(json.dumps(_measure()))
    else:
        main()
