"""The rules of the verdicts. They are the same for every claim, and are printed above each table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from analysis.sources.core.claims import CONTRADICTED, HOLDS, NO_CLAIM, NOT_RUN, WEAKER, Finding
from analysis.sources.core.estimates import Estimate, of_values, plain
from analysis.statistics import Interval, rank_correlation

READING = 0.05
"""Relative error of a number that the source shows only in a figure ('≈')."""
FACTOR = 2.0
"""If our number differs from the published one by at most this factor, the claim is still supported, but weakly."""
FEW = 3
"""With fewer runs than this the factor is FACTOR squared, because seeds alone differ by FACTOR."""

RULES = """\
* *every run in a range*: **holds** if all are, **weaker** if at least half are, else **contradicted**.
* *median in a range*: **holds** if it is, **weaker** if its interval reaches the range, else **contradicted**.
* *a published number*: **holds** if it lies in our 95 % interval (widened by 5 % where the source only \
shows it in a figure, '≈'), **weaker** if our number is within a factor of two of it, else **contradicted**.
* *a published number of one run*: as before, with the span of our runs for the interval.
* *an order*: **holds** if our medians have it, **weaker** if they have not but all intervals that are out of order \
overlap, else **contradicted**.
* *a share of runs*: **holds** where as many do it as asked for, **weaker** from half as many on; *no run does it*: \
**weaker** where fewer than half do; *a bound*: **holds** if our number keeps it, **weaker** if its interval reaches it.
* *without limits* (too few runs) a number within a factor of two of a range or a bound is **weaker**, and of fewer \
than three runs one within a factor of four of a published number: seeds alone differ by two.
* *not run*: results are missing, or a run of the configuration is still in training. \
*no claim*: the source asks or shows, without a number to compare with.

n counts runs. A time is a Kaplan-Meier median with its 95 % interval (limits from order statistics; log-log while \
runs are still in training), '>' the budget where fewer than half of the runs arrived; any other number is a median \
with limits from order statistics (all from six runs on); a number of the *mean curve* has limits from 2,000 draws of \
runs (from three on). Times are those of the first evaluation at the level, and their lower limits those of the \
evaluation before it. A run that diverged never arrives."""


def every(e: Estimate, low: float, high: float) -> Finding:
    """Each run lies in [low, high]."""
    inside = int(((e.known >= low) & (e.known <= high)).sum())
    n = len(e.known)
    if not n:
        return Finding(e.text, NOT_RUN, "No run says so yet.")
    verdict = HOLDS if inside == e.n else WEAKER if 2 * inside >= e.n else CONTRADICTED
    span = f"from {e.show(e.known.min())} to {e.show(e.known.max())}"
    return Finding(e.text, verdict, f"{inside} of {e.n} runs are in the range; {span}.")


def median(e: Estimate, low: float, high: float) -> Finding:
    """The median lies in [low, high]."""
    if math.isnan(e.interval.estimate):
        return Finding(e.text, NOT_RUN, "The median was not observed.")
    if low <= e.interval.estimate <= high:
        return Finding(e.text, HOLDS, _span(e))
    lowest, highest = reach(e.interval)
    near = lowest <= high and highest >= low
    return Finding(e.text, WEAKER if near else CONTRADICTED, _span(e))


def reach(ours: Interval) -> tuple[float, float]:
    """The range within which our number does not contradict a claim: its limits, or without limits a factor of two."""
    if math.isinf(ours.low) and ours.low < 0:
        return ours.estimate / FACTOR, ours.estimate * FACTOR
    return ours.low, ours.high


def number(e: Estimate, published: float, figure: bool = False) -> Finding:
    """The published number is compatible with ours. `figure`: it was read from a figure."""
    if math.isnan(e.interval.estimate):
        return Finding(e.text, NOT_RUN, "The median was not observed.")
    told = f"{_ratio(e, published)} {e.note}".strip()
    return Finding(e.text, _compare(e.interval, e.n, published, figure), told)


def one_run(e: Estimate, published: float, figure: bool = False) -> Finding:
    """The published number is that of a single run, and must lie in the span of our runs."""
    if not len(e.known):
        return Finding(e.text, NOT_RUN, "No run says so yet.")
    span = Interval(e.interval.estimate, float(e.known.min()), float(e.known.max()))
    told = f"Our runs span {e.show(span.low)} to {e.show(span.high)}."
    return Finding(e.text, _compare(span, e.n, published, figure), told)


def _compare(ours: Interval, n: int, published: float, figure: bool) -> str:
    """The verdict on a published number. If ours has no limits, only its estimate counts."""
    factor = FACTOR**2 if n < FEW else FACTOR
    slack = READING if figure else 0.0
    unknown = math.isinf(ours.low) and ours.low < 0
    low, high = (ours.estimate, ours.estimate) if unknown else (ours.low, ours.high)
    if low * (1 - slack) <= published <= high * (1 + slack):
        return HOLDS
    close = published / factor <= ours.estimate <= published * factor
    return WEAKER if close else CONTRADICTED


def never(e: Estimate) -> Finding:
    """No run arrives within the budget."""
    arrived, unknown = int(np.isfinite(e.known).sum()), e.n - len(e.known)
    if unknown and 2 * arrived < e.n:
        return Finding(e.text, NOT_RUN, f"{unknown} of {e.n} runs have not ended yet.")
    verdict = HOLDS if not arrived else WEAKER if 2 * arrived < e.n else CONTRADICTED
    return Finding(e.text, verdict, f"{arrived} of {e.n} runs arrived.")


def mostly(count: int, n: int, share: float, what: str) -> Finding:
    """At least a share of the runs do something; weaker from half of that share on."""
    if not n:
        return Finding("n = 0", NOT_RUN, "No run says so yet.")
    verdict = HOLDS if count >= share * n else WEAKER if 2 * count >= share * n else CONTRADICTED
    return Finding(
        f"n = {n}, {count} ({100 * count / n:.0f} %)", verdict, f"{what}: {count} of {n}."
    )


def share_of(values: np.ndarray, right: np.ndarray, share: float, what: str) -> Finding:
    """The same, told with all values; `right`: which of the known ones do it."""
    finding = mostly(int(right.sum()), len(right), share, what)
    return replace(finding, ours=of_values(values).text)


def order(parts: Mapping[str, Estimate]) -> Finding:
    """The medians rise strictly in the order given."""
    names, estimates = list(parts), list(parts.values())
    limits = [e.interval for e in estimates]
    text = " < ".join(f"{name} {e.show(e.interval.estimate)}" for name, e in parts.items())
    counts = sorted({e.n for e in estimates})
    ours = f"n = {' to '.join(map(str, {counts[0]: 0, counts[-1]: 0}))} each: {text}"
    if any(math.isnan(x.estimate) for x in limits):
        return Finding(ours, NOT_RUN, "A median was not observed.")
    pairs = [(i, j) for i in range(len(estimates)) for j in range(i + 1, len(estimates))]
    beyond = [x.estimate for x in limits].count(math.inf)
    if beyond == len(estimates):
        return Finding(ours, NOT_RUN, "No median lies within the budget.")
    # The order of two medians beyond the budget is unknown.
    both_late = lambda i, j: math.isinf(limits[i].estimate) and math.isinf(limits[j].estimate)  # noqa: E731
    wrong = [(i, j) for i, j in pairs
             if not (limits[i].estimate < limits[j].estimate or both_late(i, j))]  # fmt: skip
    if not wrong:
        close = [f"{names[i]} and {names[i + 1]}" for i in range(len(estimates) - 1)
                 if limits[i].high >= limits[i + 1].low]  # fmt: skip
        told = f"but the intervals of {', '.join(close)} overlap" if close else "intervals apart"
        if any(x.low == -math.inf for x in limits):
            told = "of too few runs for intervals"
        told += f"; {beyond} lie beyond the budget" if beyond > 1 else ""
        return Finding(ours, HOLDS, f"In this order, {told}.")
    firmly = [(i, j) for i, j in wrong if limits[i].low > limits[j].high]
    told = ", ".join(f"{names[i]} is not below {names[j]}" for i, j in wrong)
    return Finding(ours.replace(" < ", ", "), CONTRADICTED if firmly else WEAKER, f"{told}.")


def at_least(e: Estimate, bound: float) -> Finding:
    """The estimate is at or above a bound."""
    near = reach(e.interval)[1] >= bound
    verdict = HOLDS if e.interval.estimate >= bound else WEAKER if near else CONTRADICTED
    return Finding(e.text, verdict, f"Asked for: at least {plain(bound)}.")


def at_most(e: Estimate, bound: float) -> Finding:
    """The estimate is at or below a bound."""
    near = reach(e.interval)[0] <= bound
    verdict = HOLDS if e.interval.estimate <= bound else WEAKER if near else CONTRADICTED
    return Finding(e.text, verdict, f"Asked for: at most {plain(bound)}.")


def correlated(pairs: Mapping[str, tuple[float, float]], bound: float) -> Finding:
    """Spearman's rank correlation over configurations reaches a bound."""
    x, y = zip(*pairs.values(), strict=True) if pairs else ((), ())
    known = [n for n, (a, b) in pairs.items() if not (math.isnan(a) or math.isnan(b))]
    rho = rank_correlation(x, y)
    if math.isnan(rho):
        return Finding("–", NOT_RUN, f"Known for {len(known)} configurations only.")
    verdict = HOLDS if rho >= bound else WEAKER if rho > 0 else CONTRADICTED
    told = f"Over the medians of {', '.join(known)}; beyond the budget counts as last."
    return Finding(f"rho = {rho:.2f}, n = {len(known)} configurations", verdict, told)


def told(e: Estimate, sentence: str = "") -> Finding:
    """Our number without a verdict, because no number is published."""
    return Finding(e.text, NO_CLAIM, sentence)


def _span(e: Estimate) -> str:
    known = e.known
    return f"Runs from {e.show(known.min())} to {e.show(known.max())}." if len(known) else ""


def _ratio(e: Estimate, published: float) -> str:
    ratio = e.interval.estimate / published if published else math.nan
    return f"{plain(ratio)} times the published number." if math.isfinite(ratio) else ""
