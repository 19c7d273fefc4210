"""`python -m benchmarks [A B C D E F G H evaluation gather curve]`: measure, print, and write tables and a figure.

Every number is of one run on one machine; compare within it. Needs a quiet machine and requirements-bench.txt.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from grokjax.engine import devices

PARTS = ["A", "B", "C", "C full", "D", "E", "F", "G", "H", "evaluation", "gather", "curve"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", default=[], help=f"which of {PARTS}; default all")
    parser.add_argument("--out", type=Path, default=Path("docs/performance"))
    parser.add_argument("--repeats", type=int, default=5)
    words = parser.parse_args()
    unknown = [p for p in words.parts if p not in PARTS]
    if unknown:
        parser.error(f"{unknown[0]}: not a part; the parts are {', '.join(PARTS)}")
    devices.set_up()  # before anything imports a device
    from benchmarks import report

    words.out.mkdir(parents=True, exist_ok=True)
    file = words.out / "benchmark.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    found["machine"] = report.machine()
    for part in words.parts or PARTS:
        print(part, flush=True)
        began = time.perf_counter()
        found[part] = _measure(part, words.repeats)
        found[part]["seconds"] = round(time.perf_counter() - began)
        file.write_text(json.dumps(found, indent=1) + "\n")
        report.write(found, words.out)


def _measure(part: str, repeats: int) -> dict[str, Any]:
    from benchmarks import evaluation, gather, grid, peers, reconstruction, streams

    if part in ("F", "G"):
        return streams.side_by_side(part, repeats)
    if part == "H":
        return reconstruction.side_by_side(repeats)
    if part == "E":
        return {"rows": grid.compare()}
    if part == "evaluation":
        return {"rows": evaluation.compare()}
    if part == "gather":
        return {"rows": gather.compare(repeats=repeats)}
    if part == "curve":
        return {"rows": peers.curve(repeats)}
    return peers.side_by_side(part, repeats)


if __name__ == "__main__":
    main()
