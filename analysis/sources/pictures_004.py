"""The published plots of source 004 on raw values, from whichever of our results exist."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

from analysis.figures import comparisons, weight_figures
from analysis.figures.comparisons import Times
from analysis.figures.probe_curves import Curve, about, probe_curves
from analysis.power_law import fit_power_law
from analysis.sources import parts_004 as reads
from analysis.sources.claims import MissingError, Results
from analysis.sources.parts import Part, at_hand
from analysis.sources.parts_004 import (
    DECAYS,
    MLP,
    NONE,
    NORMS,
    PATHS,
    RATES,
    SCALES,
    SCALES_LR,
)
from analysis.sources.pictures_002 import bar

Picture = Callable[[Results], Figure]

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


def _curves(group: Sequence[Part], curves: list[Curve], log_time: bool = False) -> Picture:
    return lambda r: probe_curves(at_hand(group, r)[0], curves, log_time)


def _bars(group: Sequence[Part]) -> Picture:
    """Epochs to loss 0.01 on train and test rows, as published, and to accuracy 0.995."""

    def draw(results: Results) -> Figure:
        found, _ = at_hand(group, results)
        budget = max(runs.attrs["budget"] for runs in found.values())
        rows = {
            name: {
                "train loss 0.01": bar(reads.train_falls(runs)),
                "test loss 0.01": bar(reads.loss_falls(runs)),
                "test accuracy 0.995": bar(reads.generalises(runs)),
            }
            for name, runs in found.items()
        }
        return comparisons.bars(rows, budget, "epochs", about(found))

    return draw


def _scatter(group: Sequence[Part], measure: reads.Read, label: str) -> Picture:
    def draw(results: Results) -> Figure:
        found = {}
        for name, runs in at_hand(group, results)[0].items():
            try:
                found[name] = (Times(measure(runs).values, reads.generalises(runs).values), runs)
            except MissingError:
                continue
        if not found:
            raise MissingError("no configuration has these measurements")
        groups = {name: runs for name, (_, runs) in found.items()}
        budget = max(runs.attrs["budget"] for runs in groups.values())
        points = {name: times for name, (times, _) in found.items()}
        return comparisons.scatter(
            points, budget, label, "epochs to test accuracy 0.995", about(groups)
        )

    return draw


def _rates_and_decays(results: Results) -> Figure:
    rates, decays = at_hand(RATES, results)[0], at_hand(DECAYS, results)[0]
    lines = []
    for found, name in ((decays, "weight decay"), (rates, "learning rate")):
        setting = f"optimizer.{name.replace(' ', '_')}"
        values = [float(runs[setting].to_numpy()[0]) for runs in found.values()]
        lines.append((name, values, [reads.generalises(runs).interval for runs in found.values()]))
    budget = max(runs.attrs["budget"] for runs in (*rates.values(), *decays.values()))
    told = about({**rates, **decays})
    label = "epochs to test accuracy 0.995"
    return comparisons.two_axes(lines[0], lines[1], budget, label, told)


def _ntk(experiment: str, axis: str) -> Picture:
    def draw(results: Results) -> Figure:
        found = results.measured(experiment, "ntk")
        # At step 0 there is nothing but rounding.
        found = found.assign(distance=found["distance"].where(found["distance"] > 1e-5))
        values = found[axis].to_numpy()
        word = axis.rsplit(".", 1)[-1].replace("_", " ")
        groups = {
            f"{word} {value:g}": found.isel(run=np.flatnonzero(values == value))
            for value in np.unique(values)
        }
        return weight_figures.over_snapshots(groups, "distance", "relative NTK distance", True, 1.0,
                                             experiment)  # fmt: skip

    return draw


def _power_law(results: Results) -> Figure:
    """Exponent of the eigenvalues' upper tail at each saved set of weights, train features."""
    found = results.measured("s004_layernorm", "spectrum")
    eigenvalues = (
        found["eigenvalue"].sel(rows="train").transpose("run", "snapshot", "rank").to_numpy()
    )
    exponent = np.array([[fit_power_law(x).exponent for x in run] for run in eigenvalues])
    fitted = found[["step", "id"]].assign(exponent=(("run", "snapshot"), exponent))
    places = found["model.ln"].to_numpy().astype(str)
    groups = {
        name: fitted.isel(run=np.flatnonzero(places == place))
        for name, place in (
            ("No LN", "none"),
            ("A*", "attn-pre"),
            ("M+A*", "pre"),
            ("M", "mlp-pre"),
        )
        if (places == place).any()
    }
    label = "power-law exponent (train features)"
    return weight_figures.over_snapshots(groups, "exponent", label, False, 1.0, "s004_layernorm")


PICTURES: dict[str, Picture] = {
    "layernorm_accuracy": _curves(NORMS, [ACCURACY]),
    "layernorm_loss": _curves(NORMS, [LOSS]),
    "layernorm_times": _bars(NORMS),
    "fourier_concentration": _curves(NORMS, [CONCENTRATION]),
    "fourier_against_generalisation": _scatter(
        reads.WITH_FOURIER, reads.fourier_time, "epochs to C_Fourier of 1"
    ),
    "features": _curves(NORMS, FEATURES),
    "features_weight_decay": _curves(DECAYS, FEATURES),
    "rank_against_generalisation_train": _scatter(
        reads.WITH_FLOOR,
        reads.floor_time("train_effective_rank"),
        "epochs to the floor of effective rank (train)",
    ),
    "rank_against_generalisation_test": _scatter(
        reads.WITH_FLOOR,
        reads.floor_time("val_effective_rank"),
        "epochs to the floor of effective rank (test)",
    ),
    "power_law": _power_law,
    "readout_scale": _curves(SCALES, [LOSS, UPDATES]),
    "readout_scale_lr": _curves(SCALES_LR, [LOSS, UPDATES]),
    "readout_scale_times": _bars(SCALES),
    "readout_scale_lr_times": _bars(SCALES_LR),
    "readout_scale_ntk": _ntk("s004_readout_scale", "model.readout_scale"),
    "readout_scale_lr_ntk": _ntk("s004_readout_scale_lr", "model.readout_scale"),
    "weight_decay": _curves(DECAYS, [LOSS, UPDATES]),
    "weight_decay_times": _bars(DECAYS),
    "learning_rate": _curves(RATES, [LOSS, UPDATES]),
    "learning_rate_times": _bars(RATES),
    "learning_rate_and_decay": _rates_and_decays,
    "eps0": _curves(reads.EPS, [LOSS, UPDATES]),
    "eps0_ntk": _ntk("s004_eps0", "optimizer.eps"),
    "attention_entropy": _curves((*NORMS, *PATHS[:2]), [Curve("attention_entropy", "attention entropy (nats)")], True),
    "shortcut": _curves(
        (NONE, MLP, PATHS[1]),
        [Curve("sr_train_as_published", "SR-train, as published"), Curve("sr_train", "SR-train, clean")],
    ),
    "attention_paths": _curves((*PATHS[:2], NONE), [LOSS, ACCURACY]),
    "mlp_with_values": _curves((MLP, PATHS[2]), [LOSS, ACCURACY]),
    "rmsnorm": _curves(reads.RMS, [LOSS, ACCURACY]),
    "rmsnorm_times": _bars(reads.RMS),
    "depth": _curves(reads.DEEP, [LOSS, ACCURACY]),
    "depth_times": _bars(reads.DEEP),
}  # fmt: skip
