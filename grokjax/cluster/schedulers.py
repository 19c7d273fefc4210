"""What places workers on machines, behind one small interface, and how a word of the command line chooses it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from grokjax.cluster.process import Outcome, Task
from grokjax.experiment.config import Execution
from grokjax.experiment.places import ConfigError
from grokjax.quoting import cut

SCHEDULERS = ("ray", "slurm")


class Worker(NamedTuple):
    """What a worker gets of its machine."""

    gpus: int
    cpus: int

    @property
    def devices(self) -> int:
        """Devices on which it trains."""
        return self.gpus or self.cpus


@runtime_checkable
class Scheduler(Protocol):
    """Ray, Slurm, or processes of this machine in the tests."""

    worker: Worker

    def check_shared(self, path: Path) -> None:
        """Refuse a results directory that some machine does not see. Raises ConfigError."""
        ...

    def submit(self, tasks: list[Task]) -> None:
        """Place these tasks as soon as there is room."""
        ...

    def ended(self) -> list[Outcome]:
        """The tasks that have ended since the last call. Does not wait."""
        ...

    def forget(self, name: str) -> None:
        """Give up a task that cannot be reached."""
        ...

    def most_workers(self) -> int:
        """How many workers there can be at the same time, as far as is known now."""
        ...

    def close(self) -> None:
        """Leave the cluster. Tasks that still run are ended."""
        ...


def open_scheduler(word: str, execution: Execution, path: Path) -> Scheduler:
    """The scheduler of `--on WORD`: ray, ray:ADDRESS, slurm or slurm:PARTITION. Raises ConfigError."""
    name, colon, where = word.partition(":")
    if name not in SCHEDULERS or (colon and not where):
        raise ConfigError(
            f"--on {cut(word)}: is not known; use ray, ray:ADDRESS, slurm or slurm:PARTITION"
        )
    if name == "ray":
        from grokjax.cluster.on_ray import RayScheduler

        return RayScheduler(where or None, execution)
    from grokjax.cluster.on_slurm import SlurmScheduler

    return SlurmScheduler(where or None, execution, path)


def not_installed(word: str) -> ConfigError:
    """What is said where the library of a scheduler is missing."""
    library = {"ray": "ray", "slurm": "submitit"}[word]
    return ConfigError(
        f"--on {word}: {library} is not installed; install it with pip install -r requirements-{word}.txt"
    )
