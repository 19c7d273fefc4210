"""The published plots of source 002, from whichever of our results exist, and those of its list of things to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from analysis import readings
from analysis.figures import comparisons, slingshots, weight_figures
from analysis.figures.comparisons import Bar
from analysis.figures.probe_curves import Curve, about, probe_curves
from analysis.sources import slingshot_claims
from analysis.sources.claims import MissingError, Results
from analysis.sources.estimates import Estimate, of_times
from analysis.sources.parts import Part, at_hand

RANDOM, LABELS = "s002_random_split", "s002_label_split"
Picture = Callable[[Results], Figure]

LOSS = Curve("val_loss", "val loss", also="train_loss")
ACCURACY = Curve("val_accuracy", "val accuracy", also="train_accuracy")
SPECTRAL = Curve("output_spectral", "spectral norm of the output")
SPARSITY = Curve("sparsity", "share of weights below 0.01")
SIZE = 91_107


def bar(e: Estimate) -> Bar:
    return Bar(e.interval, int(np.isfinite(e.values).sum()), e.n)


def _main(experiment: str) -> Picture:
    """The two plots of each experiment, taken apart: what shared an axis there has its own here."""
    curves = [
        LOSS,
        Curve("val_loss", "val loss (log)", True, "train_loss"),
        SPECTRAL,
        ACCURACY,
        SPARSITY,
        Curve("dead_share", "share of them fed by '+' and '='"),
    ]
    return lambda r: probe_curves({"": r.runs(experiment)}, curves)


def _accuracy(log_time: bool) -> Picture:
    return lambda r: probe_curves({"": r.runs(RANDOM)}, [ACCURACY, SPECTRAL, SPARSITY], log_time)


def _active(results: Results) -> Figure:
    curves = [
        Curve("active_weights", "active weights (dashed: all)", level=SIZE),
        Curve("sparsity_structural", "sparsity, constants folded", also="sparsity"),
    ]
    return probe_curves({"": results.runs(RANDOM)}, curves, log_time=False)


def _speed(results: Results) -> Figure:
    tensors = {"all": "", "embedding": "/W_E", "linear 1": "/W_0", "linear 2": "/W_U"}
    runs = results.runs(RANDOM)
    known = runs["probe"].to_numpy()
    curves = [
        Curve(f"relative_speed{end}", f"relative speed, {name}", True)
        for name, end in tensors.items()
        if f"relative_speed{end}" in known
    ]
    if not curves:
        raise MissingError("relative_speed was not measured")
    return probe_curves({"": runs}, curves)


def _pca(experiment: str, of: str) -> Picture:
    def draw(results: Results) -> Figure:
        found = results.measured(experiment, "pca")
        if of not in found:
            raise MissingError(f"the PCA of {of} was not measured in {experiment}")
        last = found.isel(run=0, snapshot=-1)
        names = last["token" if of == "embedding" else "x"].to_numpy().astype(int)
        words = {97: "+", 98: "="} if of == "embedding" else {}
        what = "rows of the embedding, '+' and '=' included" if of == "embedding" else (
            "logits of the 97 rows x + 8, labelled with x")  # fmt: skip
        caption = (
            f"{experiment}: one run of n = {found.sizes['run']} (seed {_seed(last)}), weights of the end; {what}. "
            "Colour: the order of the numbers."
        )
        points = last[of].transpose(..., "component").to_numpy()
        labels = [words.get(n, str(n)) for n in names]
        share = last[f"{of}_share"].to_numpy()
        return weight_figures.pca_scatter(points, share, labels, f"{of}, two components", caption)

    return draw


def _seed(one: xr.Dataset) -> str:
    return f"{int(one['seed'])}" if "seed" in one.coords else "of the first run"


def _pruning(results: Results) -> Figure:
    return weight_figures.pruning_curve(results.measured(RANDOM, "pruning"), RANDOM)


def _fourier(experiment: str) -> Picture:
    return lambda r: weight_figures.fourier_spectrum(
        r.measured(experiment, "embedding_fourier"), experiment
    )


def _arms(results: Results) -> dict[str, xr.Dataset]:
    found = {"control": results.runs("s002_scale_output", intervention__armed=False)}
    for factor in (1.5, 2.0, 4.0):
        where = {"intervention__armed": True, "intervention__factor": factor}
        found[f"times {factor:g}"] = results.runs("s002_scale_output", **where)
    return found


def _decays(results: Results) -> dict[str, xr.Dataset]:
    return {
        f"decay {d:g}": results.runs("s002_weight_decay", optimizer__weight_decay=d)
        for d in (0.0, 0.01, 0.1, 1.0)
    }


def _curves_of(groups: Callable[[Results], dict[str, xr.Dataset]]) -> Picture:
    return lambda r: probe_curves(groups(r), [ACCURACY, LOSS, SPECTRAL])


def _bars_of(groups: Callable[[Results], dict[str, xr.Dataset]]) -> Picture:
    def draw(results: Results) -> Figure:
        found = groups(results)
        budget = max(runs.attrs["budget"] for runs in found.values())
        rows = {
            name: {
                f"{side} 99 %": bar(
                    of_times(readings.first_above(runs, f"{side}_accuracy", 0.99), budget)
                )
                for side in ("train", "val")
            }
            for name, runs in found.items()
        }
        return comparisons.bars(rows, budget, "epochs to 99 % accuracy", about(found))

    return draw


def _slingshots(results: Results) -> Figure:
    losses = {"cross_entropy_float32": "float32 loss", "cross_entropy": "accurate loss"}
    groups = {
        f"{name}, eps {eps:g}": results.runs(
            "s002_slingshots", optimizer__eps=eps, train__loss=loss
        )
        for loss, name in losses.items()
        for eps in (1e-8, 1e-5)
    }
    return slingshots.slingshot_figure(groups, about(groups))


def _slingshots_with(group: Sequence[Part]) -> Picture:
    """A column for each configuration that was run."""

    def draw(results: Results) -> Figure:
        groups, _ = at_hand(group, results)
        return slingshots.slingshot_figure(groups, about(groups))

    return draw


def _parity(results: Results) -> Figure:
    curves = [ACCURACY, LOSS]
    return probe_curves({"": results.runs("s002_sparse_parity")}, curves, log_time=False)


def _per_epoch(results: Results) -> float:
    return float(results.runs("s002_sparse_parity")["steps_per_epoch"].to_numpy()[0])


def _neurons(results: Results) -> Figure:
    name = "s002_sparse_parity"
    groups = {"": results.measured(name, "effective_sparsity")}
    return weight_figures.over_snapshots(groups, "neurons_same_accuracy", "neurons that suffice", True,
                                         _per_epoch(results), name)  # fmt: skip


def _subnetworks(results: Results) -> Figure:
    name = "s002_sparse_parity"
    found = results.measured(name, "subnetworks")
    groups = {part: found.sel(part=part) for part in found["part"].to_numpy()}
    return weight_figures.over_snapshots(
        groups, "norm", "norm of the part", True, _per_epoch(results), name
    )


PICTURES: dict[str, Picture] = {
    "random_split": _main(RANDOM),
    "accuracy_linear_time": _accuracy(False),
    "accuracy_log_time": _accuracy(True),
    "label_split": _main(LABELS),
    "active_weights": _active,
    "speed": _speed,
    "pruning": _pruning,
    "embedding_pca": _pca(RANDOM, "embedding"),
    "logits_pca": _pca(RANDOM, "logits"),
    "embedding_pca_label_split": _pca(LABELS, "embedding"),
    "embedding_fourier": _fourier(RANDOM),
    "embedding_fourier_label_split": _fourier(LABELS),
    "intervention": _curves_of(_arms),
    "intervention_times": _bars_of(_arms),
    "weight_decay": _curves_of(_decays),
    "weight_decay_times": _bars_of(_decays),
    "slingshots": _slingshots,
    "slingshots_decay": _slingshots_with(slingshot_claims.DECAYED),
    "slingshots_optimizers": _slingshots_with(slingshot_claims.OTHERS),
    "sparse_parity": _parity,
    "sparse_parity_neurons": _neurons,
    "sparse_parity_subnetworks": _subnetworks,
}
