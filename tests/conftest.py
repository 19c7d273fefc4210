"""JAX for the tests: four virtual devices, and a compilation cache that makes a second run fast.

Here and not in a fixture, because JAX reads these once, when it starts.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # as grokjax does, but jax comes first here

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_compilation_cache_dir", str(Path.home() / ".cache" / "grokjax-tests"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

MAPPED = Path("/proc/self/maps")
MOST_MAPPED = 30_000
"""Regions of memory; Linux kills a process, without a word, that wants more than 65,530 (vm.max_map_count)."""


@pytest.fixture(autouse=True)
def programs_are_dropped_before_linux_kills_the_process() -> Iterator[None]:
    """Each compiled program keeps some regions of memory for itself as long as JAX remembers it."""
    yield
    if MAPPED.exists() and MAPPED.read_bytes().count(b"\n") > MOST_MAPPED:
        jax.clear_caches()
        gc.collect()
