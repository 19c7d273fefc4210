"""When a run is evaluated: step 0, densely at first where asked for, then at even intervals."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Cadence:
    """Evaluations at steps 0, early_every, 2 early_every, ... early_until, then every `every` steps."""

    every: int
    early_every: int = 1
    early_until: int = 0

    @property
    def unit(self) -> int:
        """Steps between two moments at which some run can be due."""
        return math.gcd(self.every, self.early_every) if self.early_until else self.every

    @property
    def n_early(self) -> int:
        return self.early_until // self.early_every

    def step_of(self, evaluation: Any) -> Any:
        """Step of evaluation number e (from 0). Works on integers, NumPy and traced arrays alike."""
        late = evaluation > self.n_early
        return late * (self.early_until + (evaluation - self.n_early) * self.every) + (1 - late) * (
            evaluation * self.early_every
        )

    def count(self, steps: int) -> int:
        """Evaluations from step 0 to `steps`, both included."""
        if steps < self.early_until:
            return steps // self.early_every + 1
        return self.n_early + (steps - self.early_until) // self.every + 1

    def steps(self, count: int) -> np.ndarray:
        """Steps of the first `count` evaluations, int64."""
        return np.array([int(self.step_of(e)) for e in range(count)], np.int64)

    def hits(self, steps: int) -> bool:
        """Whether `steps` is the step of an evaluation."""
        return int(self.step_of(self.count(steps) - 1)) == steps
