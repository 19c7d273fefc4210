"""JAX for the tests: four virtual devices, and a compilation cache that makes a second run fast.

Here and not in a fixture, because JAX reads these once, when it starts.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # as grokjax does, but jax comes first here

import jax

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_compilation_cache_dir", str(Path.home() / ".cache" / "grokjax-tests"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
