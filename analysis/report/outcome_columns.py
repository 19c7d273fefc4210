"""When each run reached each level: the number of the evaluation, from which the page makes the bracket."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.outcomes import HIT, LEVELS, STATES, FirstHit, Sustain
from analysis.report.packing import pack
from analysis.study import Study, accuracy_outcome


def levels_of(study: Study) -> list[float]:
    """The levels that one can choose."""
    return sorted({*LEVELS, study.level, study.rule.level})


def outcomes(study: Study) -> dict[str, list[dict[str, Any]]]:
    """For each level: training, validation (by the study's definition), and lasting validation hits."""
    dataset = study.dataset
    lasting = study.sustain or Sustain()
    step = dataset["step"].to_numpy()
    return {
        "train": [_packed(accuracy_outcome(dataset, "train", x), step) for x in levels_of(study)],
        "val": [
            _packed(accuracy_outcome(dataset, "val", x, study.sustain), step)
            for x in levels_of(study)
        ],
        "lasting": [
            _packed(accuracy_outcome(dataset, "val", x, lasting), step) for x in levels_of(study)
        ],
    }


def _packed(outcome: FirstHit, step: np.ndarray) -> dict[str, Any]:
    """`state`: its number in STATES; `at`: the evaluation of the hit, 0 without one."""
    state = np.zeros(len(outcome.state), np.uint8)
    for number, name in enumerate(STATES):
        state[outcome.state == name] = number
    at = np.where(outcome.state == HIT, (step == outcome.upper[:, None]).argmax(1), 0)
    return {"state": pack(state), "at": pack(at)}
