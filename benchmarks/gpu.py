"""`python -m benchmarks.gpu`: what an accelerator does with workload A, in one command of at most ten minutes.

Resumable: a measurement that is in the results file is not made again, so a second call goes on where the time ran out.
`--small` shrinks everything, to try the command itself on a laptop.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.compilation_cache import compilation_cache

from benchmarks import gather, jax_peers, limits, report
from benchmarks.timing import Peer, measure
from benchmarks.workloads import WORKLOADS, Workload
from grokjax.engine import devices
from grokjax.engine.executables import compiled_text
from grokjax.engine.program import Program
from grokjax.models.forms import CPU, Forms, by_platform

DIAGRAM = {"fractions": 10, "decays": 10, "seeds": 10, "steps": 25_000}
"""The phase diagram that is planned from the measured rate."""


@dataclasses.dataclass(frozen=True)
class Size:
    """How large the measurements are."""

    workload: Workload
    tiles: tuple[int, ...]
    others: tuple[Workload, ...]
    """Small models, which need wide tiles."""
    wide: tuple[int, ...]
    """Tiles of these."""
    precisions: tuple[str, ...]
    product: int
    eigen: tuple[int, int]
    """Number and width of the matrices whose eigenvalues are computed."""


def size(small: bool) -> Size:
    """On an accelerator workloads A, B and D; small: the quickstart's model, narrow tiles, float32."""
    if small:
        tiny = dataclasses.replace(WORKLOADS["D"], steps=20)
        return Size(tiny, (1, 2), (), (), ("float32",), 256, (4, 16))
    few = {name: dataclasses.replace(WORKLOADS[name], steps=20) for name in ("A", "B", "D")}
    precisions = ("float32x3", "tf32", "bfloat16")
    return Size(
        few["A"],
        (16, 32, 64, 128),
        (few["B"], few["D"]),
        (64, 128, 256, 512),
        precisions,
        8192,
        (64, 128),
    )


def with_precision(w: Workload, precision: str) -> Workload:
    return dataclasses.replace(w, precision=precision)


def measurements(s: Size) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Name and function of each, in the order in which they decide what has to be changed."""
    here = by_platform(jax.devices()[0].platform)
    yield "gradient of a gather", lambda: gather.compare(inner=20)
    for tile in s.tiles:
        yield f"float32, tile {tile}", lambda tile=tile: _rate(s.workload, tile)
        yield (
            f"float32, tile {tile}, all forms of the CPU",
            lambda tile=tile: _rate(s.workload, tile, CPU),
        )
    tile = s.tiles[-1]
    for name in ("gather_gradient", "sums", "wide_gradients"):
        one = dataclasses.replace(here, **{name: getattr(CPU, name)})
        yield (
            f"float32, tile {tile}, {name} as on the CPU",
            lambda one=one: _rate(s.workload, tile, one),
        )
    yield f"float32, tile {tile}, two tiles a device", lambda: _rate(s.workload, tile, tiles=2)
    yield f"kernels in the program, tile {tile}", lambda: kernels(s.workload, tile)
    yield f"milliseconds until advance returns, tile {tile}", lambda: returns(s.workload, tile)
    for other in s.others:
        for wide in s.wide:
            yield f"{other.name}, float32, tile {wide}", lambda w=other, t=wide: _rate(w, t)
    for precision in s.precisions:
        w = with_precision(s.workload, precision)
        yield f"{precision}, tile {tile}", lambda w=w: _rate(w, tile)
    yield "milliseconds of eigvalsh", lambda: eigenvalues(*s.eigen)
    yield "peak, GFLOP/s", lambda: round(limits.peak(size=s.product) / 1e9)
    yield f"seconds to compile again, tile {tile}", lambda: compile_seconds(s.workload, tile)


def _rate(w: Workload, tile: int, forms: Forms | None = None, tiles: int = 1) -> dict[str, Any]:
    slots = tile * tiles * jax.device_count()
    peer = Peer(
        f"{w.name}, {slots} slots, tile {tile}", lambda: jax_peers.engine(w, slots, tile, forms)
    )
    measure([peer], repeats=3)
    return {
        "rate": round(peer.rate, 1),
        "first_seconds": round(peer.first_seconds, 1),
        "failed": peer.failed,
    }


def _program(w: Workload, tile: int) -> Program:
    mesh = devices.make_mesh()
    group = w.group(tile)
    setup = w.setup(group, devices.platform(mesh))
    return Program(setup, mesh, tile * mesh.devices.size, tile)


def kernels(w: Workload, tile: int) -> int:
    """Operations that the compiled program launches if each loop is entered once: fusions, products, calls, copies."""
    text = compiled_text(_program(w, tile))
    launched = ("fusion(", "custom-call(", "dot(", "copy(", "sort(", "scatter(", "gather(")
    return sum(
        line.count(" = ") and any(word in line for word in launched) for line in text.splitlines()
    )


def returns(w: Workload, tile: int) -> dict[str, float]:
    """Milliseconds until a call comes back, and until its work is done. Equal: the host cannot run ahead."""
    full = jax_peers.Full(w, tile * jax.device_count(), tile, None)
    jax.block_until_ready(full.state)
    began = time.perf_counter()
    full.advance()
    back = time.perf_counter() - began
    jax.block_until_ready(full.state)
    return {"back": 1e3 * back, "done": 1e3 * (time.perf_counter() - began)}


def eigenvalues(n: int, width: int) -> float:
    """Milliseconds for the eigenvalues of so many symmetric matrices under vmap."""
    x = jax.random.normal(jax.random.key(0), (n, width, width))
    f = jax.jit(jax.vmap(lambda a: jnp.linalg.eigvalsh(a @ a.T)))
    jax.block_until_ready(f(x))
    began = time.perf_counter()
    for _ in range(5):
        jax.block_until_ready(f(x))
    return round(1e3 * (time.perf_counter() - began) / 5, 2)


def compile_seconds(w: Workload, tile: int) -> dict[str, float]:
    """Seconds to compile the program with an empty compilation cache, and with a full one."""
    before = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    seconds = {}
    with tempfile.TemporaryDirectory() as empty:
        for name in ("cold", "warm"):
            jax.clear_caches()
            compilation_cache.reset_cache()
            jax.config.update("jax_compilation_cache_dir", empty)
            began = time.perf_counter()
            _program(w, tile).compile()
            seconds[name] = round(time.perf_counter() - began, 1)
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.reset_cache()
    return seconds


def diagram_line(found: dict[str, Any]) -> str:
    """What a phase diagram of 1,000 runs takes at the best measured float32 rate."""
    rates = [v["rate"] for k, v in found.items() if k.startswith("float32,") and not v["failed"]]
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
        if isinstance(value, dict) and "rate" in value:
            lines.append(
                f"| {name} | {value['failed'] or value['rate']} | {value['first_seconds']} |"
            )
        elif isinstance(value, dict):
            told = ", ".join(f"{key} {number:.3g}" for key, number in value.items())
            lines.append(f"| {name} | {told} | |")
        elif not isinstance(value, list):
            lines.append(f"| {name} | {value} | |")
    for row in done.get("gradient of a gather", []):
        lines.append(
            f"| gradient of a gather, {row['case']}: {row['form']} | {row['milliseconds']} ms | |"
        )
    rows = {k: v for k, v in done.items() if isinstance(v, dict) and "rate" in v}
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
