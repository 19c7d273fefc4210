"""The machine: cores, the run mesh, the compilation cache, defaults by platform, memory."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import psutil
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from grokjax.settings import SettingError

RUN = "run"
"""Name of the mesh axis over which runs are split."""

log = logging.getLogger("grokjax")


def available_cores() -> int:
    """Number of cores that this process may use: those of its affinity, at most the container's quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.ceil(min(affinity or 1, _cpu_quota())))


def _cpu_quota() -> float:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return math.inf


def cache_directory() -> Path:
    """Directory for what was measured on this machine; below XDG_CACHE_HOME, if it is set."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "grokjax"


def set_up(devices: int | None = None) -> None:
    """Set up one XLA device per core on CPU, and the persistent compilation cache. Call it before JAX uses a device."""
    # JAX takes 75 % of a card, unless it is told otherwise before it starts.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.92")
    cache = cache_directory() / "xla"
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", str(cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    if jax.config.jax_num_cpu_devices > 0:  # type: ignore[attr-defined]
        return
    try:
        jax.config.update("jax_num_cpu_devices", devices or available_cores())
    except RuntimeError:
        log.debug("JAX has started already: the number of CPU devices stays as it is")


def make_mesh(devices: int | None = None) -> Mesh:
    """A mesh with the one axis `run` over the first `devices` devices (all: None)."""
    available = jax.devices()
    n = devices or len(available)
    if n > len(available):
        raise SettingError(
            "devices",
            f"{n} devices are not there, only {len(available)}; use at most {len(available)}",
        )
    return Mesh(np.array(available[:n]), (RUN,), axis_types=(AxisType.Auto,))


def over_runs(mesh: Mesh) -> NamedSharding:
    """Sharding that splits the leading axis over the devices."""
    return NamedSharding(mesh, P(RUN))


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding with a copy on every device."""
    return NamedSharding(mesh, P())


def platform(mesh: Mesh) -> str:
    """cpu, gpu or tpu."""
    return mesh.devices.flat[0].platform


_CPU_TILE = 1
"""Measured (docs/performance.md): one run keeps a core busy, and its activations stay in the core's cache."""
# Workload A on an H100 (docs/performance.md): a step of a tile takes 1.4 ms and then as long as its operations do at 33
# TFLOP/s. Smaller models sum over fewer rows, so a little less is assumed.
_FIXED = 1e-3
_ACCELERATOR_RATE = 33e12
_TILES = (16, 512)
_TILES_PER_DEVICE = 16


_COMPILER_OPTIONS: dict[str, dict[str, Any]] = {
    "gpu": {"xla_gpu_enable_triton_gemm": False, "xla_gpu_autotune_level": 0}
}


def compiler_options(platform: str) -> dict[str, Any]:
    """What the compiler is asked for beside its defaults. On a GPU it does not try out kernels: that takes longer than
    many a grid trains, and another compilation can choose another kernel, so other bits."""
    return _COMPILER_OPTIONS.get(platform, {})


def default_tile(platform: str, step_flops: float, runs: int) -> int:
    """Width of a tile. It must depend only on platform, shapes and the runs of a device: results depend on it.

    On an accelerator: so many runs that a step computes for ten times its fixed time, or fewer, so that the runs fill
    all tiles: empty slots are computed too.
    """
    if platform == "cpu":
        return _CPU_TILE
    seconds = step_flops / _ACCELERATOR_RATE
    wanted = 10 * _FIXED / max(seconds, 1e-12)
    widest = min(max(_power_of_two(wanted), _TILES[0]), _TILES[1])
    tiles = math.ceil(runs / widest)
    return math.ceil(runs / tiles)


def _power_of_two(least: float) -> int:
    return 2 ** max(0, math.ceil(math.log2(least)))


def default_slots(tile: int, n_devices: int, n_runs: int, fitting: int) -> int:
    """Number of slots: enough to keep the devices busy, but not more than the runs need or memory has room for."""
    step = tile * n_devices
    needed = math.ceil(n_runs / step) * step
    return max(step, min(step * _TILES_PER_DEVICE, needed, fitting // step * step))


def memory_limit(platform: str) -> int:
    """Bytes that all runs may use: on CPU 70 % of the free memory, else 90 % of what JAX has of all devices."""
    if platform == "cpu":
        return int(0.7 * min(psutil.virtual_memory().available, _container_memory()))
    stats = [d.memory_stats() or {} for d in jax.devices()]
    return int(0.9 * sum(s.get("bytes_limit", 8 * 2**30) for s in stats))


def _container_memory() -> float:
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text().strip()
        return math.inf if limit == "max" else max(int(limit) - int(used), 0)
    except (OSError, ValueError):
        return math.inf


def check_precision(precision: str, platform: str) -> None:
    """Refuse a precision that the platform would silently ignore."""
    if precision != "float32" and platform == "cpu":
        raise SettingError(
            "precision",
            f"{precision} is ignored by the CPU, which computes in float32; use float32",
        )
    if precision == "tf32" and platform == "tpu":
        raise SettingError(
            "precision", "tf32 is a format of NVIDIA's GPUs; use float32, float32x3 or bfloat16"
        )


def describe(mesh: Mesh) -> str:
    """The devices as text, such as '2 CPU cores' or '1 x NVIDIA H200'."""
    first, n = mesh.devices.flat[0], mesh.devices.size
    if first.platform == "cpu":
        return f"{n} CPU core{'s' if n > 1 else ''}"
    return f"{n} x {first.device_kind}"


_SLOW_SCATTER = (
    "adds to rows of float32 on CUDA (the gradient of an embedding) 450 to 2,000 times slower than others "
    "(https://github.com/jax-ml/jax/issues/38806)"
)
_WRONG_SUMS = (
    "computes wrong sums on CPU in some programs with more than 32,768 rows "
    "(https://github.com/jax-ml/jax/issues/39103) and wrong arctangents "
    "(https://github.com/jax-ml/jax/issues/39352)"
)
_FAULTS = {
    ("gpu", "0.10.2"): _SLOW_SCATTER,
    ("gpu", "0.11.0"): _SLOW_SCATTER,
    ("cpu", "0.10.2"): _WRONG_SUMS,
}


def known_fault(platform: str, jaxlib: str) -> str | None:
    """One sentence if this release of jaxlib is known to be wrong, or very slow, on this platform; else None."""
    fault = _FAULTS.get((platform, jaxlib))
    return fault and f"jaxlib {jaxlib} {fault}; another release, such as 0.10.1, does not"
