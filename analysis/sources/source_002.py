"""Every number and acceptance check of source 002 (enerrio/grokking-mlp): the MLP on addition mod 97, in epochs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from analysis import readings
from analysis.sources import judges_002 as judge
from analysis.sources.claims import CONTRADICTED, HOLDS, Claim, Finding, Results
from analysis.sources.estimates import (
    Estimate,
    of_times,
    of_values,
    percent,
    percent_exactly,
    plain,
)
from analysis.sources.parity_claims import PARITY
from analysis.sources.slingshot_claims import SLINGSHOTS
from analysis.sources.verdicts import every, median, number, one_run, told

RANDOM, LABELS = "s002_random_split", "s002_label_split"
EXPERIMENTS = (
    RANDOM,
    LABELS,
    "s002_weight_decay",
    "s002_scale_output",
    "s002_slingshots",
    "s002_slingshots_decay",
    "s002_slingshots_optimizers",
    "s002_sparse_parity",
)
TITLE = "Source 002: enerrio/grokking-mlp"

Read = Callable[[Results], Estimate]


def at(experiment: str, probe: str, epoch: float, show: Callable[[float], str] = plain) -> Read:
    return lambda r: of_values(
        readings.value_at(r.runs(experiment), probe, epoch), show, f"{probe} at epoch {epoch:g}"
    )


def reaches(experiment: str, probe: str, level: float) -> Read:
    def read(results: Results) -> Estimate:
        runs = results.runs(experiment)
        return of_times(readings.first_above(runs, probe, level), runs.attrs["budget"])

    return read


def of(
    experiment: str,
    how: Callable[[xr.Dataset, str], np.ndarray],
    probe: str,
    show: Callable[[float], str] = plain,
) -> Read:
    return lambda r: of_values(how(r.runs(experiment), probe), show, probe)


def peak(dataset: xr.Dataset, probe: str) -> np.ndarray:
    return readings.peak(dataset, probe)[0]


def peak_of_epochs(dataset: xr.Dataset, probe: str) -> np.ndarray:
    """Peak from the end of the first epoch on, where the source begins to measure: before, a network guesses."""
    found = [value[time >= 1] for time, value in readings.each(dataset, probe)]
    return np.array([value.max() if len(value) else np.nan for value in found])


def peak_time_of_epochs(dataset: xr.Dataset, probe: str) -> np.ndarray:
    """When that is."""
    found = [(time[time >= 1], value[time >= 1]) for time, value in readings.each(dataset, probe)]
    return np.array([time[value.argmax()] if len(value) else np.nan for time, value in found])


def peak_time(dataset: xr.Dataset, probe: str) -> np.ndarray:
    return readings.peak(dataset, probe)[1]


def trough(dataset: xr.Dataset, probe: str) -> np.ndarray:
    return readings.trough(dataset, probe)[0]


def trough_time(dataset: xr.Dataset, probe: str) -> np.ndarray:
    return readings.trough(dataset, probe)[1]


def _n_train(experiment: str, expected: int, total: int = 9409) -> Callable[[Results], Finding]:
    def judge_it(results: Results) -> Finding:
        found = results.runs(experiment)["n_train"].to_numpy().astype(int)
        right = bool((found == expected).all())
        sizes = ", ".join(f"{n:,} / {total - n:,}" for n in sorted(set(found)))
        return Finding(f"n = {len(found)}, {sizes}", HOLDS if right else CONTRADICTED)

    return judge_it


def _each(part: str, what: str, published: str, read: Read, low: float, high: float) -> Claim:
    return Claim(part, what, published, lambda r: every(read(r), low, high))


def _one(part: str, what: str, published: str, read: Read, value: float) -> Claim:
    return Claim(part, what, published, lambda r: one_run(read(r), value, "≈" in published))


def _mean(part: str, what: str, published: str, read: Read, value: float) -> Claim:
    return Claim(part, what, published, lambda r: number(read(r), value, "≈" in published))


SETUP = "Data and initialisation (check 1)"
FIVE = "Random split, exp4 to exp6 (check 2)"
NOTEBOOK = "Random split, the notebook's single run"
EXP2 = "Random split, exp2 (one run)"
MEANS = "Random split, five-seed means"
SPARSE = "Sparsity (check 3)"
WEIGHTS = "Saved weights (checks 5 and 6)"
LABEL = "Split by answer, exp3 (check 4)"
TODO = "The author's list of things to do"


def _notebook() -> list[Claim]:
    times = [("train", 0.5, 64), ("train", 0.99, 108), ("train", 1.0, 121)]
    times += [("val", 0.99, 5463), ("val", 1.0, 8787)]
    accuracies = {100: 0.17, 200: 0.567, 500: 0.696, 1000: 0.753, 2000: 0.848, 3000: 0.921}
    losses = {500: 2.43, 2000: 0.83, 5000: 0.049, 10000: 6e-5, 20000: 3.2e-8}
    val_accuracy, val_loss = "val_accuracy", "val_loss"
    return [
        *[_one(NOTEBOOK, f"{side} accuracy reaches {percent(level)}, epoch", f"{epoch:,}",
               reaches(RANDOM, f"{side}_accuracy", level), epoch) for side, level, epoch in times],
        *[_one(NOTEBOOK, f"val accuracy at epoch {epoch:,}", percent(value),
               at(RANDOM, val_accuracy, epoch, percent), value)
          for epoch, value in (accuracies | {4000: 0.961}).items()],
        _one(NOTEBOOK, "largest val loss", "5.62", of(RANDOM, peak_of_epochs, val_loss), 5.62),
        _one(NOTEBOOK, "its epoch", "52", of(RANDOM, peak_time_of_epochs, val_loss), 52),
        *[_one(NOTEBOOK, f"val loss at epoch {epoch:,}", f"{value:g}", at(RANDOM, val_loss, epoch), value)
          for epoch, value in losses.items()],
        _one(NOTEBOOK, "floor of the train loss", "≈1e-8", of(RANDOM, trough, "train_loss"), 1e-8),
    ]  # fmt: skip


def _means() -> list[Claim]:
    accuracies = {300: 0.65, 1000: 0.75, 2000: 0.84, 5000: 0.9775}
    norms = {0: 2.7, 5000: 12.4, 20000: 11.4}
    shares = {0: 0.106, 250: 0.068, 1000: 0.075, 5000: 0.12, 10000: 0.22, 15000: 0.33, 20000: 0.384}
    active = {0: 81500, 250: 84900, 5000: 80000, 10000: 71400, 15000: 61000, 20000: 56100}
    spectral = "output_spectral"
    return [
        *[_mean(MEANS, f"val accuracy at epoch {epoch:,}", f"≈{percent(value)}",
                at(RANDOM, "val_accuracy", epoch, percent), value)
          for epoch, value in accuracies.items()],
        Claim(MEANS, "val accuracy at epoch 6,000", "99 % or more",
              lambda r: median(at(RANDOM, "val_accuracy", 6000, percent)(r), 0.99, 1)),
        Claim(MEANS, "val accuracy of the slowest seed at epoch 300", "≈56 %", judge.slowest_at_300),
        *[_mean(MEANS, f"spectral norm of the output at epoch {epoch:,}", f"≈{value}",
                at(RANDOM, spectral, epoch), value) for epoch, value in norms.items()],
        _mean(MEANS, "its peak", "≈21", of(RANDOM, peak, spectral), 21),
        _mean(MEANS, "epoch of its peak", "≈250", of(RANDOM, peak_time, spectral), 250),
        *[_mean(MEANS, f"share of weights below 0.01 at epoch {epoch:,}", f"≈{percent(value)}",
                at(RANDOM, "sparsity", epoch, percent), value) for epoch, value in shares.items()],
        *[_mean(MEANS, f"active weights at epoch {epoch:,}", f"≈{value:,}",
                at(RANDOM, "active_weights", epoch), value) for epoch, value in active.items()],
    ]  # fmt: skip


CLAIMS: list[Claim] = [
    Claim(SETUP, "rows, train / val", "7,528 / 1,881", _n_train(RANDOM, 7528)),
    Claim(SETUP, "rows, split by answer", "7,469 / 1,940", _n_train(LABELS, 7469)),
    Claim(SETUP, "parameters", "91,107", judge.parameters),
    _each(SETUP, "share of weights below 0.01 at the start", "10.4 % ± 0.3",
          of(RANDOM, readings.start, "sparsity", percent), 0.101, 0.107),
    _mean(SETUP, "initial train loss", "≈5.6", of(RANDOM, readings.start, "train_loss"), 5.6),
    _each(FIVE, "train accuracy reaches 99 %, epoch, every seed", "70 to 200",
          reaches(RANDOM, "train_accuracy", 0.99), 70, 200),
    _each(FIVE, "val accuracy reaches 99 %, epoch, every seed", "3,000 to 9,000",
          reaches(RANDOM, "val_accuracy", 0.99), 3000, 9000),
    Claim(FIVE, "the same, median", "4,000 to 7,000",
          lambda r: median(reaches(RANDOM, "val_accuracy", 0.99)(r), 4000, 7000)),
    _each(FIVE, "final val accuracy, every seed", "99.9 % or more",
          of(RANDOM, readings.end, "val_accuracy", percent_exactly), 0.999, 1),
    _each(FIVE, "peak of the val loss", "4.5 to 7", of(RANDOM, peak_of_epochs, "val_loss"), 4.5, 7),
    _each(FIVE, "epoch of that peak", "30 to 100", of(RANDOM, peak_time_of_epochs, "val_loss"), 30, 100),
    _each(FIVE, "val accuracy at epoch 1,000", "65 to 80 %",
          at(RANDOM, "val_accuracy", 1000, percent), 0.65, 0.8),
    _each(FIVE, "peak of the output's spectral norm", "17 to 25",
          of(RANDOM, peak, "output_spectral"), 17, 25),
    _each(FIVE, "epoch of the norm's peak", "200 to 400", of(RANDOM, peak_time, "output_spectral"), 200, 400),
    _each(FIVE, "the norm at the end", "10 to 14",
          of(RANDOM, readings.end, "output_spectral"), 10, 14),
    Claim(FIVE, "exp1: val accuracy after 6,667 epochs", "no output published",
          lambda r: told(at(RANDOM, "val_accuracy", 6667, percent_exactly)(r), "Prefix of the same runs.")),
    Claim(FIVE, "time of five seeds", "well under 45 min", judge.speed),
    *_notebook(),
    _one(EXP2, "train accuracy reaches 100 %, epoch", "≈130",
         reaches(RANDOM, "train_accuracy", 1.0), 130),
    _one(EXP2, "val accuracy reaches 70 %, epoch", "≈300", reaches(RANDOM, "val_accuracy", 0.7), 300),
    _one(EXP2, "val accuracy at epoch 2,000", "86.5 %",
         at(RANDOM, "val_accuracy", 2000, percent), 0.865),
    _one(EXP2, "val accuracy reaches 99 %, epoch", "≈5,200",
         reaches(RANDOM, "val_accuracy", 0.99), 5200),
    _one(EXP2, "peak of the output's spectral norm", "≈20.5", of(RANDOM, peak, "output_spectral"), 20.5),
    _one(EXP2, "the norm at epoch 4,300", "≈12.3", at(RANDOM, "output_spectral", 4300), 12.3),
    *_means(),
    _each(SPARSE, "smallest share of weights below 0.01", "6 to 8 %",
          of(RANDOM, trough, "sparsity", percent), 0.06, 0.08),
    _mean(SPARSE, "its epoch", "≈250", of(RANDOM, trough_time, "sparsity"), 250),
    _each(SPARSE, "the share at epoch 20,000, every seed", "34 to 42 %",
          at(RANDOM, "sparsity", 20000, percent), 0.34, 0.42),
    _mean(SPARSE, "the same, the author's claim", "≈37 %",
          at(RANDOM, "sparsity", 20000, percent), 0.37),
    Claim(SPARSE, "train accuracy lost by pruning at 0.01", "0 %", judge.pruning_cost("train")),
    Claim(SPARSE, "val accuracy lost by pruning at 0.01 (clean split)", "0 %", judge.pruning_cost("val")),
    _each(SPARSE, "the share in saved weights (exp4, 5, 6)", "36.65 to 41.14 %",
          of(RANDOM, readings.end, "sparsity", percent), 0.3665, 0.4114),
    _each(SPARSE, "active weights in saved weights", "53,628 to 57,714",
          of(RANDOM, readings.end, "active_weights"), 53628, 57714),
    *[Claim(WEIGHTS, f"share below 0.01 in {name}", published, judge.layer_share(tensor, low, high))
      for name, tensor, published, low, high in (
          ("the embedding", "W_E", "≈2 %", 0.015, 0.025),
          ("linear 1", "W_0", "49 to 54 %", 0.49, 0.54),
          ("linear 2", "W_U", "6 to 13 %", 0.06, 0.13))],
    _each(WEIGHTS, "sub-threshold weights that only constant tokens feed, every seed", "75 % or more",
          of(RANDOM, readings.end, "dead_share", percent), 0.75, 1),
    _each(WEIGHTS, "the same, in the saved weights", "81 to 88 %",
          of(RANDOM, readings.end, "dead_share", percent), 0.81, 0.88),
    Claim(WEIGHTS, "share below 0.01 among linear 1's weights fed by '+' and '='", "90 to 93 %",
          judge.column_share(True, 0.90, 0.93)),
    Claim(WEIGHTS, "the same, fed by a and b", "9 to 16 %", judge.column_share(False, 0.09, 0.16)),
    _each(WEIGHTS, "sparsity with the constant inputs folded into the bias", "6.8 to 12.4 %",
          of(RANDOM, readings.end, "sparsity_structural", percent), 0.068, 0.124),
    _mean(WEIGHTS, "parameter norm at the start", "≈115", of(RANDOM, readings.start, "param_norm"), 115),
    _each(WEIGHTS, "parameter norm at the end", "72 to 75",
          of(RANDOM, readings.end, "param_norm"), 72, 75),
    Claim(WEIGHTS, "embedding norm of a number", "≈4.3", judge.number_norm),
    *[Claim(WEIGHTS, f"embedding norm of '+' and '=', the {which} of both", "1.1 to 2.4",
            judge.constant_norm(pick, 1.1, 2.4)) for which, pick in (("smaller", min), ("larger", max))],
    _each(WEIGHTS, "share of the ten largest of 48 frequencies in the embedding's energy", "60 % or more",
          of(RANDOM, readings.end, "fourier_top_share", percent), 0.6, 1),
    Claim(WEIGHTS, "dominant frequencies (above twice the flat share)", "≈8", judge.frequencies),
    _each(LABEL, "largest val accuracy of the whole run, every seed", "0.1 % or less",
          of(LABELS, peak_of_epochs, "val_accuracy", percent), 0, 0.001),
    _one(LABEL, "train accuracy reaches 100 %, epoch", "≈100", reaches(LABELS, "train_accuracy", 1.0), 100),
    _each(LABEL, "peak of the val loss", "40 to 70", of(LABELS, peak, "val_loss"), 40, 70),
    _one(LABEL, "peak of the val loss in exp3", "≈54.5", of(LABELS, peak, "val_loss"), 54.5),
    _one(LABEL, "its epoch", "≈250", of(LABELS, peak_time, "val_loss"), 250),
    _one(LABEL, "val loss at epoch 14,000", "≈20.9", at(LABELS, "val_loss", 14000), 20.9),
    _each(LABEL, "val loss at the end", "15 to 30", of(LABELS, readings.end, "val_loss"), 15, 30),
    _one(LABEL, "val loss at the end of exp3", "21.5", of(LABELS, readings.end, "val_loss"), 21.5),
    _one(LABEL, "peak of the output's spectral norm", "≈14.6", of(LABELS, peak, "output_spectral"), 14.6),
    _one(LABEL, "the norm at epoch 2,900", "≈10.9", at(LABELS, "output_spectral", 2900), 10.9),
    _one(LABEL, "the norm at the end", "≈12.85", of(LABELS, readings.end, "output_spectral"), 12.85),
    Claim(LABEL, "the embedding's PCA is circular (numbers; spread of the radius below 0.3)", "circular",
          judge.circular(LABELS)),
    Claim(TODO, "is the last layer's norm cyclic? (rises followed by a rest)", "asked",
          judge.cycles(RANDOM)),
    *[Claim(TODO, f"output times {factor:g} at epoch 500: epochs to 99 % val over the same seed's control",
            "asked: below 1?", judge.earlier(factor)) for factor in (1.5, 2.0, 4.0)],
    *[Claim(TODO, f"speed of the weights (per step, over their norm), {stage}", "asked", judge.speed_of(stage))
      for stage in judge.STAGES],
    *[Claim(TODO, f"val accuracy reaches 99 % with decay {decay:g}, epoch", "asked", judge.decay(decay))
      for decay in (0.0, 0.01, 0.1, 1.0)],
    *SLINGSHOTS,
    *PARITY,
]  # fmt: skip
