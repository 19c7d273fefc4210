"""The saved weights and kept states of the runs of a group, wherever they are on disk. No JAX."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from grokjax.atomic import replacing
from grokjax.results.older import OlderWeights
from grokjax.results.packs import Packs


class Weights:
    """Reads weights. Those in packs are compared with their checksums; older ones have none."""

    def __init__(self, ended: Packs, taken: Packs, older: OlderWeights):
        self._ended, self._taken, self._older = ended, taken, older

    def has(self, run: str, step: int | None = None) -> bool:
        """Whether there are weights of a run, at its end or at a step."""
        packs = self._ended if step is None else self._taken
        place = packs.find(run, step)
        return self._older.has(run, step) if place is None else packs.has(place, "weights")

    def read(self, run: str, step: int | None = None) -> dict[str, np.ndarray]:
        """The final weights by name, or those of a snapshot. Raises Damaged, or KeyError where there are none."""
        packs = self._ended if step is None else self._taken
        if place := packs.find(run, step):
            return packs.read(place, "weights")
        if self._older.has(run, step):
            return self._older.read(run, step)
        raise KeyError(run)

    def facts(self, run: str) -> dict[str, str]:
        """What belongs to the final weights: run, step, status, and intervened_at where there is an intervention."""
        place = self._ended.find(run)
        if place is None:
            return self._older.facts(run)
        facts = {
            name: self._ended.fact(place, name)
            for name in ("run", "step", "status", "intervened_at")
        }
        return {name: str(value) for name, value in facts.items() if value is not None}

    def final_step(self, run: str) -> int | None:
        """Step of the final weights, None where there are none. Raises Damaged."""
        if place := self._ended.find(run):
            return self._ended.fact(place, "step")
        return self._older.step(run) if self._older.has(run) else None

    def snapshots(self, run: str) -> list[int]:
        """Steps at which weights of a run were saved."""
        return sorted({*self._steps.get(run, ()), *self._older.snapshots(run)})

    @cached_property
    def _steps(self) -> dict[str, list[int]]:
        steps: dict[str, list[int]] = {}
        for entry in self._taken.newest:
            assert entry.step is not None, "rows of snapshots have a step"
            steps.setdefault(entry.run, []).append(entry.step)
        return steps

    def state(self, run: str) -> list[np.ndarray] | None:
        """The leaves of a kept state, None if there is none. Raises Damaged."""
        if place := self._ended.find(run):
            if not self._ended.has(place, "state"):
                return None
            leaves = self._ended.read(place, "state")
            return [leaves[name] for name in sorted(leaves)]
        return self._older.state(run)

    def state_evaluations(self, run: str) -> int:
        """Evaluations done by the kept state, 0 if there is none. Raises Damaged."""
        if place := self._ended.find(run):
            return (
                self._ended.fact(place, "evaluations_done")
                if self._ended.has(place, "state")
                else 0
            )
        return self._older.state_evaluations(run)


def save_weights(weights: Weights, run: str, file: Path, step: int | None = None) -> Path:
    """Write the weights of one run as a safetensors file with its names and facts. Raises Damaged."""
    facts = weights.facts(run) if step is None else {"run": run, "step": str(step)}
    with replacing(file) as aside:
        save_file(weights.read(run, step), aside, metadata=facts)
    return file
