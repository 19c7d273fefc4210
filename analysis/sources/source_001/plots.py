"""The published plots of source 001's first half with raw values, from those of our results that exist."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from analysis.figures import weight_figures
from analysis.figures.probe_curves import Curve, probe_curves
from analysis.measured import at_the_end
from analysis.sources.core.claims import Results
from analysis.sources.core.configuration import Configuration, at_hand
from analysis.sources.core.lookup import Sets
from analysis.sources.core.plots import Group, Picture, bars, best_against, chosen, curves
from analysis.sources.core.quantities import falls, reaches
from analysis.sources.source_001 import special
from analysis.sources.source_001.special import copies, digits, with_in_context

VAL = Curve("val_accuracy", "val accuracy", also="train_accuracy")
LOSS = Curve("val_loss", "val loss", also="train_loss")
LOG_LOSS = Curve("val_loss", "val loss (log)", True, "train_loss")
TIMES = {
    "train loss 0.1": lambda runs: falls(runs, "train_loss", 0.1),
    "val loss 0.1": lambda runs: falls(runs, "val_loss", 0.1),
    "val loss 3e-6": lambda runs: falls(runs, "val_loss", 3e-6),
}
PROGRESS = [
    LOG_LOSS,
    Curve("restricted_loss", "restricted loss", True, "val_loss"),
    Curve("excluded_loss", "excluded loss", True, "train_loss"),
    Curve("gini_embedding", "Gini, embedding", also="gini_neuron_logits"),
    Curve("trigonometric_fit", "trigonometric fit"),
    Curve("weight_squares", "sum of squared weights", True),
]
MATRICES = {
    "all": "",
    "embedding": "/W_E",
    "query": "/blocks.0.W_Q",
    "value": "/blocks.0.W_V",
    "MLP in": "/blocks.0.W_in",
    "unembedding": "/W_U",
}
WEIGHTS = [
    Curve(f"weight_squares{end}", f"squares, {name}", True) for name, end in MATRICES.items()
]


def _single(one: Configuration, names: str) -> Picture:
    """A panel for each digit, or for each copy, of one experiment."""

    def draw(results: Results) -> Figure:
        runs = one.of(results)
        found = digits(runs) if names == "digits" else copies(runs)
        panels = [
            Curve(name, f"val loss, {name.rsplit('/', 1)[1].replace('_', ' ')}") for name in found
        ]
        return probe_curves({"": runs}, panels, log_time=False)

    return draw


def _in_context(group: Group) -> Picture:
    """Loss on the last copy minus loss on the first, for each depth."""

    def draw(results: Results) -> Figure:
        named = {name: with_in_context(runs) for name, runs in at_hand(group, results)[0].items()}
        panels = [
            Curve("in_context", "last copy minus first copy", level=0.0),
            Curve("val_loss", "val loss", also="val_loss/copy_1"),
        ]
        return probe_curves(named, panels, log_time=False)

    return draw


def _both_ways(name: str, group: Group) -> dict[str, Picture]:
    """The same curves on a linear and on a logarithmic time axis."""
    return {
        name: curves(group, [LOSS, LOG_LOSS]),
        f"{name}_log": curves(group, [LOSS, LOG_LOSS], log_time=True),
    }


STAGES = {
    "memorised": lambda runs: reaches(runs, "train_accuracy", 0.99),
    "val loss at half its peak": lambda runs: special.falls_to_half(runs, "val_loss"),
    "val loss 0.1": lambda runs: falls(runs, "val_loss", 0.1),
}
"""Where memorisation, circuit formation and clean-up end (Nanda et al. 2023 have them by eye)."""


def _stages(one: Configuration, panels: list[Curve]) -> Picture:
    """Progress measures with a line where each stage ends in the median run."""

    def draw(results: Results) -> Figure:
        runs = one.of(results)
        figure = probe_curves({"": runs}, panels, True)
        ends = {name: read(runs).interval.estimate for name, read in STAGES.items()}
        for ax in figure.axes[: len(panels)]:
            for end, style in zip(ends.values(), ("-", "--", ":"), strict=True):
                if np.isfinite(end):
                    ax.axvline(end, color="#404040", linewidth=0.9, linestyle=style)
        told = "; ".join(f"{name} {end:,.0f}" for name, end in ends.items())
        figure.text(0.01, 0.99, f"vertical lines, steps: {told}", va="top", fontsize=7)
        return figure

    return draw


def _table(one: Configuration) -> Picture:
    letters = [chr(97 + i) for i in range(26)]
    return lambda r: weight_figures.filled_table(
        one.measured(r, "predictions"), one.experiment, letters
    )


def _circle(one: Configuration) -> Picture:
    """Two components of the output matrix; lines join neighbours by the network's own frequency, and n and n + 8."""

    def draw(results: Results) -> Figure:
        last = at_the_end(one.measured(results, "circles"))
        shares = last["share"].transpose("run", "frequency").to_numpy()
        run = last.isel(run=int(shares.max(1).argmax()))
        share = run["share"].to_numpy()
        n, k = run.sizes["element"], int(run["frequency"].to_numpy()[share.argmax()])
        own = [s for s in range(1, n) if k * s % n == 1]
        caption = (
            f"{one.experiment}: of n = {last.sizes['run']} runs the one with the clearest circle. First two principal "
            f"components of the rows of the output matrix; frequency {k} has {100 * share.max():.0f} % of the energy "
            "in this plane"
            f"{f', so neighbours differ by {own[0]}' if own else ''}. Colour: the residue modulo 8."
        )
        points = run["points"].transpose("element", "component").to_numpy()
        steps = [*own, 8] if n > 8 else own
        return weight_figures.output_map(points, np.arange(n) % 8, steps, "", caption)

    return draw


def _coset_map(one: Configuration) -> Picture:
    """t-SNE of the output matrix, coloured by the cosets that its clusters agree with best."""

    def draw(results: Results) -> Figure:
        scores = at_the_end(one.measured(results, "cosets"))
        maps = at_the_end(one.measured(results, "tsne"))
        best = int(scores["purity"].to_numpy().argmax())
        score = scores.isel(run=best)
        points = maps.isel(run=best)["points"].transpose("element", "component").to_numpy()
        side = "left" if float(score["left"]) else "right"
        caption = (
            f"{one.experiment}, {one.name}: the run with the purest clusters of n = {scores.sizes['run']}. Colour: "
            f"{side} cosets of the best of the conjugates. Purity {100 * float(score['purity']):.0f} %, by chance "
            f"{100 * float(score['chance_purity']):.0f} %; silhouette {float(score['silhouette']):.2f}, by chance "
            f"{float(score['chance_silhouette']):.2f}."
        )
        title = "t-SNE of the output matrix"
        return weight_figures.output_map(points, score["coset"].to_numpy(), [], title, caption)

    return draw


def _subgroups(one: Configuration) -> Picture:
    return lambda r: weight_figures.subgroup_bars(
        one.measured(r, "subgroups"), f"{one.experiment}, {one.name}"
    )


def _sharpness(one: Configuration, by: str) -> Picture:
    """Sharpness against validation accuracy, in the colours of a setting."""
    return lambda r: weight_figures.sharpness_scatter(
        one.measured(r, "sharpness"), by, one.experiment
    )


def _at(fraction: float, group: Group) -> list[Configuration]:
    """The runs with this share of the pairs."""
    return [replace(o, where=(*o.where, ("split.train_fraction", fraction))) for o in group]


def pictures(sets: Sets) -> dict[str, Picture]:
    """File stem -> function that draws the figure."""
    fractions, repetition = sets["fractions"], sets["repetition"]
    most, *_, thirty, _ = fractions
    addition, wide, sample = (sets[n] for n in ("addition", "addition_wide", "addition_sample"))
    return {
        **_both_ways("train_fraction", fractions),
        **_both_ways("train_fraction_95", (most,)),
        "train_fraction_times": bars(fractions, TIMES, "steps"),
        "data_regimes": curves(
            fractions,
            [Curve("train_accuracy", "train accuracy"), Curve("val_accuracy", "val accuracy")],
            log_time=True,
        ),
        "progress_measures": _stages(thirty, PROGRESS),
        "weight_squares": curves((thirty,), WEIGHTS, log_time=True),
        "weight_decay": curves(sets["decays"], [LOG_LOSS], log_time=True),
        **_both_ways("addition", addition),
        **_both_ways("addition_wide", wide),
        **_both_ways("addition_sample", sample),
        "addition_digits": _single(addition[-1], "digits"),
        "addition_wide_digits": _single(wide[0], "digits"),
        "addition_sample_digits": _single(sample[-1], "digits"),
        **_both_ways("repetition", repetition),
        **_both_ways("repetition_sample", sets["repetition_sample"]),
        "repetition_doubled": curves(
            (*sets["repetition_doubled"], repetition[1]), [LOSS, LOG_LOSS]
        ),
        "repetition_decay": curves(sets["doubled_decays"], [LOSS, LOG_LOSS]),
        "repetition_sample_decay": curves(
            (*sets["sample_decays"], *sets["repetition_sample"]), [LOSS, LOG_LOSS], log_time=True
        ),
        "in_context": _in_context(sets["in_context"]),
        **_both_ways("skip_trigram", sets["trigram"]),
        **_of_power(sets),
        "table": _table(sets["blanks"][0]),
    }


def _of_power(sets: Sets) -> dict[str, Picture]:
    """Those of Power et al."""
    at_80, (at_65,) = sets["products_at_80"], sets["products_at_65"]
    return {
        "power_operations": chosen(
            sets["operations"], "time", x="split.train_fraction", hue="task.operation"
        ),
        "power_operations_best": best_against(
            sets["operations"], "split.train_fraction", "train fraction"
        ),
        "power_operations_curves": curves(
            _at(0.65, sets["operations"]), [VAL, LOSS], log_time=True
        ),
        "power_sharpness": _sharpness(sets["all_operations"][0], "task.operation"),
        "power_variants": best_against(
            sets["all_variants"], "split.train_fraction", "train fraction"
        ),
        "power_variants_curves": curves(_at(0.5, sets["all_variants"]), [VAL], log_time=True),
        "power_s5": curves(at_80, [VAL, LOSS], log_time=True),
        "power_s5_times": chosen(
            sets["products"], "time", x="split.train_fraction", hue="task.operation"
        ),
        "power_s5_sharpness": _sharpness(sets["all_products"][0], "split.train_fraction"),
        "power_s4_best": best_against(
            sets["products_s4"], "split.train_fraction", "train fraction"
        ),
        "power_s4_sharpness": _sharpness(sets["all_products_s4"][0], "task.operation"),
        "power_division": curves(sets["division"], [VAL, LOSS], log_time=True),
        "power_outliers": curves(sets["outliers"], [VAL], log_time=True),
        "power_circle": _circle(sets["circle"][0]),
        **{f"power_cosets_{i}": _coset_map(one) for i, one in enumerate(at_80)},
        **{f"power_subgroups_{i}": _subgroups(one) for i, one in enumerate(at_80)},
        "power_s5_65": curves((at_65,), [VAL, LOSS], log_time=True),
        "power_cosets_65": _coset_map(at_65),
        "power_subgroups_65": _subgroups(at_65),
    }
