"""What `python -m benchmarks.gpu` measures, in the order in which it decides what has to be changed."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import jax

from benchmarks import gather, jax_peers, limits
from benchmarks import gpu_readings as readings
from benchmarks.timing import Peer, measure
from benchmarks.workloads import BOTTLENECK, STREAMS, WORKLOADS, Workload
from grokjax.engine import devices
from grokjax.models.forms import CPU, Forms, by_platform

_GRAPHS = "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION,WHILE,CONDITIONAL"
OPTIONS: dict[str, dict[str, Any]] = {
    "no Triton products": {"xla_gpu_enable_triton_gemm": False},
    "loops as CUDA graphs": devices.compiler_options("gpu")
    | {"xla_gpu_enable_command_buffer": _GRAPHS},
}
"""Options of the compiler that are compared with grokjax's (`devices.compiler_options`)."""

PRODUCT_ROWS = (512, 1024)
"""What `Forms.product_rows` could be on an accelerator."""


@dataclasses.dataclass(frozen=True)
class Size:
    """How large the measurements are."""

    workload: Workload
    tiles: tuple[int, ...]
    tile: int
    """Tile of what is measured at one tile only."""
    others: tuple[tuple[Workload, tuple[int, ...]], ...]
    """Other workloads and their tiles."""
    precisions: tuple[str, ...]
    compared: Workload
    """What is trained on the accelerator and on the CPU, and compared."""
    product: int
    eigen: tuple[int, int]
    """Number and width of the matrices whose eigenvalues are computed."""
    seconds: float
    """Of a measurement of a rate; three are made."""


def size(small: bool) -> Size:
    """On an accelerator workloads A, B, C, D, F, G and H; small: the quickstart's model, narrow tiles, float32."""
    if small:
        tiny = dataclasses.replace(WORKLOADS["D"], steps=20)
        return Size(tiny, (1, 2), 2, (), (), tiny, 256, (4, 16), 0.2)
    few = {name: dataclasses.replace(w, steps=50) for name, w in (WORKLOADS | STREAMS).items()}
    others = (
        (few["D"], (64, 256, 512)),
        (few["B"], (64, 512)),
        (few["F"], (64,)),
        (few["G"], (64,)),
        (few["C"], (4, 64)),
        (dataclasses.replace(BOTTLENECK, steps=50), (64,)),
    )
    precisions = ("float32x3", "tf32", "bfloat16")
    return Size(
        few["A"], (4, 16, 32, 64, 128), 64, others, precisions, few["D"], 8192, (64, 128), 0.5
    )


def with_precision(w: Workload, precision: str) -> Workload:
    return dataclasses.replace(w, precision=precision)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One line of the results. `prepare` compiles; `make` measures."""

    name: str
    make: Callable[[], Any]
    prepare: Callable[[], None] = lambda: None
    slow: bool = False
    """Whether it takes minutes, and so is made only if it is asked for by name."""


def rate(
    name: str,
    s: Size,
    w: Workload,
    tile: int,
    forms: Forms | None = None,
    tiles: int = 1,
    options: dict[str, Any] | None = None,
) -> Measurement:
    """Run-steps per second of a workload; how long compiling took is told too, several programs at a time."""
    slots = tile * tiles * jax.device_count()
    program = functools.cache(lambda: jax_peers.make_program(w, slots, tile, forms, options))
    seconds: list[float] = []

    def prepare() -> None:
        began = time.perf_counter()
        program().compile()
        seconds.append(round(time.perf_counter() - began, 1))
        print(f"compiled in {seconds[0]} s: {name}", flush=True)

    def make() -> dict[str, Any]:
        peer = Peer(name, lambda: jax_peers.loop_of(jax_peers.Full(w, program())))
        measure([peer], repeats=3, seconds=s.seconds, rest=0.0)
        best = round(peer.rate, 1)
        return {"rate": best, "compile_seconds": sum(seconds), "failed": peer.failed}

    return Measurement(name, make, prepare)


def _profiled(name: str, s: Size, w: Workload, tile: int) -> Measurement:
    program = functools.cache(lambda: readings.make_program(w, tile))
    return Measurement(name, lambda: readings.profile(w, program()), lambda: program().compile())


def measurements(s: Size) -> list[Measurement]:
    """All of them, in the order in which they decide what has to be changed."""
    here = by_platform(jax.devices()[0].platform)
    tile, w = s.tile, s.workload
    found = [Measurement("gradient of a gather", lambda: gather.compare(inner=20))]
    for rows in PRODUCT_ROWS:
        parts = dataclasses.replace(here, product_rows=rows)
        for t in (s.tiles[0], tile):
            found.append(
                rate(f"float32, tile {t}, gradients in parts of {rows} rows", s, w, t, parts)
            )
    found += [rate(f"float32, tile {t}", s, w, t) for t in s.tiles]
    for told, options in OPTIONS.items():
        for t in (s.tiles[0], tile):
            found.append(rate(f"float32, tile {t}, {told}", s, w, t, options=options))
    for precision in s.precisions:
        found.append(rate(f"{precision}, tile {tile}", s, with_precision(w, precision), tile))
    for other, tiles in s.others:
        found += [rate(f"{other.name}, float32, tile {t}", s, other, t) for t in tiles]
    for t in (s.tiles[0], tile):
        found.append(_profiled(f"a step in a profile, tile {t}", s, w, t))
    full = functools.cache(lambda: readings.make_program(w, tile))
    found += [
        Measurement(
            f"operations of the compiled program, tile {tile}",
            lambda: readings.operations(full()),
            lambda: full().compile(),
        ),
        Measurement(
            f"milliseconds until advance returns, tile {tile}", lambda: readings.returns(w, full())
        ),
        Measurement("peak, GFLOP/s", lambda: round(limits.peak(size=s.product) / 1e9)),
        Measurement("milliseconds of eigvalsh", lambda: readings.eigenvalues(*s.eigen)),
    ]
    # Last, because in some releases the forms of the CPU are a thousand times slower on a GPU.
    for name in ("sums", "wide_gradients", "gather_gradient"):
        one = dataclasses.replace(here, **{name: getattr(CPU, name)})
        found.append(rate(f"float32, tile {tile}, {name} as on the CPU", s, w, tile, one))
    found.append(rate(f"float32, tile {tile}, all forms of the CPU", s, w, tile, CPU))
    found.append(rate(f"float32, tile {tile}, two tiles a device", s, w, tile, tiles=2))
    on_cpu = readings.Compared(s.compared, "cpu")
    graphs = "loops as CUDA graphs"
    how: dict[str, tuple[str, dict[str, Any] | None]] = {
        p: (p, None) for p in ("float32", *s.precisions)
    }
    how[f"float32, {graphs}"] = ("float32", OPTIONS[graphs])
    for told, (precision, options) in how.items():
        compared = readings.Compared(with_precision(s.compared, precision), "default", options)
        found.append(
            Measurement(
                f"relative difference of weights to the CPU, {told}",
                lambda c=compared: readings.difference(c.trained, on_cpu.trained),
                lambda c=compared: c.program.compile(),
            )
        )
    again = f"seconds to compile again, tile {tile}"
    found.append(Measurement(again, lambda: readings.compile_seconds(w, tile)))
    # Kernels are tried out.
    defaults = rate(f"float32, tile {tile}, the compiler's defaults", s, w, tile, options={})
    return [*found, dataclasses.replace(defaults, slow=True)]
