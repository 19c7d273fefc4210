"""Configurations of source 004 by the names that it gives them, and what is read off one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import xarray as xr

from analysis import readings
from analysis.sources import estimates
from analysis.sources.claims import MissingError
from analysis.sources.estimates import Estimate, of_times, of_values, plain
from analysis.sources.parts import parts

Read = Callable[[xr.Dataset], Estimate]


NORMS = NONE, ATTENTION, BOTH, MLP = parts(
    "s004_layernorm", "model.ln", {"No LN": "none", "A*": "attn-pre", "M+A*": "pre", "M": "mlp-pre"}
)
PATHS = parts(
    "s004_attention_paths",
    "model.ln",
    {"A^qk": "attn-pre-qk", "A^v": "attn-pre-v", "M+A^v": "pre-v"},
)
RATES = parts(
    "s004_learning_rate",
    "optimizer.learning_rate",
    {"lr 1e-3": 1e-3, "lr 3e-3": 3e-3, "lr 5e-3": 5e-3, "lr 1e-2": 1e-2},
)
DECAYS = parts(
    "s004_weight_decay",
    "optimizer.weight_decay",
    {f"wd {d:g}": d for d in (0.1, 0.2, 0.5, 0.75, 1.0, 1.5)},
)
ALPHAS = (0.5, 0.75, 1.0, 1.25, 1.5)
SCALES = parts("s004_readout_scale", "model.readout_scale", {f"alpha {a:g}": a for a in ALPHAS})
SCALES_LR = parts(
    "s004_readout_scale_lr", "model.readout_scale", {f"alpha {a:g}, lr/alpha²": a for a in ALPHAS}
)
SUBTRACTED = parts(
    "s004_subtract_initial",
    "model.readout_scale",
    {f"alpha {a:g}, output minus its initial value": a for a in (0.5, 1.0, 1.5)},
)
EPS = NEARLY_0, BOUNDED, USUAL = parts(
    "s004_eps0", "optimizer.eps", {"eps 1e-30": 1e-30, "eps 1e-18": 1e-18, "eps 1e-8": 1e-8}
)
"""1e-30 is as good as 0, but for 0/0: where a mean square underflows and the mean does not, updates are enormous. 1e-18
is as small as it can be without that: the root of the smallest normal float32 is 1.1e-19."""
RMS = parts("s004_rmsnorm", "model.ln", {"M": "mlp-pre", "M+A*": "pre", "A*": "attn-pre"})
DEEP = parts(
    "s004_depth", "model.ln", {"M": "mlp-pre", "M+A*": "pre", "A*": "attn-pre", "No LN": "none"}
)
_OTHER_DECAYS = tuple(part for part in DECAYS if part.name != "wd 1")
WITH_FOURIER = (*NORMS, *PATHS, *_OTHER_DECAYS)
"""Configurations whose C_Fourier is measured; decay 1 is No LN."""
WITH_FLOOR = (*NORMS, *_OTHER_DECAYS)
"""Those trained on for 4,000 steps after they have generalised. In runs that end right then, no floor could be later
than generalisation, and the two would go together by construction."""


def generalises(runs: xr.Dataset) -> Estimate:
    """Time to test accuracy 0.995, seed by seed."""
    return of_times(readings.first_above(runs, "val_accuracy", 0.995), runs.attrs["budget"])


def loss_falls(runs: xr.Dataset) -> Estimate:
    """Time to test loss 0.01, seed by seed."""
    return of_times(readings.first_below(runs, "val_loss", 0.01), runs.attrs["budget"])


def train_falls(runs: xr.Dataset) -> Estimate:
    """Time to train loss 0.01, seed by seed."""
    return of_times(readings.first_below(runs, "train_loss", 0.01), runs.attrs["budget"])


def best(runs: xr.Dataset) -> Estimate:
    outcome = readings.first_above(runs, "val_accuracy", 1.0)
    return estimates.of_best(outcome, runs.attrs["budget"], 5)


def mean_rises(probe: str, level: float) -> Read:
    return lambda runs: estimates.of_mean_curve(runs, probe, level)


def mean_falls(probe: str, level: float) -> Read:
    return lambda runs: estimates.of_mean_curve(runs, probe, level, falling=True)


def mean_peak(probe: str) -> Read:
    return lambda runs: estimates.of_mean_extreme(runs, probe)


def mean_low(probe: str) -> Read:
    return lambda runs: estimates.of_mean_floor(runs, probe)


def peak(probe: str) -> Read:
    return lambda runs: of_values(readings.peak(runs, probe)[0], what=probe)


def highest_at(probe: str) -> Read:
    return lambda runs: of_values(readings.peak(runs, probe)[1], what=probe)


def start(probe: str) -> Read:
    return lambda runs: of_values(readings.start(runs, probe), what=probe)


def end(probe: str) -> Read:
    """With a note of when that was: a run that the stop rule ended is compared with one of 10,000 epochs."""

    def read(runs: xr.Dataset) -> Estimate:
        last = np.median(readings.measured(runs, probe).last_step)
        found = of_values(readings.end(runs, probe), what=probe)
        return replace(found, note=f"Ours end at epoch {plain(last)} (median).")

    return read


def fourier_time(runs: xr.Dataset) -> Estimate:
    measured_at_all(runs, "fourier_concentration")
    outcome = readings.first_above(runs, "fourier_concentration", 1.0)
    return of_times(outcome, runs.attrs["budget"])


def floor_time(probe: str) -> Read:
    """First within 10 % of the smallest value from the peak on, whether or not it still falls."""
    return lambda runs: of_values(readings.near_minimum(runs, probe), what=probe)


def measured_at_all(runs: xr.Dataset, probe: str) -> None:
    if not readings.measured(runs, probe).done.any():
        raise MissingError(f"{probe} was not measured in {runs.attrs['name']}")
