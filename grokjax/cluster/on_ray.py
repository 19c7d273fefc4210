"""Ray as a scheduler: a task for each share, which starts the worker as a process of its own."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from pathlib import Path
from typing import Any

from grokjax import signals
from grokjax.cluster.process import Outcome, Task, run_process, without_directory
from grokjax.cluster.schedulers import Worker, not_installed
from grokjax.experiment.config import Execution
from grokjax.experiment.places import ConfigError
from grokjax.quoting import cut

log = logging.getLogger("grokjax")

ANSWER_SECONDS = 30.0
"""Time in which an address must answer."""
_ROOT = str(Path(__file__).parent.parent.parent)


class RayScheduler:
    """A cluster that was there (address), or one on this machine that ends with this process (None)."""

    def __init__(self, address: str | None, execution: Execution):
        try:
            import ray  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise not_installed("ray") from None
        self._ray: Any = ray
        _connect(ray, address)
        self._refs: dict[Any, str] = {}
        self.worker = _worker(self._nodes(), execution, address)
        self._run = ray.remote(run_process)
        self._options = {
            "num_cpus": self.worker.cpus,
            "num_gpus": self.worker.gpus,
            "max_retries": 0,  # the coordinator places it again, and says so
            "runtime_env": _environment(),
        }

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def check_shared(self, path: Path) -> None:
        """Ask every machine whether it sees the directory."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On  # pyright: ignore[reportMissingImports]

        sees = self._ray.remote(_sees)
        refs = [
            sees.options(
                num_cpus=0,
                runtime_env=_environment(),
                scheduling_strategy=On(node["NodeID"], soft=True),
            ).remote(str(path.absolute()))
            for node in self._nodes()
            if node["Resources"].get("CPU")
        ]
        for host, there in self._ray.get(refs, timeout=10 * ANSWER_SECONDS):
            if not there:
                raise ConfigError(without_directory(path, host))

    def submit(self, tasks: list[Task]) -> None:
        """A Ray task for each."""
        for task in tasks:
            self._refs[self._run.options(name=task.name, **self._options).remote(task)] = task.name

    def ended(self) -> list[Outcome]:
        """What Ray says of the tasks that are done or lost."""
        if not self._refs:
            return []
        done, _ = self._ray.wait(list(self._refs), num_returns=len(self._refs), timeout=0)
        return [self._outcome(ref, self._refs.pop(ref)) for ref in done]

    def _outcome(self, ref: Any, name: str) -> Outcome:
        try:
            return Outcome(*self._ray.get(ref))
        except self._ray.exceptions.RayError as error:
            return Outcome(name, None, f"Ray says {type(error).__name__}")

    def forget(self, name: str) -> None:
        """Cancel by force what does not answer."""
        for ref in [r for r, n in self._refs.items() if n == name]:
            del self._refs[ref]
            with contextlib.suppress(Exception):  # a machine that is lost already
                self._ray.cancel(ref, force=True)

    def most_workers(self) -> int:
        """By the free and used resources of all machines."""
        return sum(_fitting(node["Resources"], self.worker) for node in self._nodes())

    def close(self) -> None:
        """Disconnect; a cluster of this process ends."""
        self._ray.shutdown()


def _environment() -> dict[str, Any]:
    """Tasks find this package, wherever Ray starts them."""
    path = os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH", "")]))
    return {"env_vars": {"PYTHONPATH": path}}


def _sees(path: str) -> tuple[str, bool]:
    return socket.gethostname(), Path(path).is_dir()


def _connect(ray: Any, address: str | None) -> None:
    """Raises ConfigError if the address does not answer in time."""
    told = f"--on ray:{cut(address)}" if address else "--on ray"
    hint = "start the cluster with ray start --head, or use --on ray for one on this machine"
    if address and address != "auto":
        _reach(address, told, hint)
    options: dict[str, Any] = {"address": address or "local", "log_to_driver": False}
    if address is None:
        options |= {"include_dashboard": False}
    options |= {"logging_level": logging.ERROR}
    wrong: list[Exception] = []
    if address is None:
        # Not in a thread: the cluster's processes end with the thread that started them.
        _init(ray, options, wrong)
        signals.handle_again()
    else:
        thread = threading.Thread(target=_init, args=(ray, options, wrong), daemon=True)
        thread.start()
        thread.join(ANSWER_SECONDS)
        if thread.is_alive():
            raise ConfigError(f"{told}: does not answer within {ANSWER_SECONDS:.0f} s; {hint}")
    if wrong:
        first = cut((str(wrong[0]).splitlines() or [""])[0], 200)
        raise ConfigError(f"{told}: cannot be used ({first}); {hint}")


def _silence(ray: Any) -> None:
    """Ray writes the last lines of its logs to the terminal when a machine is lost. The coordinator says it in one
    sentence."""
    worker = getattr(ray._private, "worker", None)
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None  # type: ignore[union-attr]


def _init(ray: Any, options: dict[str, Any], wrong: list[Exception]) -> None:
    _silence(ray)
    try:
        ray.init(**options)
    except Exception as error:  # Ray raises whatever its layers raise
        wrong.append(error)


def _reach(address: str, told: str, hint: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit() or len(port) > 5 or int(port) >= 2**16:
        raise ConfigError(f"{told}: is not an address; write it as HOST:PORT, or auto")
    try:
        socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
    except OSError as error:
        why = error.strerror or f"time-out of {ANSWER_SECONDS:.0f} s"
        raise ConfigError(f"{told}: does not answer ({why}); {hint}") from None


def _worker(nodes: list[dict[str, Any]], execution: Execution, address: str | None) -> Worker:
    """What a worker asks for; by default of the machines that are there."""
    asked, resources = execution.cluster, [node["Resources"] for node in nodes]
    has_gpus = any(r.get("GPU") for r in resources)
    gpus = asked.gpus if asked.gpus is not None else int(has_gpus) * (execution.devices or 1)
    smallest = min((int(r["CPU"]) for r in resources if r.get("CPU")), default=1)
    cpus = asked.cpus or (1 if gpus else execution.devices or smallest)
    worker = Worker(gpus, cpus)
    if not sum(_fitting(r, worker) for r in resources):
        raise ConfigError(
            f"--on ray{f':{cut(address)}' if address else ''}: no machine has room for a worker with {gpus} GPUs and "
            f"{cpus} CPU cores; lower execution.cluster.gpus or execution.cluster.cpus"
        )
    return worker


def _fitting(resources: dict[str, float], worker: Worker) -> int:
    by_cpu = int(resources.get("CPU", 0) // worker.cpus)
    return min(by_cpu, int(resources.get("GPU", 0) // worker.gpus)) if worker.gpus else by_cpu
