"""Final weights of the runs of a results directory, for what no probe has measured. Imports no JAX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from safetensors import SafetensorError
from safetensors.numpy import load_file

from analysis.load import ResultsError
from grokjax.quoting import cut_path

Tensors = dict[str, np.ndarray]


def final_weights(dataset: xr.Dataset) -> list[Tensors]:
    """Tensors by name of every run of the dataset that has ended. Other runs are left out."""
    root = Path(dataset.attrs["path"]) / "groups"
    groups, ids = dataset["group"].to_numpy(), dataset["id"].to_numpy()
    files = [
        root / group / "weights" / f"{run}.safetensors"
        for group, run in zip(groups, ids, strict=True)
    ]
    return [_read(file) for file in files if file.is_file()]


def _read(file: Path) -> Tensors:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise ResultsError(
            f"{cut_path(file)}: is damaged ({error}); restore it from a copy, or delete it and train again"
        ) from error


def n_parameters(tensors: Tensors) -> int:
    return sum(x.size for x in tensors.values())


def share_below(tensor: np.ndarray, threshold: float) -> float:
    return float((np.abs(tensor) < threshold).mean())
