"""Checks give the verdict of a row. A claims.yaml uses them by name; the rules are in verdicts.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from analysis.readings import budget_told
from analysis.sources.core import verdicts
from analysis.sources.core.claims import CONTRADICTED, HOLDS, Finding, MissingError, Results
from analysis.sources.core.configuration import at_hand
from analysis.sources.core.quantities import weights
from analysis.sources.core.row import Row
from analysis.weights import n_parameters


@dataclass(frozen=True)
class Check:
    """`judge` takes a row, results, and the arguments that the YAML gives. `needs`: keys that the row must have.

    `wording`: the template of the 'published' column, unless the row has its own text (`told`).
    """

    judge: Callable[..., Finding]
    needs: tuple[str, ...] = ()
    wording: str = "{published}"


def order(row: Row, results: Results, direction: Literal["rising", "falling"]) -> Finding:
    """The medians rise (or fall) along the group. Only configurations that were run count."""
    group = row.configurations
    lowest_first = group if direction == "rising" else tuple(reversed(group))
    estimates, left_out = replace(row, configurations=lowest_first).estimates(results)
    finding = verdicts.order(estimates)
    return replace(finding, evidence=f"{finding.evidence} {left_out}".strip())


def rows(row: Row, results: Results) -> Finding:
    """The number of training rows is `published`, and that of the other rows is `other`."""
    total = int(row.published + row.other)
    n_train = row.runs(results)["n_train"].to_numpy().astype(int)
    sizes = ", ".join(f"{n:,} / {total - n:,}" for n in sorted(set(n_train)))
    right = bool((n_train == row.published).all())
    return Finding(f"n = {len(n_train)}, {sizes}", HOLDS if right else CONTRADICTED)


def parameters(row: Row, results: Results) -> Finding:
    """The number of parameters of the final weights is `published` or `other`."""
    by_run = weights(row.runs(results))
    sizes = sorted({n_parameters(w) for w in by_run})
    text = f"n = {len(by_run)}, {', '.join(f'{n:,}' for n in sizes)}"
    right = set(sizes) <= {row.published, row.other}
    return Finding(text, HOLDS if right else CONTRADICTED)


def missing(row: Row, results: Results) -> Finding:
    """A published number that our results do not contain. The note says why."""
    row.runs(results)
    raise MissingError(row.note)


def told(row: Row, results: Results) -> Finding:
    """Our number without a verdict, because no number is published."""
    e = row.estimate(results)
    return verdicts.told(e, row.note or e.note)


def each(row: Row, results: Results) -> Finding:
    """Our number for each configuration of the group that was run, without a verdict."""
    datasets, left_out = at_hand(row.configurations, results)
    texts = [f"{name}: {row.read(runs).text}" for name, runs in datasets.items()]
    return Finding("; ".join(texts), verdicts.NO_CLAIM, left_out)


def never(row: Row, results: Results) -> Finding:
    """No run arrives. The row's note may contain {budget}."""
    finding = verdicts.never(row.estimate(results))
    budget = budget_told(row.runs(results))
    return replace(finding, evidence=f"{finding.evidence} {row.note.format(budget=budget)}".strip())


def _on_range(rule: Callable[..., Finding]) -> Callable[..., Finding]:
    return lambda row, results: rule(row.estimate(results), *row.within)


def _on_number(rule: Callable[..., Finding]) -> Callable[..., Finding]:
    return lambda row, results: rule(row.estimate(results), row.published, row.approx)


def _on_bound(rule: Callable[..., Finding]) -> Callable[..., Finding]:
    return lambda row, results: rule(row.estimate(results), row.published)


CHECKS: dict[str, Check] = {
    "every": Check(_on_range(verdicts.every), ("read", "within")),
    "median": Check(_on_range(verdicts.median), ("read", "within")),
    "number": Check(_on_number(verdicts.number), ("read", "published")),
    "one_run": Check(_on_number(verdicts.one_run), ("read", "published")),
    "at_least": Check(_on_bound(verdicts.at_least), ("read", "published"), "{published} or more"),
    "at_most": Check(_on_bound(verdicts.at_most), ("read", "published"), "{published} or less"),
    "order": Check(order, ("group", "read"), "{order}"),
    "never": Check(never, ("read",)),
    "told": Check(told, ("read",)),
    "each": Check(each, ("group", "read")),
    "rows": Check(rows, ("published", "other"), "{published} / {other}"),
    "parameters": Check(parameters, ("published",)),
    "missing": Check(missing, ("note",)),
}
