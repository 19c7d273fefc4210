"""Slurm as a scheduler, through submitit: a job of an array for each share, which starts the worker as a process."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

from grokjax.cluster.process import GRACE_SECONDS, Outcome, Task, run_process
from grokjax.cluster.schedulers import Worker, not_installed
from grokjax.experiment.config import Execution
from grokjax.experiment.places import ConfigError
from grokjax.quoting import cut, cut_path
from grokjax.results.shares import folder

ANSWER_SECONDS = 30
"""Time in which Slurm's controller must answer."""
_MOST_WORKERS = 16
_LOOK_SECONDS = 10.0
"""Time between two looks at the queue."""
_LATE_SECONDS = 30.0
"""A result may be seen so much later than the end of its job, on a file system of many machines."""


class Work:
    """What a job does; submitit calls it."""

    def __call__(self, task: Task) -> Outcome:
        """Train a share."""
        return run_process(task)

    def checkpoint(self, task: Task) -> Any:
        """Before the time limit, or when Slurm needs the machine: let the worker save, then queue the job again."""
        from submitit.helpers import DelayedSubmission  # pyright: ignore[reportMissingImports]

        children = psutil.Process().children()
        for child in children:
            child.terminate()
        psutil.wait_procs(children, GRACE_SECONDS)
        return DelayedSubmission(self, task)


class SlurmScheduler:
    """The cluster that this machine can submit jobs to."""

    def __init__(self, partition: str | None, execution: Execution, path: Path):
        try:
            import submitit  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise not_installed("slurm") from None
        self._submitit: Any = submitit
        self._asked, self._partition = execution.cluster, partition
        self.worker = _worker(_machines(partition), execution)
        self._path = path.absolute()
        self._jobs: dict[str, Any] = {}
        self._missed: dict[str, float] = {}
        """When a job was first found to be neither in the queue nor to have a result."""
        self._looked = 0.0
        self._own = folder(self._path) / "slurm"

    def check_shared(self, path: Path) -> None:
        """Nothing can be asked of the machines before a job runs there; but jobs of an earlier start are ended."""
        ids = self._own / "jobs"
        if ids.exists():
            _cancel(ids.read_text().split())
            ids.unlink()

    def submit(self, tasks: list[Task]) -> None:
        """One array."""
        self._own.mkdir(parents=True, exist_ok=True)
        executor = self._submitit.SlurmExecutor(folder=self._own)
        asked = self._asked
        executor.update_parameters(
            job_name="grokjax",
            time=asked.minutes,
            signal_delay_s=int(min(GRACE_SECONDS, 30 * asked.minutes)),
            cpus_per_task=self.worker.cpus,
            array_parallelism=self.most_workers(),
            **({"gpus_per_node": self.worker.gpus} if self.worker.gpus else {}),
            **({"partition": self._partition} if self._partition else {}),
            additional_parameters={"requeue": True, **asked.sbatch},
        )
        try:
            jobs = executor.map_array(Work(), tasks)
        except self._submitit.core.utils.FailedJobError as error:
            raise ConfigError(f"--on slurm: sbatch refused the jobs ({_last(error)})") from None
        self._jobs |= dict(zip((task.name for task in tasks), jobs, strict=True))
        with (self._own / "jobs").open("a") as file:
            file.write("".join(f"{job.job_id}\n" for job in jobs))

    def ended(self) -> list[Outcome]:
        """Jobs that left a result, or are not in the queue any more."""
        done = [
            self._outcome(name, job)
            for name, job in self._jobs.items()
            if job.paths.result_pickle.exists()
        ]
        done += [] if done else self._lost()
        for outcome in done:
            self._jobs.pop(outcome.name)
            self._missed.pop(outcome.name, None)
        return done

    def _outcome(self, name: str, job: Any) -> Outcome:
        # Where Slurm ended it, it is queued again, and the coordinator submits another one.
        _cancel([job.job_id])
        try:
            return Outcome(*job.result())
        except Exception as error:  # whatever went wrong in the job comes here
            return Outcome(name, None, _last(error))

    def _lost(self) -> list[Outcome]:
        now = time.monotonic()
        if not self._jobs or now - self._looked < _LOOK_SECONDS:
            return []
        self._looked, queued = now, _queued()
        if queued is None:
            return []
        for name, job in self._jobs.items():
            if job.job_id in queued:
                self._missed.pop(name, None)
            else:
                self._missed.setdefault(name, now)
        return [
            Outcome(name, None, self._without_result(self._jobs[name]))
            for name, since in self._missed.items()
            if now - since > _LATE_SECONDS
        ]

    def _without_result(self, job: Any) -> str:
        return (
            f"Slurm's job {job.job_id} ended without a result; {cut_path(job.paths.stderr)} says why, if the "
            "results directory is on a file system that all machines share"
        )

    def forget(self, name: str) -> None:
        """Cancel what does not answer, or has not begun."""
        if job := self._jobs.pop(name, None):
            self._missed.pop(name, None)
            _cancel([job.job_id])

    def most_workers(self) -> int:
        """As the settings say: what is free can change before a job begins."""
        return self._asked.workers or _MOST_WORKERS

    def close(self) -> None:
        """Cancel what is left."""
        _cancel([job.job_id for job in self._jobs.values()])


def _last(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return cut((lines or [type(error).__name__])[-1], 200)


def _ask(*words: str) -> str:
    """What a command of Slurm says. Raises ConfigError if there is none, or no controller answers."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=ANSWER_SECONDS)
    except FileNotFoundError:
        raise ConfigError(
            f"--on slurm: {words[0]} is not on this machine; run the command on a machine from which Slurm takes jobs"
        ) from None
    except subprocess.TimeoutExpired:
        done = None
    if done is None or done.returncode:
        why = (
            f"no answer within {ANSWER_SECONDS} s"
            if done is None
            else _last(RuntimeError(done.stderr))
        )
        raise ConfigError(f"--on slurm: Slurm does not answer ({why}); see whether sinfo works")
    return done.stdout


def _machines(partition: str | None) -> list[str]:
    """A line 'partition cores generic-resources' for each kind of machine. Raises ConfigError."""
    lines = [line for line in _ask("sinfo", "-h", "-o", "%R %c %G").splitlines() if line.strip()]
    names = sorted({line.split()[0] for line in lines})
    if partition and partition not in names:
        raise ConfigError(
            f"--on slurm:{cut(partition)}: this partition does not exist; use one of {', '.join(names)}"
        )
    return [line for line in lines if not partition or line.split()[0] == partition]


def _worker(machines: list[str], execution: Execution) -> Worker:
    """What a worker asks for; by default of the machines that are there."""
    asked = execution.cluster
    has_gpus = any("gpu" in line.split(maxsplit=2)[2] for line in machines)
    gpus = asked.gpus if asked.gpus is not None else int(has_gpus) * (execution.devices or 1)
    smallest = min((int(re.sub(r"\D", "", line.split()[1])) for line in machines), default=1)
    return Worker(gpus, asked.cpus or (1 if gpus else execution.devices or smallest))


def _queued() -> set[str] | None:
    """The jobs that wait or run, as submitit names them; None if Slurm does not answer now."""
    try:
        return set(_ask("squeue", "-h", "--array", "-o", "%F_%K %A").split())
    except ConfigError:
        return None


def _cancel(ids: list[str]) -> None:
    if ids:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(["scancel", *ids], capture_output=True, timeout=ANSWER_SECONDS)
