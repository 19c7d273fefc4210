"""Which of Liu's four phases a run ended in, and with what probability a cell of the grid ends in
each.

Liu et al. 2022 (arXiv 2205.10343, section 4 and its code): comprehension, grokking, memorisation,
confusion, from the first steps at which training and validation accuracy reach 0.9. The rule here
also covers the cases that theirs does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.outcomes import DIVERGED, NOT_OBSERVED, FirstHit, delay, delay_ratio

PHASES = ("comprehension", "grokking", "memorisation", "confusion", "diverged", "undecided")


@dataclass(frozen=True)
class PhaseRule:
    """Times are those at which an accuracy reaches `level`. Grokking is a delay of validation of at
    least `delay_steps` steps, or, if `delay_ratio` is given, a validation time of at least
    `delay_ratio` times the training time.
    """

    level: float = 0.9
    delay_steps: float = 1000.0
    delay_ratio: float | None = None

    def describe(self) -> str:
        """The rule in words, for a caption."""
        if self.delay_ratio is not None:
            late = f"validation takes at least {self.delay_ratio:g} times as many steps as training"
        else:
            late = f"validation comes at least {self.delay_steps:,.0f} steps after training"
        return f"grokking: both accuracies reach {self.level:g} and {late}"


def classify(
    train: FirstHit, val: FirstHit, status: NDArray[np.str_], rule: PhaseRule
) -> NDArray[np.str_]:
    """(run,) phase of each run; both outcomes must be of the rule's level.

    A run whose validation accuracy reaches the level and whose training accuracy does not is
    comprehension: it generalises without delay. A run that diverged after validation reached the
    level keeps its phase. A run still in training is undecided until validation reaches the level;
    so is a run that the stop rule ended below the level.
    """
    assert train.level == val.level == rule.level
    late = _is_late(train, val, rule)
    open_end = np.isin(status, ["waiting", "running"]) | (val.state == NOT_OBSERVED)
    return np.select(
        [val.hit & late, val.hit, val.state == DIVERGED, open_end, train.hit],
        ["grokking", "comprehension", "diverged", "undecided", "memorisation"],
        "confusion",
    )


def _is_late(train: FirstHit, val: FirstHit, rule: PhaseRule) -> NDArray[np.bool_]:
    """Whether validation is late. A missing time is NaN, which counts as not late."""
    if rule.delay_ratio is not None:
        return delay_ratio(train, val) >= rule.delay_ratio
    return delay(train, val) >= rule.delay_steps


def probabilities(phases: NDArray[np.str_]) -> dict[str, float]:
    """Share of each phase among the runs of one cell; with undecided, they add up to one."""
    return {
        phase: float((phases == phase).mean()) if len(phases) else float("nan") for phase in PHASES
    }


def most_probable(phases: NDArray[np.str_]) -> str:
    """The most frequent phase of the decided runs (undecided without any); of equals the first in PHASES."""
    decided = phases[phases != "undecided"]
    return (
        max(PHASES, key=lambda phase: int((decided == phase).sum()))
        if len(decided)
        else "undecided"
    )
