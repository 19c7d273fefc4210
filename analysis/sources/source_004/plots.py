"""The published plots of source 004 with raw values, from those of our results that exist."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analysis.figures import comparisons, weight_figures
from analysis.figures.comparisons import Times
from analysis.figures.probe_curves import Curve, about
from analysis.power_law import fit_power_law
from analysis.sources.core.claims import MissingError, Results
from analysis.sources.core.configuration import at_hand
from analysis.sources.core.lookup import Sets
from analysis.sources.core.plots import Group, Picture, bars, curves
from analysis.sources.core.quantities import Read, falls, reaches_if_measured, settles
from analysis.sources.source_004.special import generalises

ACCURACY = Curve("val_accuracy", "test accuracy", also="train_accuracy")
LOSS = Curve("val_loss", "test loss", True, "train_loss")
UPDATES = Curve("update_norm", "update norm", True)
CONCENTRATION = Curve("fourier_concentration", "C_Fourier", True, level=1.0)
FEATURES = [
    Curve("train_effective_rank", "effective rank (train)", also="val_effective_rank"),
    Curve("train_rank", "rank (train)", also="val_rank"),
    Curve("train_stable_rank_unsquared", "stable rank, not squared (train)"),
    Curve("param_norm", "parameter norm"),
    CONCENTRATION,
]
ENTROPY = Curve("attention_entropy", "attention entropy (nats)")
SHORTCUT = [
    Curve("sr_train_as_published", "SR-train, as published"),
    Curve("sr_train", "SR-train, clean"),
]
GENERALISES = "epochs to test accuracy 0.995"
# Times to loss 0.01 on train and test rows, as published, and to accuracy 0.995.
TIMES = {
    "train loss 0.01": lambda runs: falls(runs, "train_loss", 0.01),
    "test loss 0.01": lambda runs: falls(runs, "val_loss", 0.01),
    "test accuracy 0.995": generalises,
}


def _times(group: Group) -> Picture:
    return bars(group, TIMES, "epochs")


def _scatter(group: Group, measure: Read, label: str) -> Picture:
    """One time of each run (`measure`) against the time at which it generalises."""

    def draw(results: Results) -> Figure:
        points, groups = {}, {}
        for name, runs in at_hand(group, results)[0].items():
            try:
                points[name] = Times(measure(runs).values, generalises(runs).values)
            except MissingError:
                continue
            groups[name] = runs
        if not points:
            raise MissingError("no configuration has these measurements")
        budget = max(runs.attrs["budget"] for runs in groups.values())
        return comparisons.scatter(points, budget, label, GENERALISES, about(groups))

    return draw


def _floor(group: Group, side: str, word: str) -> Picture:
    measure = lambda runs: settles(runs, f"{side}_effective_rank")  # noqa: E731
    return _scatter(group, measure, f"epochs to the floor of effective rank ({word})")


def _rates_and_decays(rates: Group, decays: Group) -> Picture:
    def draw(results: Results) -> Figure:
        by_axis = {group[0].where[0][0]: at_hand(group, results)[0] for group in (rates, decays)}
        lines = []
        for axis, groups in reversed(by_axis.items()):
            values = [float(runs[axis].to_numpy()[0]) for runs in groups.values()]
            limits = [generalises(runs).interval for runs in groups.values()]
            lines.append((_word(axis), values, limits))
        together = {name: runs for groups in by_axis.values() for name, runs in groups.items()}
        budget = max(runs.attrs["budget"] for runs in together.values())
        return comparisons.two_axes(lines[0], lines[1], budget, GENERALISES, about(together))

    return draw


def _word(axis: str) -> str:
    return axis.rsplit(".", 1)[-1].replace("_", " ")


def _ntk(group: Group) -> Picture:
    """NTK distance of all runs of the group's experiment; a colour for each value on its axis."""
    experiment, axis = group[0].experiment, group[0].where[0][0]

    def draw(results: Results) -> Figure:
        measured = results.measured(experiment, "ntk")
        # At step 0 the distance is only rounding.
        measured = measured.assign(distance=measured["distance"].where(measured["distance"] > 1e-5))
        values = measured[axis].to_numpy()
        groups = {
            f"{_word(axis)} {value:g}": measured.isel(run=np.flatnonzero(values == value))
            for value in np.unique(values)
        }
        label = "relative NTK distance"
        return weight_figures.over_snapshots(groups, "distance", label, True, 1.0, experiment)

    return draw


def _power_law(group: Group) -> Picture:
    """Exponent of the eigenvalues' upper tail at each saved set of weights, train features."""
    experiment = group[0].experiment

    def draw(results: Results) -> Figure:
        measured = results.measured(experiment, "spectrum")
        tail = (
            measured["eigenvalue"].sel(rows="train").transpose("run", "snapshot", "rank").to_numpy()
        )
        exponent = np.array([[fit_power_law(x).exponent for x in run] for run in tail])
        fitted = measured[["step", "id"]].assign(exponent=(("run", "snapshot"), exponent))
        places = measured["model.ln"].to_numpy().astype(str)
        groups = {
            one.name: fitted.isel(run=np.flatnonzero(places == one.where[0][1]))
            for one in group
            if (places == one.where[0][1]).any()
        }
        label = "power-law exponent (train features)"
        return weight_figures.over_snapshots(groups, "exponent", label, False, 1.0, experiment)

    return draw


def _fourier(group: Group) -> Picture:
    measure = lambda runs: reaches_if_measured(runs, "fourier_concentration", 1.0)  # noqa: E731
    return _scatter(group, measure, "epochs to C_Fourier of 1")


def pictures(sets: Sets) -> dict[str, Picture]:
    """File stem -> function that draws the figure."""
    norms, scales, scales_lr = sets["norms"], sets["scales"], sets["scales_lr"]
    (none, _, _, mlp), (qk, values, both) = norms, sets["paths"]
    rates, decays, eps, rms, deep = (sets[n] for n in ("rates", "decays", "eps", "rms", "deep"))
    return {
        "layernorm_accuracy": curves(norms, [ACCURACY]),
        "layernorm_loss": curves(norms, [LOSS]),
        "layernorm_times": _times(norms),
        "fourier_concentration": curves(norms, [CONCENTRATION]),
        "fourier_against_generalisation": _fourier(sets["with_fourier"]),
        "features": curves(norms, FEATURES),
        "features_weight_decay": curves(decays, FEATURES),
        "rank_against_generalisation_train": _floor(sets["with_floor"], "train", "train"),
        "rank_against_generalisation_test": _floor(sets["with_floor"], "val", "test"),
        "power_law": _power_law(norms),
        "readout_scale": curves(scales, [LOSS, UPDATES]),
        "readout_scale_lr": curves(scales_lr, [LOSS, UPDATES]),
        "readout_scale_times": _times(scales),
        "readout_scale_lr_times": _times(scales_lr),
        "readout_scale_ntk": _ntk(scales),
        "readout_scale_lr_ntk": _ntk(scales_lr),
        "weight_decay": curves(decays, [LOSS, UPDATES]),
        "weight_decay_times": _times(decays),
        "learning_rate": curves(rates, [LOSS, UPDATES]),
        "learning_rate_times": _times(rates),
        "learning_rate_and_decay": _rates_and_decays(rates, decays),
        "eps0": curves(eps, [LOSS, UPDATES]),
        "eps0_ntk": _ntk(eps),
        "attention_entropy": curves((*norms, qk, values), [ENTROPY], log_time=True),
        "shortcut": curves((none, mlp, values), SHORTCUT),
        "attention_paths": curves((qk, values, none), [LOSS, ACCURACY]),
        "mlp_with_values": curves((mlp, both), [LOSS, ACCURACY]),
        "rmsnorm": curves(rms, [LOSS, ACCURACY]),
        "rmsnorm_times": _times(rms),
        "depth": curves(deep, [LOSS, ACCURACY]),
        "depth_times": _times(deep),
    }
