"""The process of `--on`: it divides an experiment, has workers placed, and collects. It trains nothing."""

from __future__ import annotations

import collections
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from grokjax.cluster.division import divide
from grokjax.cluster.placements import FROZEN_SECONDS, Placement, newest_message
from grokjax.cluster.process import KILL, STOP, Outcome, Task
from grokjax.cluster.schedulers import Scheduler
from grokjax.cluster.stragglers import straggler
from grokjax.experiment.grid import Run
from grokjax.quoting import cut, cut_path
from grokjax.results.shares import Share, folder, worker_stores, write_share
from grokjax.results.status import DONE
from grokjax.signals import INTERRUPTED

log = logging.getLogger("grokjax")

UNREACHABLE_SECONDS = 10.0
"""What was asked to end, and is not heard of in this time, waits for a machine or cannot be reached."""


class Coordinator:
    """Gives shares to a scheduler until all are done. What has to be done again is placed again."""

    def __init__(
        self,
        path: Path,
        scheduler: Scheduler,
        make_task: Callable[[str], Task],
        runs: dict[str, Run],
        retries: int,
    ):
        self.path, self.scheduler, self._make_task = path, scheduler, make_task
        self._runs, self._retries = runs, retries
        self.placed: dict[str, Placement] = {}
        self._deaths: collections.Counter[str] = collections.Counter()
        self._far: dict[str, int] = {}
        """Steps that were left in a share when its worker died last."""
        self._given_up: dict[str, float] = {}
        """When workers that are frozen were asked to be killed."""
        self.failed: list[str] = []
        """A sentence for each share that is not placed again."""
        self.stopping: float | None = None
        """When all workers were asked to save and end."""

    def place(self, shares: Iterable[Share]) -> None:
        """Give shares to the scheduler."""
        tasks = []
        for share in shares:
            write_share(self.path, share)
            stamp = newest_message(self.path, share.name)
            self.placed[share.name] = Placement(share, stamp)
            self._stop_file(share.name).unlink(missing_ok=True)
            tasks.append(self._make_task(share.name))
        if tasks:
            self.scheduler.submit(tasks)

    def step(self) -> None:
        """Look at everything once: what ended, who is silent, who needs help."""
        now = time.monotonic()
        for outcome in self.scheduler.ended():
            if outcome.name in self.placed:
                self._take(outcome)
        for placement in list(self.placed.values()):
            placement.ask(self.path, now)
            if placement.is_frozen(now):
                self._give_up(placement, now)
        if self.stopping is None:
            self._help_a_straggler()
        elif now - self.stopping > UNREACHABLE_SECONDS:
            for name in [n for n, p in self.placed.items() if p.heard is None]:
                self.scheduler.forget(name)  # it waits, and will not read the file
                del self.placed[name]

    def stop(self) -> None:
        """Ask all workers to save and end."""
        self.stopping = time.monotonic()
        for name in list(self.placed):
            self._ask(name, STOP)

    def _ask(self, name: str, word: str) -> None:
        """Through a file, which `process.run_process` looks at; on a full disk, through the scheduler."""
        try:
            self._stop_file(name).write_text(word)
        except OSError:
            self.scheduler.forget(name)
            self._take(Outcome(name, None, "the disk is full"))

    def _stop_file(self, name: str) -> Path:
        return folder(self.path) / name / "stop"

    # -- how tasks end -----------------------------------------------------------------------------------------------

    def _take(self, outcome: Outcome) -> None:
        placement = self.placed.pop(outcome.name)
        self._given_up.pop(outcome.name, None)
        share = placement.share
        if outcome.code == 0 or self.stopping is not None:
            return
        if outcome.code == INTERRUPTED:
            self.place(self._parts(share) if placement.moving else [share])
        elif outcome.code == 2:
            said = _last_line(self.path, share)
            on = f" on {outcome.told}" if said else ""
            self.failed.append(f"share {share.name}{on}: {said or outcome.told}")
        else:
            self._died(placement, outcome)

    def _died(self, placement: Placement, outcome: Outcome) -> None:
        """Place it again, unless workers die again and again without getting any further."""
        share, left = placement.share, placement.tally.get("steps_left")
        if left is not None and left < self._far.get(share.name, left + 1):
            self._far[share.name], self._deaths[share.name] = left, 0
        self._deaths[share.name] += 1
        how = (
            f"its worker was lost ({outcome.told})"
            if outcome.code is None
            else f"its worker on {outcome.told} died (exit code {outcome.code})"
        )
        if self._deaths[share.name] <= self._retries:
            log.warning(f"share {share.name}: {how}; it is placed again")
            self.place([share])
            return
        self.failed.append(
            f"share {share.name}: {how}, {self._deaths[share.name]} times without getting further; last line of "
            f"{cut_path(folder(self.path) / share.name / 'log')}: {_last_line(self.path, share)}"
        )

    # -- who is silent, and who needs help ---------------------------------------------------------------------------

    def _give_up(self, placement: Placement, now: float) -> None:
        """Have a silent worker killed. If that does not succeed, its share is placed beside it: the directories of
        workers are their own, so a worker that wakes up later does no harm."""
        name = placement.share.name
        if name not in self._given_up:
            host = placement.said.get("host", "its machine")
            log.warning(
                f"share {name}: nothing was heard of its worker on {host} for {FROZEN_SECONDS:.0f} s; it is placed anew"
            )
            self._given_up[name] = now
            self._ask(name, KILL)
        elif now - self._given_up[name] > UNREACHABLE_SECONDS:
            self.scheduler.forget(name)
            self._take(Outcome(name, None, "it cannot be reached"))

    def _help_a_straggler(self) -> None:
        """When nothing waits and workers are free: the one that needs longest saves, and its runs are divided."""
        if any(p.heard is None or p.moving for p in self.placed.values()):
            return
        free = self.scheduler.most_workers() - len(self.placed)
        slow = straggler(list(self.placed.values()), free)
        if slow is not None:
            log.info(
                f"share {slow.share.name}: what is left of it is divided, for workers that are free"
            )
            slow.moving = True
            self._ask(slow.share.name, STOP)

    def _parts(self, share: Share) -> list[Share]:
        """What is left of a share, for the workers that are free now and its own."""
        left = [self._runs[r] for r in share.runs if r not in _ended(self.path, share)]
        step = share.tile * share.devices
        n = max(1, self.scheduler.most_workers() - len(self.placed))
        size = -(-len(left) // (n * step)) * step
        names = (f"{share.name}.{i}" for i in range(len(left)))
        return [
            share._replace(name=name, runs=tuple(run.id for run in part))
            for name, part in zip(names, divide(left, size, step), strict=False)
        ]


def _last_line(path: Path, share: Share) -> str:
    """What the worker of a share said last; empty if it said nothing."""
    try:
        text = (folder(path) / share.name / "log").read_text(errors="replace")
    except OSError:
        return ""
    return cut(([line for line in text.splitlines() if line.strip()] or [""])[-1], 400)


def _ended(path: Path, share: Share) -> set[str]:
    """The runs of a share that have ended in the directories of workers."""
    stores = worker_stores(path, share.group)
    return {r for r in share.runs for s in stores if s.progress(r).status in DONE}
