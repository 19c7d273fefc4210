"""Every number and acceptance check of source 004 (layernorm-grok: Singh, Misra & Orvieto 2026, arXiv 2602.06702), in
epochs, which are steps there."""

from __future__ import annotations

from analysis import readings
from analysis.sources import judges_004 as judge
from analysis.sources import parts_004 as reads
from analysis.sources.claims import Claim
from analysis.sources.estimates import of_values, plain
from analysis.sources.parts import Part
from analysis.sources.parts_004 import (
    ATTENTION,
    BOTH,
    DECAYS,
    DEEP,
    MLP,
    NONE,
    NORMS,
    PATHS,
    RATES,
    RMS,
    SCALES,
    SCALES_LR,
    SUBTRACTED,
)
from analysis.sources.verdicts import every, never, number

EXPERIMENTS = (
    "s004_layernorm",
    "s004_attention_paths",
    "s004_readout_scale",
    "s004_readout_scale_lr",
    "s004_eps0",
    "s004_subtract_initial",
    "s004_learning_rate",
    "s004_weight_decay",
    "s004_rmsnorm",
    "s004_depth",
)
TITLE = "Source 004: layernorm-grok (arXiv 2602.06702)"
ACCURACY, LOSS = 0.995, 0.01

SETUP = "Set-up (check 1)"
MAIN = "LN positions (A, D, E, K): numbers of the mean curve, as the source takes them (norms, entropy: medians)"
SEEDS = "LN positions: times of single seeds (checks 2 and 3)"
ORDER = "What comes first"
PATH = "Attention paths and shortcut (B, C, D; checks 4 and 8)"
RATE = "Learning rate and decay (I, J, K; check 5)"
ALPHA = "Readout scale, NTK, eps (F, G, H, L; check 6)"
CORRELATION = "Compressibility and generalisation (check 7)"
OTHERS = "RMSNorm and depth (M, N)"


def _mean(
    part: str, group: Part, what: str, published: str, value: float, read: reads.Read
) -> Claim:
    return Claim(
        part,
        f"{group.name}: {what}",
        published,
        lambda r: number(read(group.of(r)), value, "≈" in published),
    )


def _main_table() -> list[Claim]:
    rows: list[tuple[str, reads.Read, bool, tuple[float | None, ...]]] = [
        ("mean test accuracy reaches 0.995", reads.mean_rises("val_accuracy", ACCURACY), False,
         (7763, 7126, 3297, 954)),
        ("best of five seeds reaches accuracy 1", reads.best, False, (6613, 3718, 2510, 859)),
        ("mean test loss falls to 0.01", reads.mean_falls("val_loss", LOSS), True,
         (7730, 7110, 3510, 1410)),
        ("mean train loss falls to 0.01", reads.mean_falls("train_loss", LOSS), True,
         (315, 148, 215, 230)),
        ("peak of the mean test loss", reads.mean_peak("val_loss"), True, (27, 18, 12, 7.3)),
        ("C_Fourier reaches 1 (mean)", reads.mean_rises("fourier_concentration", 1), True,
         (6200, 5400, 2600, 1800)),
        ("effective rank within 10 % of its minimum (mean; test features, as plotted there)",
         reads.mean_low("val_effective_rank"), True, (8600, 8000, 5200, 4400)),
        ("the same on train features, as its text has it", reads.mean_low("train_effective_rank"),
         True, (8600, 8000, 5200, 4400)),
        ("peak of the parameter norm", reads.peak("param_norm"), True, (59, 44, 45, 47)),
        ("parameter norm at the end", reads.end("param_norm"), True, (31, 28, 32, 33)),
        ("attention entropy at the start", reads.start("attention_entropy"), True,
         (0.555, 0.80, None, 1.085)),
        ("attention entropy at the end", reads.end("attention_entropy"), True,
         (0.97, 1.0, None, 1.10)),
    ]  # fmt: skip
    return [
        _mean(MAIN, group, what, ("≈" if figure else "") + plain(value), value, read)
        for what, read, figure, values in rows
        for group, value in zip(NORMS, values, strict=True)
        if value is not None
    ]


def _seeds() -> list[Claim]:
    published = ("7,763", "7,126", "3,297", "954")
    return [
        *[Claim(SEEDS, f"{g.name}: median time to {what}", f"{text} (of the mean curve)",
                judge.median_time(g, probe, level))
          for what, probe, level in (("accuracy 0.995", "val_accuracy", ACCURACY), ("loss 0.01", "val_loss", -LOSS))
          for g, text in zip(NORMS, published if level > 0 else ("≈7,730", "≈7,110", "≈3,510", "≈1,410"),
                             strict=True)],
        Claim(SEEDS, "order of the medians, accuracy", "M < M+A* < A* < No LN",
              judge.in_order(tuple(reversed(NORMS)), reads.generalises)),
        Claim(SEEDS, "order of the medians, loss", "M < M+A* < A* < No LN",
              judge.in_order(tuple(reversed(NORMS)), reads.loss_falls)),
        Claim(SEEDS, "No LN over M, accuracy", "≈8, at least 4", judge.ratio_at_least(NONE, MLP, 4)),
        Claim(SEEDS, "LN on attention alone helps by", "≈8 %", judge.gain(NONE, ATTENTION, 0.08)),
        Claim(SEEDS, "M+A* slower than M alone", "M < M+A*",
              judge.in_order((MLP, BOTH), reads.generalises)),
        Claim(SEEDS, "order of the peaks of the test loss", "M < M+A* < A* < No LN",
              judge.in_order(tuple(reversed(NORMS)), reads.peak("val_loss"))),
        Claim(SEEDS, "No LN: peak of the test loss, every seed", "22 to 32",
              lambda r: every(reads.peak("val_loss")(NONE.of(r)), 22, 32)),
    ]  # fmt: skip


def _precedence() -> list[Claim]:
    return [
        *[Claim(ORDER, f"{g.name}: C_Fourier reaches 1 {word} generalisation", text,
                judge.precedes(g, word == "before"))
          for g, word, text in ((NONE, "before", "6,200 < 7,763"), (ATTENTION, "before", "5,400 < 7,126"),
                                (BOTH, "before", "2,600 < 3,297"), (MLP, "after", "1,800 > 954"))],
        *[Claim(ORDER, f"{g.name}: effective rank reaches its floor after generalisation", text,
                judge.floor_after(g, "val_effective_rank"))
          for g, text in zip(NORMS, ("8,600 > 7,763", "8,000 > 7,126", "5,200 > 3,297", "4,400 > 954"),
                             strict=True)],
    ]  # fmt: skip


def _paths() -> list[Claim]:
    qk, values, both = PATHS
    published = "sr_train_as_published"
    return [
        Claim(PATH, "A^qk: no seed generalises in 10,000", "none",
              lambda r: never(reads.generalises(qk.of(r)))),
        _mean(PATH, qk, "test loss at the end", "≈16", 16, reads.end("val_loss")),
        _mean(PATH, qk, "peak of the test loss", "≈31", 31, reads.peak("val_loss")),
        _mean(PATH, qk, "attention entropy at the start", "≈0.585", 0.585, reads.start("attention_entropy")),
        _mean(PATH, qk, "attention entropy at the end", "≈0.77", 0.77, reads.end("attention_entropy")),
        Claim(PATH, "A^v generalises much earlier than No LN", "A^v < No LN",
              judge.in_order((values, NONE), reads.generalises)),
        Claim(PATH, "M and M+A^v: times", "curves only", judge.pair(MLP, both)),
        *[Claim(PATH, f"{g.name}: attention entropy within 5 % of its start all along", "5 %",
                judge.stays(g, "attention_entropy", 0.05)) for g in (MLP, values)],
        *[Claim(PATH, f"{g.name}: attention entropy rises from 0.55 to 0.6", "0.55 to 0.6, rises",
                judge.rises_from(g, "attention_entropy", 0.55, 0.6)) for g in (NONE, qk)],
        _mean(PATH, NONE, "SR-train at the start", "≈3.3", 3.3, reads.start(published)),
        _mean(PATH, NONE, "SR-train at its peak", "≈5.9", 5.9, reads.peak(published)),
        _mean(PATH, NONE, "time of that peak", "≈3,700", 3700, reads.highest_at(published)),
        _mean(PATH, NONE, "SR-train at the end", "≈3.05", 3.05, reads.end(published)),
        _mean(PATH, MLP, "SR-train at the start", "≈4.7", 4.7, reads.start(published)),
        _mean(PATH, MLP, "SR-train at the end", "≈1.9", 1.9, reads.end(published)),
        _mean(PATH, values, "SR-train at the start", "≈4.4", 4.4, reads.start(published)),
        _mean(PATH, values, "SR-train at the end", "≈4.9", 4.9, reads.end(published)),
        _mean(PATH, NONE, "C_Fourier at the start", "≈0.009", 0.009, reads.start("fourier_concentration")),
    ]  # fmt: skip


def _rates() -> list[Claim]:
    time = reads.mean_rises("val_accuracy", ACCURACY)
    decays = dict(zip((0.1, 0.2, 0.5, 0.75, 1.0, 1.5), DECAYS, strict=True))
    return [
        _mean(RATE, RATES[0], "mean test accuracy reaches 0.995", "≈7,800", 7800, time),
        _mean(RATE, RATES[3], "mean test accuracy reaches 0.995", "≈4,480", 4480, time),
        Claim(RATE, "medians fall from 3e-3 to 1e-2", "monotone",
              judge.in_order(tuple(reversed(RATES[1:])), reads.generalises)),
        Claim(RATE, "1e-2 over 1e-3", "70 % or less", judge.ratio_at_most(RATES[3], RATES[0], 0.7)),
        Claim(RATE, "decay 0.1: no seed generalises in 10,000", "none",
              lambda r: never(reads.generalises(decays[0.1].of(r)))),
        _mean(RATE, decays[1.0], "mean test accuracy reaches 0.995", "≈7,800", 7800, time),
        Claim(RATE, "larger decay generalises earlier, up to 1.5", "monotone",
              judge.in_order(tuple(reversed(DECAYS)), reads.generalises)),
        Claim(RATE, "peak of the test loss falls with decay", "monotone",
              judge.in_order(tuple(reversed(DECAYS)), reads.peak("val_loss"))),
        *[_mean(RATE, decays[d], f"{side} effective rank at the end", "≈42", 42, reads.end(f"{side}_effective_rank"))
          for d in (0.1, 0.2) for side in ("val", "train")],
    ]  # fmt: skip


def _alpha() -> list[Claim]:
    time = reads.mean_rises("val_accuracy", ACCURACY)
    half, *_, largest = SCALES
    return [
        Claim(ALPHA, "fixed learning rate: larger alpha generalises earlier", "monotone",
              judge.in_order(tuple(reversed(SCALES)), reads.generalises)),
        Claim(ALPHA, "alpha 1.5: mean test accuracy reaches 0.995", "≈7,000 to 8,000",
              judge.mean_between(largest, 7000, 8000)),
        Claim(ALPHA, "alpha 0.5: no seed generalises in 10,000", "not done",
              lambda r: never(reads.generalises(half.of(r)))),
        Claim(ALPHA, "learning rate over alpha squared: reversed", "monotone",
              judge.in_order(SCALES_LR, reads.generalises)),
        Claim(ALPHA, "the direction flips", "flips", judge.flips),
        *[_mean(ALPHA, SCALES_LR[i], "mean test accuracy reaches 0.995", f"≈{value:,}", value, time)
          for i, value in enumerate((1900, 4700, 7500))],
        *[Claim(ALPHA, f"{g.name}: no seed generalises in 10,000", "not done",
                lambda r, g=g: never(reads.generalises(g.of(r)))) for g in SCALES_LR[3:]],
        *[_mean(ALPHA, g, "test loss at the end", f"≈{value:g}", value, reads.end("val_loss"))
          for g, value in zip(SCALES_LR[3:], (2.5, 8), strict=True)],
        Claim(ALPHA, "NTK distance at alpha 0.5 (largest)", "≈2,000 to 3,000",
              judge.ntk(half, 2000, 3000)),
        Claim(ALPHA, "NTK distance at alpha 1.5 (largest)", "≈200",
              judge.ntk(largest, 200, 200)),
        Claim(ALPHA, "NTK distance with eps 0 (largest)", "≈1e5",
              judge.ntk(reads.NEARLY_0, 1e5, 1e5)),
        Claim(ALPHA, "NTK distance with eps 1e-18 (largest)", "asked: is it the underflow?",
              judge.ntk_told(reads.BOUNDED)),
        Claim(ALPHA, "NTK distance with eps 1e-8 (largest)", "no number at alpha 1",
              judge.ntk_told(reads.USUAL)),
        Claim(ALPHA, "eps exactly 0, Kaiming initialisation: runs that train", "all", judge.trains_with_eps_0),
        Claim(ALPHA, "eps 0: spikes of the loss", "near 3,300, 6,500 and 9,500", judge.spikes),
        *[Claim(ALPHA, f"{g.name}: median time to accuracy 0.995", "2 sets of runs, no numbers",
                judge.median_time(g, "val_accuracy", ACCURACY)) for g in SUBTRACTED],
    ]  # fmt: skip


def _others() -> list[Claim]:
    return [
        Claim(OTHERS, "RMSNorm: M first", "M first", judge.first(RMS)),
        Claim(OTHERS, "RMSNorm: the order of LayerNorm", "curves only", judge.in_order(RMS, reads.generalises)),
        Claim(OTHERS, "3 layers: M first", "M first", judge.first(DEEP)),
        Claim(OTHERS, "3 layers: the order of one layer", "curves only", judge.in_order(DEEP, reads.generalises)),
        *[Claim(OTHERS, f"RMSNorm, {g.name}: median time to accuracy 0.995", "curves only",
                judge.median_time(g, "val_accuracy", ACCURACY)) for g in RMS],
        *[Claim(OTHERS, f"3 layers, {g.name}: median time to accuracy 0.995", "curves only",
                judge.median_time(g, "val_accuracy", ACCURACY)) for g in DEEP],
    ]  # fmt: skip


CLAIMS: list[Claim] = [
    Claim(SETUP, "rows, train / test", "3,831 / 8,938", judge.rows),
    *[Claim(SETUP, f"parameters, {name}", text, judge.parameters(group, sizes))
      for name, group, text, sizes in (
          ("No LN", NONE, "226,816", (226816,)), ("M+A*", BOTH, "227,328", (227328,)),
          ("M", MLP, "227,328, or 227,072 with the used norm only", (227328, 227072)),
          ("3 layers, No LN", DEEP[3], "163,200", (163200,)))],
    Claim(SETUP, "parameter norm at the start", "31.9 ± 0.3",
          lambda r: every(of_values(readings.start(NONE.of(r), "param_norm")), 31.6, 32.2)),
    *_main_table(),
    *_seeds(),
    *_precedence(),
    *_paths(),
    *_rates(),
    *_alpha(),
    *[Claim(CORRELATION, f"rank correlation of generalisation with {what}, over configurations", "0.8 or more",
            find)
      for what, find in (
          ("C_Fourier reaching 1", judge.correlation(reads.fourier_time, reads.WITH_FOURIER)),
          ("effective rank within 10 % of its minimum, train features",
           judge.correlation(reads.floor_time("train_effective_rank"), reads.WITH_FLOOR, True)),
          ("the same, test features",
           judge.correlation(reads.floor_time("val_effective_rank"), reads.WITH_FLOOR, True)))],
    *_others(),
]  # fmt: skip
