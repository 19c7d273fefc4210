"""The plot list of source 003 with raw values, from those of our results that exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from analysis.measured import at_the_end
from analysis.sources.core.claims import MissingError, Results
from analysis.sources.core.configuration import Configuration, at_hand
from analysis.sources.core.lookup import Sets
from analysis.sources.core.plots import Group, Picture
from analysis.sources.source_003 import scan_figures
from analysis.sources.source_003.scan import SIZE, Scan, best_scan, scan
from analysis.sources.source_003.special import bump_height, bump_place

LOSSES = {"train": "train_loss", "test": "val_loss"}
PER_ACTIVE = "test loss per active feature"
PANELS = (5, 8, 15, 30, 100, 500, 1000, 2000)
"""Sample sizes of the geometry figures, where they were run."""


def _losses(one: Configuration, logs: Sequence[str] = ()) -> Picture:
    """Training and test loss against the sample size, and the same of the best seeds by training loss."""

    def draw(results: Results) -> Figure:
        runs = one.of(results)
        height, place = bump_height(runs), bump_place(runs)
        panels = {
            "training and test loss": {n: scan(runs, p) for n, p in LOSSES.items()},
            "test loss": {
                "median": scan(runs, "val_loss"),
                "lowest training loss": best_scan(runs, "val_loss"),
            },
        }
        told = (
            f"{one.experiment}: maximum of the median test loss between the ends: {height.text} above the larger end, "
            f"at {place.text} rows (limits from draws of seeds). 'Lowest training loss': at each size the one seed of "
            "all with the lowest training loss at the end."
        )
        return scan_figures.lines(panels, scan_figures.ROWS, logs, told)

    return draw


def _values(
    one: Configuration, panels: Mapping[str, Mapping[str, str]], logs: Sequence[str] = ()
) -> Picture:
    """Panels of probes at the end of training against the sample size."""

    def draw(results: Results) -> Figure:
        runs = one.of(results)
        scans = {t: {n: scan(runs, p) for n, p in named.items()} for t, named in panels.items()}
        return scan_figures.lines(scans, scan_figures.ROWS, logs, f"{one.experiment}.")

    return draw


def _map(group: Group, y_label: str) -> Picture:
    """Test loss over the sample size and the setting that the group varies."""

    def draw(results: Results) -> Figure:
        rows = {n: scan(r, "val_loss") for n, r in at_hand(group, results)[0].items()}
        return scan_figures.heat_map(
            rows, y_label, "test loss", f"{group[0].experiment}: test loss."
        )

    return draw


def _epochs(one: Configuration) -> Picture:
    """Test loss over the sample size and the number of updates done."""

    def draw(results: Results) -> Figure:
        runs = one.of(results)
        chosen = np.unique(np.linspace(1, runs.sizes["eval"] - 1, 6).astype(int))
        rows = {}
        for i in chosen:
            step = int(np.nanmax(runs["step"].to_numpy()[:, i]))
            rows[f"{step:,}"] = scan(_until(runs, int(i)), "val_loss")
        told = f"{one.experiment}: test loss in the middle of training (one schedule of the rate)."
        return scan_figures.heat_map(rows, "updates", "test loss", told)

    return draw


def _until(runs: xr.Dataset, last: int) -> xr.Dataset:
    done = np.minimum(runs["evaluations_done"].to_numpy(), last + 1)
    return runs.assign_coords(evaluations_done=("run", done)).assign_attrs(runs.attrs)


def _family(group: Group, probe: str, label: str) -> Picture:
    """One value at the end for each configuration of a group, as a line over its setting."""

    def draw(results: Results) -> Figure:
        named = at_hand(group, results)[0]
        name = _varying(named)
        at = [float(runs[name].to_numpy()[0]) for runs in named.values()]
        order = np.argsort(at)
        values = [scan(runs, probe, name).value[:, 0] for runs in named.values()]
        one = Scan(np.sort(at), np.stack([values[i] for i in order], 1))
        told = f"{group[0].experiment}: at the end of training on unlimited data."
        return scan_figures.lines({label: {name: one}}, name, (), told)

    return draw


def _varying(named: Mapping[str, xr.Dataset]) -> str:
    """The setting that differs between the configurations."""
    first, *others = named.values()
    for name in first.attrs["axes"]:
        if name != "seed" and any(
            runs[name].to_numpy()[0] != first[name].to_numpy()[0] for runs in others
        ):
            return name
    raise MissingError("fewer than two configurations were run")


def _of_geometry(one: Configuration, draw, sizes: Sequence[int] | None, told: str) -> Picture:
    """A figure of what was measured on the final weights; `sizes`: those of the list that were run."""

    def picture(results: Results) -> Figure:
        measured = at_the_end(one.measured(results, "geometry"))
        caption = f"{one.experiment}: {told}"
        if sizes is None:
            return draw(measured, caption)
        there = set(measured[SIZE].to_numpy().astype(int).tolist())
        return draw(measured, [size for size in sizes if size in there], caption)

    return picture


def pictures(sets: Sets) -> dict[str, Picture]:
    """File stem -> function that draws the figure."""
    (main,) = sets["bottleneck"]
    dimension = {
        "largest dimension": {
            "feature, D_i": "feature_dimension_max",
            "row, D_X": "row_dimension_max",
        },
        "share of the hidden dimensions": {"features": "feature_share", "rows": "row_share"},
    }
    norm = {"norm of W": {"W": "param_norm/W_E"}, "norm of b": {"b": "param_norm/b_U"}}
    return {
        "bottleneck_losses": _losses(main, ["training and test loss", "test loss"]),
        "bottleneck_dimensions": _values(main, dimension),
        "bottleneck_norms": _values(main, norm, [*norm]),
        "bottleneck_geometry": _of_geometry(
            main, scan_figures.geometry, PANELS, "vectors of the two hidden dimensions."
        ),
        "bottleneck_all_dimensions": _of_geometry(
            main, scan_figures.dimensions, None, "dimensions of features and rows."
        ),
        "bottleneck_leverages": _of_geometry(
            main,
            scan_figures.leverages,
            (5, 30, 500, 2000),
            "D* of the training rows; wrong: the largest output is not the largest feature.",
        ),
        "bottleneck_epochs": _epochs(main),
        "bottleneck_per_active": _values(main, {PER_ACTIVE: {"test": "val_loss_per_active"}}),
        "absolute_losses": _losses(sets["absolute"][0], ["training and test loss"]),
        "sparsity": _map(sets["sparsities"], "sparsity"),
        "weight_decay": _map(sets["decays"], "weight decay, m = 4"),
        "width": _map(sets["widths"], "hidden dimensions"),
    } | _of_the_rest(sets)


def _of_the_rest(sets: Sets) -> dict[str, Picture]:
    """Those of the other settings: MLP block, final layer, limits, dictionary, digits."""
    (dictionary, *_), (digits,) = sets["dictionary"], sets["digits"]
    book = Configuration("all", dictionary.experiment)
    return {
        "mlp_block_losses": _losses(sets["mlp_block"][0], ["training and test loss"]),
        "mlp_block_leverages": _values(
            sets["mlp_block"][0],
            {"D* of training rows": {"largest": "leverage_max", "smallest": "leverage_min"}},
        ),
        "final_layer_losses": _losses(sets["final_layer"][0], ["training and test loss"]),
        "limits_sparsity": _family(sets["limits"], "val_loss_per_active", PER_ACTIVE),
        "limits_width": _family(sets["limit_widths"], "val_loss_per_active", PER_ACTIVE),
        "limits_features": _family(sets["limit_features"], "val_loss_per_active", PER_ACTIVE),
        "limits_importance": _family(sets["limit_importance"], "val_loss_per_active", PER_ACTIVE),
        "dictionary": _of_geometry(
            book, scan_figures.dictionary, (3, 5, 8, 10, 15, 30, 100), "hidden vectors."
        ),
        "dictionary_entries": _of_geometry(
            book, lambda m, c: scan_figures.entries(m, 5, c), None, "the dictionary of the rows."
        ),
        "dictionary_share": _values(
            book, {"rows that dominate a direction": {"share": "dictionary_share"}}
        ),
        "digits_leverages": _of_geometry(
            digits, scan_figures.leverages, (100, 300, 1000, 1300), "D* of the training images."
        ),
        "digits_images": _of_geometry(
            digits, lambda m, c: scan_figures.images(m, 1300, c), None, "training images by D*."
        ),
    }
