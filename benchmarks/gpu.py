"""`python -m benchmarks.gpu`: what an accelerator does with all workloads, in one command of at most ten minutes.

All programs are compiled first, several at a time, because compiling takes longer than measuring; what is measured runs
alone. Resumable: a measurement that is in the results file is not made again, so a second call goes on where the time
ran out. `--small` shrinks everything, to try the command itself on a laptop.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import re
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.gpu_measurements import Measurement, measurements, size
from grokjax.engine import devices

DIAGRAM = {"fractions": 10, "decays": 10, "seeds": 10, "steps": 25_000}
"""The phase diagram that is planned from the measured rate."""


COMPILING = 12
"""Programs that are compiled at a time, at most one for each core."""


def diagram_line(found: dict[str, Any]) -> str:
    """What a phase diagram of 1,000 runs takes at the best measured float32 rate."""
    plain = re.compile(r"float32, tile \d+")
    rates = [v["rate"] for k, v in found.items() if plain.fullmatch(k) and not v["failed"]]
    runs = DIAGRAM["fractions"] * DIAGRAM["decays"] * DIAGRAM["seeds"]
    if not rates:
        return "No float32 rate was measured: no plan."
    steps = runs * DIAGRAM["steps"]
    return (
        f"A phase diagram of {runs:,} runs of at most {DIAGRAM['steps']:,} steps is at most {steps:.3g} run-steps: "
        f"{steps / max(rates) / 3600:.1f} h at {max(rates):,.0f} run-steps/s."
    )


def one_after_the_other(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What the machine was in this sitting and, where that differs, in those before."""
    told = {}
    for name, value in now.items():
        sittings = str(before.get(name, value)).split(", then ")
        told[name] = (
            value
            if sittings == [str(value)]
            else ", then ".join(dict.fromkeys([*sittings, str(value)]))
        )
    return told


def write(found: dict[str, Any], file: Path) -> None:
    """The results file, and a table beside it."""
    file.write_text(json.dumps(found, indent=1) + "\n")
    done = found["measured"]
    lines = [f"Machine: {', '.join(f'{k} {v}' for k, v in found['machine'].items())}.", ""]
    lines += ["| measurement | run-steps/s | compiling, s |", "|---|---|---|"]
    for name, value in done.items():
        if isinstance(value, dict) and "rate" in value:
            lines.append(
                f"| {name} | {value['failed'] or value['rate']} | {value['compile_seconds']} |"
            )
        elif isinstance(value, dict):
            told = ", ".join(f"{k} {v:.3g}" for k, v in value.items() if not k.startswith("ms in "))
            lines.append(f"| {name} | {told} | |")
            lines += [f"| {name}: {k} | {v:.3g} | |" for k, v in value.items() if k[:6] == "ms in "]
        elif not isinstance(value, list):
            lines.append(f"| {name} | {value} | |")
    for row in done.get("gradient of a gather", []):
        lines.append(
            f"| gradient of a gather, {row['case']}: {row['form']} | {row['milliseconds']} ms | |"
        )
    rows = {k: v for k, v in done.items() if isinstance(v, dict) and "rate" in v}
    lines += ["", diagram_line(rows), ""]
    file.with_suffix(".md").write_text("\n".join(lines))


def compile_all(wanted: list[Measurement], seconds: float) -> list[Measurement]:
    """Prepare all of them, several at a time, and return those that were prepared in so many seconds."""
    pool = concurrent.futures.ThreadPoolExecutor(min(COMPILING, devices.available_cores()))
    jobs = {pool.submit(m.prepare): m for m in wanted}
    done, late = concurrent.futures.wait(jobs, timeout=seconds)
    pool.shutdown(wait=False, cancel_futures=True)
    for job in late:
        print(f"not compiled in {seconds:.0f} s, left for the next call: {jobs[job].name}")
    for job in done:
        if job.exception():
            print(f"does not compile: {jobs[job].name}: {job.exception()}")
    return [m for job, m in jobs.items() if job in done and not job.exception()]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/performance/gpu.json"))
    parser.add_argument("--seconds", type=float, default=540.0, help="no measurement begins later")
    parser.add_argument(
        "--compile-seconds", type=float, default=300.0, help="for compiling, of these"
    )
    parser.add_argument("--only", default="", help="a regular expression that a name must contain")
    parser.add_argument("--label", default="", help="what is added to each name in the results")
    parser.add_argument("--small", action="store_true", help="to try the command on a CPU")
    words = parser.parse_args()
    devices.set_up()
    began, file = time.monotonic(), words.out
    file.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(file.read_text()) if file.exists() else {}
    machine = one_after_the_other(known.get("machine", {}), report.machine())
    found = {"machine": machine, "measured": known.get("measured", {})}
    wanted = [
        m
        for m in measurements(size(words.small))
        if m.name + words.label not in found["measured"]
        and re.search(words.only, m.name)
        and (words.only or not m.slow)
    ]
    wanted = compile_all(wanted, words.compile_seconds)
    print(f"compiled all in {time.monotonic() - began:.0f} s", flush=True)
    for m in wanted:
        if time.monotonic() - began > words.seconds:
            print(f"{words.seconds:.0f} s are over; run the command again to go on with '{m.name}'")
            break
        print(f"{m.name} ({time.monotonic() - began:.0f} s)", flush=True)
        try:
            found["measured"][m.name + words.label] = m.make()
        except (
            Exception
        ):  # the other measurements are made all the same, and a second call tries it again
            traceback.print_exc()
        write(found, file)
    print(file.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
