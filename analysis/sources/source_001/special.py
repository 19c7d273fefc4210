"""Quantities of source 001 only: gaps between curves, digits of the answer, copies of a subsequence."""

from __future__ import annotations

import re

import numpy as np
import xarray as xr

from analysis import readings
from analysis.measured import at_the_end
from analysis.outcomes import FirstHit, Series, first_hit
from analysis.readings import Floats
from analysis.sources.core.checks import Check
from analysis.sources.core.claims import MissingError
from analysis.sources.core.estimates import (
    Estimate,
    Format,
    of_times,
    of_values,
    percent,
    plain,
)
from analysis.sources.core.quantities import by_name
from analysis.statistics import bootstrap, rank_correlation


def gap(runs: xr.Dataset, level: float) -> Estimate:
    """Steps from the first training loss at or below a level to the first validation loss there."""
    train, val = (_times(readings.first_below(runs, f"{x}_loss", level)) for x in ("train", "val"))
    return of_values(np.where(np.isfinite(val), val - train, np.nan), what=f"a loss of {level:g}")


def restricted_before(runs: xr.Dataset, level: float, show: Format = plain) -> Estimate:
    """Restricted loss over validation loss where the latter is first at or below a level (present key frequencies).

    Below 1: the key frequencies alone are already better than the whole network.
    """
    shares = []
    for restricted, val in zip(
        readings.each(runs, "restricted_loss"), readings.each(runs, "val_loss"), strict=True
    ):
        shares.append(_ratio_at(restricted, val, level))
    return of_values(shares, show, "restricted_loss")


def _ratio_at(restricted: tuple[Floats, Floats], val: tuple[Floats, Floats], level: float) -> float:
    """The first restricted loss measured when the other loss is at or below the level, over that loss."""
    losses = dict(zip(*val, strict=True))
    for step, value in zip(*restricted, strict=True):
        if losses.get(step, np.inf) <= level:
            return value / losses[step]
    return np.nan


def falls_from_peak(runs: xr.Dataset, probe: str, level: float) -> Estimate:
    """When a probe is first at or below a level, from its largest value on."""
    history = readings.measured(runs, probe)
    value = history.value.copy()
    for row, done in zip(value, history.done, strict=True):
        if done:
            row[: int(row[:done].argmax())] = np.inf
    outcome = first_hit(Series(-value, history.step, history.done, history.status), -level)
    return of_times(outcome, readings.budgets(runs))


def falls_to_half(runs: xr.Dataset, probe: str) -> Estimate:
    """When a probe is first at or below half its largest value, from that on."""
    history = readings.measured(runs, probe)
    value = np.full_like(history.value, np.inf)
    for row, (own, done) in enumerate(zip(history.value, history.done, strict=True)):
        if done:
            peak = int(own[:done].argmax())
            value[row, peak:] = own[peak:] / own[peak]
    outcome = first_hit(Series(-value, history.step, history.done, history.status), -0.5)
    return of_times(outcome, readings.budgets(runs))


def peak_over_start(runs: xr.Dataset, probe: str, show: Format = plain) -> Estimate:
    """The largest value over the first one."""
    return of_values(readings.peak(runs, probe)[0] / readings.start(runs, probe), show, probe)


def end_over_peak(runs: xr.Dataset, probe: str, show: Format = plain) -> Estimate:
    """The last value over the largest one."""
    return of_values(readings.end(runs, probe) / readings.peak(runs, probe)[0], show, probe)


def digits(runs: xr.Dataset) -> list[str]:
    """Names of the losses of single digits, the first digit first. Raises MissingError if none is there."""
    names = [n for n in runs["probe"].to_numpy().tolist() if re.fullmatch(r"val_loss/digit_\d+", n)]
    if not names:
        raise MissingError(f"no digit was measured alone in {runs.attrs['name']}")
    return sorted(names, key=lambda name: int(name.rsplit("_", 1)[1]))


def last_digit(runs: xr.Dataset, level: float) -> Estimate:
    """When the loss of the last of the digits is first at or below a level."""
    times = np.stack([_times(readings.first_below(runs, n, level)) for n in digits(runs)])
    return of_values(times.max(0), what=f"a loss of {level:g}")


def digits_in_order(runs: xr.Dataset, level: float, show: Format = plain) -> Estimate:
    """Share of neighbouring digits of which the earlier one is first at or below a level, or both at once."""
    times = np.stack([_times(readings.first_below(runs, n, level)) for n in digits(runs)])
    return of_values((times[1:] >= times[:-1]).mean(0), show, f"a loss of {level:g}")


def in_context(runs: xr.Dataset, show: Format = plain) -> Estimate:
    """Loss on the last copy minus that on the first, at the end: what the network learns within a row."""
    end = {n: readings.end(runs, n) for n in copies(runs)}
    first, *_, last = end
    return of_values(end[last] - end[first], show, first)


def copies(runs: xr.Dataset) -> list[str]:
    """Names of the losses of single copies, the first copy first. Raises MissingError if none is there."""
    names = [n for n in runs["probe"].to_numpy().tolist() if re.fullmatch(r"val_loss/copy_\d+", n)]
    if not names:
        raise MissingError(f"no copy was measured alone in {runs.attrs['name']}")
    return sorted(names, key=lambda name: int(name.rsplit("_", 1)[1]))


def with_in_context(runs: xr.Dataset) -> xr.Dataset:
    """The runs with one more value, in_context: loss on the last copy minus that on the first."""
    first, *_, last = copies(runs)
    history = runs["value"]
    own = history.sel(probe=last) - history.sel(probe=first)
    added = own.expand_dims(probe=["in_context"]).transpose(*history.dims)
    whole = xr.concat([history, added.assign_coords(probe=["in_context"])], "probe")
    return runs.drop_dims("probe").assign(value=whole).assign_attrs(runs.attrs)


def share_of_one_frequency(measured: xr.Dataset) -> Estimate:
    """The largest share of a frequency in the plane of the first two components of the output matrix."""
    last = at_the_end(measured)["share"].transpose("run", "frequency").to_numpy()
    return of_values(last.max(1), percent, "share")


def measured_value(measured: xr.Dataset, name: str) -> Estimate:
    """A number that was measured on the weights of the end."""
    return of_values(at_the_end(measured)[name].to_numpy(), plain, name)


def share_over_chance(measured: xr.Dataset, order: float, show: Format = percent) -> Estimate:
    """Share of the output matrix between the cosets of a subgroup of this order minus that by chance; the largest."""
    last = at_the_end(measured).transpose("run", "subgroup")
    own = last["order"].to_numpy() == order
    if not own.any():
        raise MissingError(f"there is no subgroup of order {order:g}")
    over = np.where(own, last["share"].to_numpy() - last["chance"].to_numpy(), -np.inf)
    return of_values(over.max(1), show, "share")


def sharpness_rank(measured: xr.Dataset) -> Estimate:
    """Spearman's rank correlation of sharpness and validation accuracy over all runs; limits from draws of runs."""
    last = at_the_end(measured)
    pairs = np.stack([last[name].to_numpy() for name in ("sharpness", "val_accuracy")], 1)
    pairs = pairs[np.isfinite(pairs).all(1)]
    rho, n = rank_correlation(*pairs.T), len(pairs)
    if np.isnan(rho):
        raise MissingError("fewer than three runs, or all with the same accuracy")
    # Draws in which all values are the same have no correlation: they count as 0.
    limits = bootstrap(lambda runs: np.nan_to_num(rank_correlation(*pairs[runs].T)), n)
    text = f"n = {n}, {rho:.2f} [{limits.low:.2f}, {limits.high:.2f}]"
    return Estimate(limits, np.array([rho]), text)


def agreement_about_blanks(measured: xr.Dataset) -> Estimate:
    """For each blank the share of the runs that put the commonest letter there; the largest of them."""
    last = at_the_end(measured).transpose("run", "row")
    blank = last["known"].to_numpy()[0] == 0
    if not blank.any():
        raise MissingError("the table has no blanks")
    answers = last["answer"].to_numpy()[:, blank]
    return of_values([max(commonest(column)[1] for column in answers.T)], percent, "answer")


def commonest(answers: Floats) -> tuple[int, float]:
    """The answer that most runs give, and their share."""
    values, counts = np.unique(answers, return_counts=True)
    return int(values[counts.argmax()]), float(counts.max() / len(answers))


def _times(outcome: FirstHit) -> Floats:
    return np.where(outcome.hit, outcome.upper, np.inf)


QUANTITIES = by_name(
    *(gap, restricted_before, falls_from_peak, peak_over_start, end_over_peak),
    *(last_digit, digits_in_order, in_context),
    *(
        share_of_one_frequency,
        measured_value,
        share_over_chance,
        sharpness_rank,
        agreement_about_blanks,
    ),
)
CHECKS: dict[str, Check] = {}
