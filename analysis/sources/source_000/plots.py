"""Figures of source 000 with raw values, from those of our results that exist."""

from __future__ import annotations

from analysis.figures.probe_curves import Curve
from analysis.sources.core.lookup import Sets
from analysis.sources.core.plots import Picture, bars, chosen, curves
from analysis.sources.core.quantities import reaches

ACCURACY = Curve("val_accuracy", "val accuracy", also="train_accuracy")
LOSS = Curve("train_loss", "train loss", True)
TIMES = {
    "train accuracy 99 %": lambda runs: reaches(runs, "train_accuracy", 0.99),
    "val accuracy 99 %": lambda runs: reaches(runs, "val_accuracy", 0.99),
}


def pictures(sets: Sets) -> dict[str, Picture]:
    """File stem -> function that draws the figure."""
    return {
        "rot13": curves((*sets["letters"], *sets["strings"]), [ACCURACY], log_time=True),
        "weight_decay": bars(sets["decays"], TIMES, "steps"),
        "vocabulary_size": bars(sets["sizes"], TIMES, "steps"),
        "vocabulary_size_curves": curves(sets["sizes"], [ACCURACY], log_time=True),
        "layers": chosen(sets["depths"], "time", x="split.train_fraction", hue="model.n_layers"),
        "slingshots": curves(sets["rounded"], [LOSS]),
        "slingshots_exact": curves(sets["exact"], [LOSS]),
        "data": bars(sets["data"], TIMES, "steps"),
    }
