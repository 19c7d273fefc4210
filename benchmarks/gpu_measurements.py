"""What `python -m benchmarks.gpu` measures, in the order in which it decides what has to be changed."""

from __future__ import annotations

import collections
import dataclasses
import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import AxisType, Mesh

from benchmarks import gather, jax_peers, limits
from benchmarks.timing import Peer, measure
from benchmarks.workloads import BOTTLENECK, STREAMS, WORKLOADS, Workload
from grokjax.engine import devices
from grokjax.engine.executables import compiled_text
from grokjax.engine.program import Program
from grokjax.models.forms import CPU, Forms, by_platform
from grokjax.training import runstate

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
    full = functools.cache(lambda: _program(w, tile))
    found += [
        Measurement(
            f"operations of the compiled program, tile {tile}",
            lambda: operations(full()),
            lambda: full().compile(),
        ),
        Measurement(f"milliseconds until advance returns, tile {tile}", lambda: returns(w, full())),
        Measurement("peak, GFLOP/s", lambda: round(limits.peak(size=s.product) / 1e9)),
        Measurement("milliseconds of eigvalsh", lambda: eigenvalues(*s.eigen)),
    ]
    # Last, because in some releases the forms of the CPU are a thousand times slower on a GPU.
    for name in ("sums", "wide_gradients", "gather_gradient"):
        one = dataclasses.replace(here, **{name: getattr(CPU, name)})
        found.append(rate(f"float32, tile {tile}, {name} as on the CPU", s, w, tile, one))
    found.append(rate(f"float32, tile {tile}, all forms of the CPU", s, w, tile, CPU))
    found.append(rate(f"float32, tile {tile}, two tiles a device", s, w, tile, tiles=2))
    on_cpu = _Compared(s.compared, "cpu")
    graphs = "loops as CUDA graphs"
    how: dict[str, tuple[str, dict[str, Any] | None]] = {
        p: (p, None) for p in ("float32", *s.precisions)
    }
    how[f"float32, {graphs}"] = ("float32", OPTIONS[graphs])
    for told, (precision, options) in how.items():
        compared = _Compared(with_precision(s.compared, precision), "default", options)
        found.append(
            Measurement(
                f"relative difference of weights to the CPU, {told}",
                lambda c=compared: difference(c.trained(), on_cpu.trained()),
                lambda c=compared: c.program.compile(),
            )
        )
    again = f"seconds to compile again, tile {tile}"
    found.append(Measurement(again, lambda: compile_seconds(w, tile)))
    # Kernels are tried out.
    defaults = rate(f"float32, tile {tile}, the compiler's defaults", s, w, tile, options={})
    return [*found, dataclasses.replace(defaults, slow=True)]


def _program(w: Workload, tile: int) -> Program:
    return jax_peers.make_program(w, tile * jax.device_count(), tile, None)


def operations(program: Program) -> int:
    """Operations that the compiled program launches if each loop is entered once: fusions, products, calls, copies."""
    text = compiled_text(program)
    launched = ("fusion(", "custom-call(", "dot(", "copy(", "sort(", "scatter(", "gather(")
    return sum(
        line.count(" = ") and any(word in line for word in launched) for line in text.splitlines()
    )


def _profiled(name: str, s: Size, w: Workload, tile: int) -> Measurement:
    program = functools.cache(lambda: _program(w, tile))
    return Measurement(name, lambda: profile(w, program()), lambda: program().compile())


def profile(w: Workload, program: Program) -> dict[str, float]:
    """Of one step: kernels, milliseconds that one is running, milliseconds in all, and of the longest kernels each."""
    full = jax_peers.Full(w, program)
    jax.block_until_ready(full.advance())
    with tempfile.TemporaryDirectory() as directory:
        with jax.profiler.trace(directory):
            began = time.perf_counter()
            full.advance()
            jax.block_until_ready(full.state)
            seconds = time.perf_counter() - began
        (file,) = Path(directory).rglob("*.xplane.pb")
        planes = list(jax.profiler.ProfileData.from_file(str(file)).planes)
        spans = sorted(
            (event.start_ns, event.end_ns, event.name)
            for plane in planes
            if plane.name.startswith("/device:GPU")
            for line in plane.lines
            if line.name.startswith("Stream")
            for event in line.events
        )
    steps = full.setup.cadence.unit
    busy, until, by_name = 0.0, 0.0, collections.Counter[str]()
    for start, end, kernel in spans:
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
        by_name[kernel[:60]] += end - start
    longest = {f"ms in {name}": ns / 1e6 / steps for name, ns in by_name.most_common(12)}
    told = {"kernels": len(spans) / steps, "ms a kernel runs": busy / 1e6 / steps}
    return told | {"ms": 1e3 * seconds / steps} | longest


def returns(w: Workload, program: Program) -> dict[str, float]:
    """Milliseconds until a call comes back, and until its work is done. Equal: the host cannot run ahead."""
    full = jax_peers.Full(w, program)
    jax.block_until_ready(full.state)
    began = time.perf_counter()
    full.advance()
    back = time.perf_counter() - began
    jax.block_until_ready(full.state)
    return {"back": 1e3 * back, "done": 1e3 * (time.perf_counter() - began)}


class _Compared:
    """A workload on one device of a backend, in few runs."""

    def __init__(self, w: Workload, backend: str, options: dict[str, Any] | None = None):
        self.w, self.backend, self.options = dataclasses.replace(w, steps=50), backend, options
        self.runs = 4

    @functools.cached_property
    def program(self) -> Program:
        """Not compiled yet."""
        mesh = make_mesh(self.backend)
        setup = self.w.setup(self.w.group(self.runs), devices.platform(mesh))
        return Program(setup, mesh, self.runs, self.runs, options=self.options)

    @functools.cache  # noqa: B019 - there is one for each precision
    def trained(self) -> Any:
        """Parameters as NumPy after 100 steps."""
        program, runs = self.program, self.w.group(self.runs).runs
        hyper = program.place(jax.tree.map(lambda *x: np.stack(x), *map(runstate.make_hyper, runs)))
        state = program.admit(program.empty(), hyper, np.ones(self.runs, bool))
        for _ in range(2):
            state, _ = program.advance(state, hyper, np.array([1]), 1)
        return jax.tree.map(np.asarray, jax.device_get(state.params))


def difference(here: Any, there: Any) -> dict[str, float]:
    """Largest relative difference, over runs, of the parameters to those of the same runs in float32 on the CPU."""
    weights = zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True)
    square = lambda x: np.square(x).reshape(len(x), -1).sum(1)  # noqa: E731
    parts = [(square(a - b), square(b)) for a, b in weights]
    over = sum(a for a, _ in parts) / sum(b for _, b in parts)
    return {"weights": float(np.sqrt(over).max())}


def make_mesh(backend: str) -> Mesh:
    """One device of a backend; 'default': the one that is measured."""
    device = jax.devices()[0] if backend == "default" else jax.devices(backend)[0]
    return Mesh(np.array([device]), (devices.RUN,), axis_types=(AxisType.Auto,))


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
