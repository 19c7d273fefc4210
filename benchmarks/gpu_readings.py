"""How the accelerator is measured: kernels, calls, differences to the CPU, eigenvalues and compilation."""

from __future__ import annotations

import collections
import dataclasses
import functools
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import AxisType, Mesh

from benchmarks import jax_peers
from benchmarks.workloads import Workload
from grokjax.engine import devices
from grokjax.engine.executables import compiled_text
from grokjax.engine.program import Program
from grokjax.training import runstate


def make_program(w: Workload, tile: int) -> Program:
    """A workload that fills one tile of each device; not compiled yet."""
    return jax_peers.make_program(w, tile * jax.device_count(), tile, None)


def operations(program: Program) -> int:
    """Operations that the compiled program launches if each loop is entered once: fusions, products, calls, copies."""
    text = compiled_text(program)
    launched = ("fusion(", "custom-call(", "dot(", "copy(", "sort(", "scatter(", "gather(")
    return sum(
        line.count(" = ") and any(word in line for word in launched) for line in text.splitlines()
    )


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


class Compared:
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

    @functools.cached_property
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
            make_program(w, tile).compile()
            seconds[name] = round(time.perf_counter() - began, 1)
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.reset_cache()
    return seconds
