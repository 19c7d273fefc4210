"""`python -m benchmarks.gpu`: what an accelerator does with workload A, in one command of at most ten minutes.

Resumable: a measurement that is in the results file is not made again, so a second call goes on where the time ran out.
`--small` shrinks everything, to try the command itself on a laptop.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from benchmarks import gather, jax_peers, limits, report
from benchmarks.timing import Peer, measure
from benchmarks.workloads import WORKLOADS, Workload
from grokjax.engine import devices

DIAGRAM = {"fractions": 10, "decays": 10, "seeds": 10, "steps": 25_000}
"""The phase diagram that is planned from the measured rate."""


@dataclasses.dataclass(frozen=True)
class Size:
    """How large the measurements are."""

    workload: Workload
    tiles: tuple[int, ...]
    precisions: tuple[str, ...]
    product: int


def size(small: bool) -> Size:
    """On an accelerator workload A; small: the quickstart's model, narrow tiles, float32."""
    if small:
        return Size(dataclasses.replace(WORKLOADS["D"], steps=20), (1, 2, 4), ("float32",), 256)
    steps = dataclasses.replace(WORKLOADS["A"], steps=20)
    precisions = ("float32", "tf32", "bfloat16")
    return Size(steps, (1, 4, 16, 32, 64, 128, 256), precisions, 8192)


def with_precision(w: Workload, precision: str) -> Workload:
    return dataclasses.replace(w, precision=precision)


def measurements(s: Size) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Name and function of each, the important ones first."""
    n = jax.device_count()
    yield "peak, GFLOP/s", lambda: round(limits.peak(size=s.product) / 1e9)
    for precision in s.precisions:
        for tile in reversed(s.tiles):
            w = with_precision(s.workload, precision)
            yield f"{precision}, tile {tile}", lambda w=w, tile=tile: _rate(w, tile * n, tile)
    widest = s.tiles[-1]
    yield (
        f"float32, tile {widest}, two tiles a device",
        lambda: _rate(s.workload, 2 * widest * n, widest),
    )
    yield "gradient of a gather", lambda: gather.compare(inner=20)


def _rate(w: Workload, slots: int, tile: int) -> dict[str, Any]:
    peer = Peer(f"{w.name}, {slots} slots, tile {tile}", lambda: jax_peers.engine(w, slots, tile))
    measure([peer])
    return {
        "rate": round(peer.rate, 1),
        "first_seconds": round(peer.first_seconds, 1),
        "failed": peer.failed,
    }


def diagram_line(found: dict[str, Any]) -> str:
    """What a phase diagram of 1,000 runs takes at the best measured float32 rate."""
    rates = [v["rate"] for k, v in found.items() if k.startswith("float32") and not v["failed"]]
    runs = DIAGRAM["fractions"] * DIAGRAM["decays"] * DIAGRAM["seeds"]
    if not rates:
        return "No float32 rate was measured: no plan."
    steps = runs * DIAGRAM["steps"]
    return (
        f"A phase diagram of {runs:,} runs of at most {DIAGRAM['steps']:,} steps is at most {steps:.3g} run-steps: "
        f"{steps / max(rates) / 3600:.1f} h at {max(rates):,.0f} run-steps/s."
    )


def write(found: dict[str, Any], file: Path) -> None:
    """The results file, and a table beside it."""
    file.write_text(json.dumps(found, indent=1) + "\n")
    done = found["measured"]
    lines = [f"Machine: {', '.join(f'{k} {v}' for k, v in found['machine'].items())}.", ""]
    lines += ["| measurement | run-steps/s | first call, s |", "|---|---|---|"]
    for name, value in done.items():
        if isinstance(value, dict):
            lines.append(
                f"| {name} | {value['failed'] or value['rate']} | {value['first_seconds']} |"
            )
        elif not isinstance(value, list):
            lines.append(f"| {name} | {value} | |")
    rows = {k: v for k, v in done.items() if isinstance(v, dict)}
    lines += ["", diagram_line(rows), ""]
    file.with_suffix(".md").write_text("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/performance/gpu.json"))
    parser.add_argument("--seconds", type=float, default=540.0, help="no measurement begins later")
    parser.add_argument("--small", action="store_true", help="to try the command on a CPU")
    words = parser.parse_args()
    devices.set_up()
    began, file = time.monotonic(), words.out
    file.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(file.read_text()) if file.exists() else {}
    found = {"machine": report.machine(), "measured": known.get("measured", {})}
    for name, measurement in measurements(size(words.small)):
        if name in found["measured"]:
            continue
        if time.monotonic() - began > words.seconds:
            print(f"{words.seconds:.0f} s are over; run the command again to go on with '{name}'")
            break
        print(name, flush=True)
        found["measured"][name] = measurement()
        write(found, file)
    print(file.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
