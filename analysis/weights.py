"""Final weights of the runs of a results directory, for what no probe has measured. Imports no JAX."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from analysis.load import ResultsError
from grokjax.results.sealed import Damaged
from grokjax.results.store import GroupStore
from grokjax.results.weights import Weights, save_weights

Tensors = dict[str, np.ndarray]


def final_weights(dataset: xr.Dataset) -> list[Tensors]:
    """Tensors by name of every run of the dataset that has ended, others left out. Raises ResultsError."""
    root = Path(dataset.attrs["path"]) / "groups"
    groups, ids = dataset["group"].to_numpy(), dataset["id"].to_numpy()
    stores = {group: GroupStore(root / group).weights for group in np.unique(groups)}
    with_weights = [
        (stores[group], str(run))
        for group, run in zip(groups, ids, strict=True)
        if stores[group].has(str(run))
    ]
    return list(_read_all(with_weights))


def export_weights(path: str | Path, run: str, file: str | Path, step: int | None = None) -> Path:
    """Write the weights of one run, at its end or at the step of a snapshot, as a safetensors file by tensor names.

    Raises ResultsError.
    """
    for directory in sorted(Path(path).glob("groups/*")):
        weights = GroupStore(directory).weights
        if weights.has(run, step):
            try:
                return save_weights(weights, run, Path(file), step)
            except Damaged as error:
                raise ResultsError(
                    f"{error}; start the experiment again to train it again"
                ) from None
    at = "at its end" if step is None else f"at step {step}"
    raise ResultsError(
        f"{path}: no weights of run {run} {at} were saved; runs.csv has the ids of all runs"
    )


def _read_all(runs: list[tuple[Weights, str]]) -> Iterator[Tensors]:
    for weights, run in runs:
        try:
            yield weights.read(run)
        except Damaged as error:
            raise ResultsError(f"{error}; start the experiment again to train it again") from None


def n_parameters(tensors: Tensors) -> int:
    return sum(x.size for x in tensors.values())


def share_below(tensor: np.ndarray, threshold: float) -> float:
    return float((np.abs(tensor) < threshold).mean())
