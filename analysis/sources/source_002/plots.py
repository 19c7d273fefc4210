"""The published plots of source 002 and those of its list of things to do, from those of our results that exist."""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure

from analysis.figures import slingshots, weight_figures
from analysis.figures.probe_curves import Curve, about, probe_curves
from analysis.sources.core.claims import MissingError, Results
from analysis.sources.core.configuration import Configuration, at_hand
from analysis.sources.core.lookup import Sets
from analysis.sources.core.plots import Group, Picture, bars, curves, one_experiment
from analysis.sources.core.quantities import reaches

LOSS = Curve("val_loss", "val loss", also="train_loss")
ACCURACY = Curve("val_accuracy", "val accuracy", also="train_accuracy")
SPECTRAL = Curve("output_spectral", "spectral norm of the output")
SPARSITY = Curve("sparsity", "share of weights below 0.01")
# The two plots of each experiment as separate panels: curves that share an axis there have their own here.
MAIN = [
    LOSS,
    Curve("val_loss", "val loss (log)", True, "train_loss"),
    SPECTRAL,
    ACCURACY,
    SPARSITY,
    Curve("dead_share", "share of them fed by '+' and '='"),
]
ACTIVE = [
    Curve("active_weights", "active weights (dashed: all)", level=91_107),
    Curve("sparsity_structural", "sparsity, constants folded", also="sparsity"),
]
TIMES = {
    "train 99 %": lambda runs: reaches(runs, "train_accuracy", 0.99),
    "val 99 %": lambda runs: reaches(runs, "val_accuracy", 0.99),
}


def _speed(one: Configuration) -> Picture:
    tensors = {"all": "", "embedding": "/W_E", "linear 1": "/W_0", "linear 2": "/W_U"}

    def draw(results: Results) -> Figure:
        runs = one.of(results)
        known = runs["probe"].to_numpy()
        panels = [
            Curve(f"relative_speed{end}", f"relative speed, {name}", True)
            for name, end in tensors.items()
            if f"relative_speed{end}" in known
        ]
        if not panels:
            raise MissingError("relative_speed was not measured")
        return probe_curves({"": runs}, panels)

    return draw


def _pca(one: Configuration, of: str) -> Picture:
    def draw(results: Results) -> Figure:
        measured = one.measured(results, "pca")
        if of not in measured:
            raise MissingError(f"the PCA of {of} was not measured in {one.experiment}")
        last = measured.isel(run=0, snapshot=-1)
        names = last["token" if of == "embedding" else "x"].to_numpy().astype(int)
        words = {97: "+", 98: "="} if of == "embedding" else {}
        what = "rows of the embedding, '+' and '=' included" if of == "embedding" else (
            "logits of the 97 rows x + 8, labelled with x")  # fmt: skip
        caption = (
            f"{one.experiment}: one run of n = {measured.sizes['run']} (seed {_seed(last)}), weights of the end; "
            f"{what}. Colour: the order of the numbers."
        )
        points = last[of].transpose(..., "component").to_numpy()
        labels = [words.get(n, str(n)) for n in names]
        share = last[f"{of}_share"].to_numpy()
        return weight_figures.pca_scatter(points, share, labels, f"{of}, two components", caption)

    return draw


def _seed(run: xr.Dataset) -> str:
    return f"{int(run['seed'])}" if "seed" in run.coords else "of the first run"


def _pruning(one: Configuration) -> Picture:
    return lambda r: weight_figures.pruning_curve(one.measured(r, "pruning"), one.experiment)


def _fourier(one: Configuration) -> Picture:
    return lambda r: weight_figures.fourier_spectrum(
        one.measured(r, "embedding_fourier"), one.experiment
    )


def _slingshots(group: Group, whole: bool = False) -> Picture:
    """A column for each configuration that was run (`whole`: all of them, or no figure)."""

    def draw(results: Results) -> Figure:
        groups, _ = at_hand(group, results, len(group) if whole else 1)
        return slingshots.slingshot_figure(groups, about(groups))

    return draw


def _per_epoch(one: Configuration, results: Results) -> float:
    return float(one.of(results)["steps_per_epoch"].to_numpy()[0])


def _neurons(one: Configuration) -> Picture:
    def draw(results: Results) -> Figure:
        groups = {"": one.measured(results, "effective_sparsity")}
        return weight_figures.over_snapshots(groups, "neurons_same_accuracy", "neurons that suffice", True,
                                             _per_epoch(one, results), one.experiment)  # fmt: skip

    return draw


def _subnetworks(one: Configuration) -> Picture:
    def draw(results: Results) -> Figure:
        measured = one.measured(results, "subnetworks")
        groups = {part: measured.sel(part=part) for part in measured["part"].to_numpy()}
        return weight_figures.over_snapshots(
            groups, "norm", "norm of the part", True, _per_epoch(one, results), one.experiment
        )

    return draw


def pictures(sets: Sets) -> dict[str, Picture]:
    """File stem -> function that draws the figure."""
    (random,), (labels,), (parity,) = sets["random"], sets["labels"], sets["parity"]
    arms, decays, probes = sets["arms"], sets["decays"], [ACCURACY, LOSS, SPECTRAL]
    label = "epochs to 99 % accuracy"
    return {
        "random_split": one_experiment(random, MAIN),
        "accuracy_linear_time": one_experiment(random, [ACCURACY, SPECTRAL, SPARSITY], False),
        "accuracy_log_time": one_experiment(random, [ACCURACY, SPECTRAL, SPARSITY]),
        "label_split": one_experiment(labels, MAIN),
        "active_weights": one_experiment(random, ACTIVE, False),
        "speed": _speed(random),
        "pruning": _pruning(random),
        "embedding_pca": _pca(random, "embedding"),
        "logits_pca": _pca(random, "logits"),
        "embedding_pca_label_split": _pca(labels, "embedding"),
        "embedding_fourier": _fourier(random),
        "embedding_fourier_label_split": _fourier(labels),
        "intervention": curves(arms, probes, log_time=True, whole=True),
        "intervention_times": bars(arms, TIMES, label, whole=True),
        "weight_decay": curves(decays, probes, log_time=True, whole=True),
        "weight_decay_times": bars(decays, TIMES, label, whole=True),
        "slingshots": _slingshots(sets["slingshots"], whole=True),
        "slingshots_decay": _slingshots(sets["decayed"]),
        "slingshots_optimizers": _slingshots(sets["optimizers"]),
        "sparse_parity": one_experiment(parity, [ACCURACY, LOSS], False),
        "sparse_parity_neurons": _neurons(parity),
        "sparse_parity_subnetworks": _subnetworks(parity),
    }
