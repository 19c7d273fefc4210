"""Sparse parity (Merrill, Tsilivis & Shukla 2023; source 002, appendix b): a dense network turns into a sparse one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from analysis import readings
from analysis.sources.claims import Claim, Finding, MissingError, Results
from analysis.sources.estimates import of_times, of_values, percent
from analysis.sources.verdicts import every, mostly, number, told

EXPERIMENT = "s002_sparse_parity"
PART = "Sparse parity (Merrill et al. 2023)"
JUMPS = (0.75, 0.95)
"""Test accuracies that can count as the jump: midway between chance and 1, and nearly there."""
NEAR = 20.0
"""Epochs around the jump."""


def _memorised(results: Results) -> Finding:
    runs = results.runs(EXPERIMENT)
    return told(of_times(readings.first_above(runs, "train_accuracy", 0.98), runs.attrs["budget"]))


def _at_memorisation(results: Results) -> Finding:
    runs = results.runs(EXPERIMENT)
    when = readings.first_above(runs, "train_accuracy", 0.98).time
    values = [
        float(value[np.searchsorted(time, t)]) if np.isfinite(t) else np.nan
        for (time, value), t in zip(readings.each(runs, "val_accuracy"), when, strict=True)
    ]
    return number(of_values(values, percent, "accuracy at memorisation"), 0.5, figure=True)


def _final(results: Results) -> Finding:
    runs = results.runs(EXPERIMENT)
    return every(of_values(readings.end(runs, "val_accuracy"), percent), 1, 1)


def _sizes(results: Results) -> tuple[xr.Dataset, np.ndarray, np.ndarray]:
    """Runs, epochs (run, snapshot) of the weights, and the fewest neurons with the same train accuracy."""
    found = results.measured(EXPERIMENT, "effective_sparsity")
    runs = results.runs(EXPERIMENT)
    order = [list(runs["id"].to_numpy()).index(name) for name in found["id"].to_numpy()]
    runs = runs.isel(run=order)
    epochs = found["step"].to_numpy() / runs["steps_per_epoch"].to_numpy()[:, None]
    size = found["neurons_same_accuracy"].transpose("run", "snapshot").to_numpy()
    return runs, epochs, size


def _last(size: np.ndarray) -> np.ndarray:
    return np.array(
        [row[np.isfinite(row)][-1] if np.isfinite(row).any() else np.nan for row in size]
    )


def _final_size(results: Results) -> Finding:
    sizes = _last(_sizes(results)[2])
    small = int((sizes <= 10).sum())
    finding = mostly(small, len(sizes), 0.8, "At most 10 neurons")
    return Finding(of_values(sizes).text, finding.verdict, finding.evidence)


def _drop(level: float) -> Callable[[Results], Finding]:
    def judge(results: Results) -> Finding:
        runs, epochs, size = _sizes(results)
        return _judge_drop(readings.first_above(runs, "val_accuracy", level).time, epochs, size)

    return judge


def _judge_drop(jump: np.ndarray, epochs: np.ndarray, size: np.ndarray) -> Finding:
    """Largest fall, a size over one after it, between 20 epochs before the jump and 20 after."""
    ratios = np.full(len(jump), np.nan)
    for run, (epoch, row) in enumerate(zip(epochs, size, strict=True)):
        near = np.isfinite(row) & (np.abs(epoch - jump[run]) <= NEAR)
        if near.any():
            ratios[run] = (np.maximum.accumulate(row[near]) / row[near]).max()
    if not np.isfinite(ratios).any():
        raise MissingError("no weights were saved near a jump of the test accuracy")
    n = int(np.isfinite(ratios).sum())
    finding = mostly(int((ratios >= 10).sum()), n, 1.0, "Tenfold within 20 epochs")
    return Finding(of_values(ratios).text, finding.verdict, finding.evidence)


def _norm_change(part: str, rises: bool) -> Callable[[Results], Finding]:
    """Norm of a part of the network at the end over that at memorisation, the first weights after it."""

    def judge(results: Results) -> Finding:
        found = results.measured(EXPERIMENT, "subnetworks").sel(part=part)
        norm = found["norm"].transpose("run", "snapshot").to_numpy()
        if norm.shape[1] < 2:
            raise MissingError("subnetworks were measured at the end only")
        runs = results.runs(EXPERIMENT)
        order = [list(runs["id"].to_numpy()).index(name) for name in found["id"].to_numpy()]
        when = readings.first_above(runs.isel(run=order), "train_accuracy", 0.98).time
        epochs = found["step"].to_numpy() / runs["steps_per_epoch"].to_numpy()[order][:, None]
        then = [
            row[np.argmax(e >= t)] if (e >= t).any() else np.nan
            for row, e, t in zip(norm, epochs, when, strict=True)
        ]
        ratios = _last(norm) / np.array(then)
        right = int(((ratios > 1) == rises)[np.isfinite(ratios)].sum())
        word = "rises" if rises else "falls"
        finding = mostly(right, int(np.isfinite(ratios).sum()), 1.0, f"It {word}")
        return Finding(of_values(ratios).text, finding.verdict, finding.evidence)

    return judge


PARITY: list[Claim] = [
    Claim(PART, "train accuracy reaches 98 %, epoch", "no number", _memorised),
    Claim(PART, "test accuracy then", "≈50 %", _at_memorisation),
    Claim(PART, "test accuracy at the end, every seed", "100 %", _final),
    Claim(PART, "final size of the generalising subnetwork", "10 or less in 4 of 5 seeds (6, 6, 6, 8, 8)", _final_size),
    *[Claim(PART, f"fall of the effective size within 20 epochs of the jump ({level:.0%})", "tenfold", _drop(level))
      for level in JUMPS],
    Claim(PART, "norm of the generalising part, end over memorisation", "rises",
          _norm_change("generalising", True)),
    Claim(PART, "norm of its complement", "falls", _norm_change("complement", False)),
]  # fmt: skip
