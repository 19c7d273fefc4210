"""grokjax trains grids of grokking runs at once. The public face: run(experiment) -> path, load(path).

Importing this package imports no JAX; `run` does.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokjax.version import __version__ as __version__

if TYPE_CHECKING:
    from grokjax.experiment.config import Experiment

# jax 0.10.1 writes two lines of 2,000 characters for each CPU program that it finds in its own compilation cache.
# XLA's real errors are Python exceptions. Read when JAX is imported; a value that is set already stays.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def load(path: str | Path, overrides: list[str] | None = None) -> Experiment:
    """An experiment from a YAML file and overrides such as 'task.p=47'. Raises ConfigError in sentences."""
    from grokjax.experiment.loading import load_experiment

    return load_experiment(path, overrides)


def run(experiment: Experiment | str | Path, **execution: Any) -> Path:
    """Train an experiment (or continue it) and return its results directory.

    `execution` overrides settings of how it is done here, e.g. out="results/x", slots=64. Read the results with
    `analysis.load(path)`. Raises ConfigError, Locked or Interrupted.
    """
    from grokjax.driver.session import run_experiment

    return run_experiment(
        load(experiment) if isinstance(experiment, str | Path) else experiment, execution
    )
