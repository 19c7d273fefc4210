"""Slingshots (Thilak et al. 2022; appendix a of source 002): a transformer on division, Adam without decay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from analysis import readings
from analysis.slingshots import Slingshots, slingshots_of
from analysis.sources.claims import NO_CLAIM, Claim, Finding, MissingError, Results
from analysis.sources.estimates import of_times, of_values
from analysis.sources.parts import parts
from analysis.sources.verdicts import mostly, never, number, told

EXPERIMENT = "s002_slingshots"
DECAYED = parts(
    "s002_slingshots_decay",
    "optimizer.weight_decay",
    {f"decay {d:g}": d for d in (0.0, 0.1, 0.4, 1.0)},
)
OTHERS = RMSPROP, DESCENT, ADAGRAD = parts(
    "s002_slingshots_optimizers",
    "optimizer.kind",
    {"RMSProp": "rmsprop", "gradient descent": "sgd", "Adagrad": "adagrad"},
)
PART = "Slingshots (Thilak et al. 2022; steps)"
TEXTBOOK, ACCURATE = "cross_entropy_float32", "cross_entropy"

Judge = Callable[[Results], Finding]
Runs = Callable[[Results], xr.Dataset]


def _runs(results: Results, eps: float, loss: str) -> xr.Dataset:
    return results.runs(EXPERIMENT, optimizer__eps=eps, train__loss=loss)


def _of(eps: float, loss: str) -> Runs:
    return lambda results: _runs(results, eps, loss)


def _shots(runs: Runs) -> Judge:
    def judge(results: Results) -> Finding:
        found = slingshots_of(runs(results))
        with_some = sum(s.count > 0 for s in found)
        finding = mostly(with_some, len(found), 0.5, "Runs with a slingshot")
        return Finding(finding.ours, finding.verdict, f"{finding.evidence} {_sums(found)}")

    return judge


def _with_accurate_loss(results: Results) -> Finding:
    """A question of ours, hence without a verdict."""
    found = _shots(_of(1e-8, ACCURATE))(results)
    return Finding(found.ours, NO_CLAIM, found.evidence)


def _no_shots(runs: Runs) -> Judge:
    """Of the runs that memorise: before that there are none by definition."""

    def judge(results: Results) -> Finding:
        chosen = runs(results)
        every = slingshots_of(chosen)
        found = [s for s in every if np.isfinite(s.memorised_at)]
        without = sum(s.count == 0 for s in found)
        text = f"{_sums(every)} {len(found)} of {len(every)} runs reach training accuracy 1."
        if not found:
            return Finding(f"n = {len(every)}", NO_CLAIM, text)
        finding = mostly(without, len(found), 1.0, "Runs without a slingshot")
        return Finding(finding.ours, finding.verdict, f"{finding.evidence} {text}")

    return judge


def _sums(found: list[Slingshots]) -> str:
    return (
        f"In all: {sum(s.count for s in found)} slingshots of {sum(s.events for s in found)} events, "
        f"{sum(s.spikes for s in found)} spikes; by the second threshold {sum(s.jumps for s in found)}."
    )


def _counted(eps: float, loss: str, what: str) -> Judge:
    """Of the slingshots of each run: how many, the first one's step, their median height and gain."""
    pick: dict[str, Callable[[Slingshots], float]] = {
        "number": lambda s: s.count,
        "step of the first": lambda s: s.step[s.qualified][0] if s.count else np.nan,
        "height (decades)": lambda s: float(np.median(s.height[s.qualified])) if s.count else np.nan,
        "gain of the norm": lambda s: float(np.median(s.norm_gain[s.qualified])) if s.count else np.nan,
        "cycles of the norm": lambda s: s.cycles,
    }  # fmt: skip

    def judge(results: Results) -> Finding:
        values = [float(pick[what](s)) for s in slingshots_of(_runs(results, eps, loss))]
        if not np.isfinite(values).any():
            return Finding(f"n = {len(values)}, –", NO_CLAIM, "No slingshot in any run.")
        return told(of_values(values))

    return judge


def _change_at_shots(results: Results) -> Finding:
    """Feature change at the records of slingshots over its median elsewhere after memorisation."""
    runs = _runs(results, 1e-8, TEXTBOOK)
    ratios = [
        _change_ratio(shots, time, change)
        for shots, (time, change) in zip(
            slingshots_of(runs), readings.each(runs, "feature_change"), strict=True
        )
    ]
    if not np.isfinite(ratios).any():
        raise MissingError("no run has a slingshot and a measured change of features")
    known = [x for x in ratios if np.isfinite(x)]
    above = sum(x > 1 for x in known)
    finding = mostly(above, len(known), 1.0, "Runs where it is larger at slingshots")
    return Finding(of_values(ratios).text, finding.verdict, finding.evidence)


def _change_ratio(shots: Slingshots, time: np.ndarray, change: np.ndarray) -> float:
    after = time > shots.memorised_at
    here = np.isin(time, shots.step[shots.qualified])
    if not here.any() or not (after & ~here).any():
        return np.nan
    return float(np.median(change[here]) / np.median(change[after & ~here]))


def _memorises(results: Results) -> Finding:
    runs = _runs(results, 1e-8, TEXTBOOK)
    e = of_times(readings.first_above(runs, "train_accuracy", 0.99), runs.attrs["budget"])
    return number(e, 300, figure=True)


def _generalises(eps: float, loss: str) -> Judge:
    def judge(results: Results) -> Finding:
        runs = _runs(results, eps, loss)
        outcome = readings.first_above(runs, "val_accuracy", 0.99)
        return told(of_times(outcome, runs.attrs["budget"]))

    return judge


def _no_generalisation(results: Results) -> Finding:
    runs = _runs(results, 1e-5, TEXTBOOK)
    e = of_times(readings.first_above(runs, "val_accuracy", 0.99), runs.attrs["budget"])
    found = never(e)
    told_budget = f"{found.evidence} Our budget is {runs.attrs['budget']:,.0f} updates."
    return Finding(found.ours, found.verdict, told_budget)


_MEASURED = (
    "number",
    "step of the first",
    "height (decades)",
    "gain of the norm",
    "cycles of the norm",
)

SLINGSHOTS: list[Claim] = [
    Claim(PART, "float32 textbook loss, eps 1e-8: runs with a slingshot", "yes",
          _shots(_of(1e-8, TEXTBOOK))),
    Claim(PART, "the same with eps 1e-5: runs without one", "none", _no_shots(_of(1e-5, TEXTBOOK))),
    Claim(PART, "accurate loss, eps 1e-8: runs with a slingshot", "asked", _with_accurate_loss),
    Claim(PART, "accurate loss, eps 1e-5: runs without one", "none", _no_shots(_of(1e-5, ACCURATE))),
    *[Claim(PART, f"{name}, eps 1e-8: {what}", "shown in figures", _counted(1e-8, loss, what))
      for name, loss in (("float32 loss", TEXTBOOK), ("accurate loss", ACCURATE))
      for what in _MEASURED],
    Claim(PART, "change of the features at slingshots over elsewhere", "jumps", _change_at_shots),
    Claim(PART, "train accuracy 99 %, eps 1e-8", "≈300", _memorises),
    Claim(PART, "val accuracy 99 %, eps 1e-8, float32 loss", "starts after 1e5",
          _generalises(1e-8, TEXTBOOK)),
    Claim(PART, "val accuracy 99 %, eps 1e-8, accurate loss", "asked", _generalises(1e-8, ACCURATE)),
    Claim(PART, "val accuracy 99 %, eps 1e-5", "not in 500k updates", _no_generalisation),
    Claim(PART, "AdamW, decay 0, float32 loss: runs with a slingshot", "yes", _shots(DECAYED[0].of)),
    *[Claim(PART, f"{part.name} removes them: runs without one", "none", _no_shots(part.of))
      for part in DECAYED[1:]],
    Claim(PART, "RMSProp, float32 loss: runs with a slingshot", "yes", _shots(RMSPROP.of)),
    *[Claim(PART, f"{part.name}, float32 loss: runs without one", "none", _no_shots(part.of))
      for part in (DESCENT, ADAGRAD)],
]  # fmt: skip
