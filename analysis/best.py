"""The best of several runs: of those that differ only in one setting, the one that fitted its training rows best."""

from __future__ import annotations

import numpy as np
import xarray as xr

from analysis import readings
from analysis.load import ResultsError
from grokjax.experiment.axis_names import split_names
from grokjax.quoting import shown


def best_of(dataset: xr.Dataset, axis: str) -> xr.Dataset:
    """Of the runs that differ only in `axis`, the one with the lowest training loss at its last evaluation.

    Some figures of Henighan et al. 2023 use the best of several initialisations, so that runs that got stuck do not
    count. A run without a finite training loss is never the best. Raises ResultsError if there is no such axis.
    """
    axes = dataset.attrs["axes"]
    if axis not in axes:
        named = ", ".join(axes) or "none"
        raise ResultsError(
            f"--best-of {shown(axis)}: is not an axis of {dataset.attrs['name']}; use one of: {named}"
        )
    others = [name for a in axes if a != axis for name in split_names(a) if name in dataset.coords]
    codes = [np.unique(dataset[name].to_numpy(), return_inverse=True)[1] for name in others]
    points = np.stack(codes, 1) if codes else np.zeros((dataset.sizes["run"], 1), int)
    _, cell = np.unique(points, axis=0, return_inverse=True)
    loss = readings.end(dataset, "train_loss")
    loss = np.where(np.isfinite(loss), loss, np.inf)
    order = np.lexsort((loss, cell))
    first = np.unique(cell[order], return_index=True)[1]
    kept = dataset.isel(run=np.sort(order[first]))
    left = {a: values for a, values in axes.items() if a != axis}
    return kept.assign_attrs({**dataset.attrs, "axes": left, "best_of": axis})
