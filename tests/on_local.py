"""The command line with --on, on processes of this machine in place of Ray: python -m tests.on_local WORKERS CONFIG ...

A scheduler behind the same interface, so that what the coordinator does is tested where Ray is not installed.
"""

from __future__ import annotations

import concurrent.futures
import sys
from pathlib import Path

from jax._src.xla_bridge import backends_are_initialized

from grokjax import signals
from grokjax.cluster import session
from grokjax.cluster.process import Outcome, Task, run_process
from grokjax.cluster.schedulers import Worker


class LocalScheduler:
    """So many workers of one core each."""

    worker = Worker(0, 1)

    def __init__(self, workers: int):
        self._workers = workers
        self._pool = concurrent.futures.ThreadPoolExecutor(workers)
        self._begun: dict[concurrent.futures.Future[Outcome], str] = {}

    def check_shared(self, path: Path) -> None:
        """There is one machine."""

    def submit(self, tasks: list[Task]) -> None:
        for task in tasks:
            self._begun[self._pool.submit(run_process, task)] = task.name

    def ended(self) -> list[Outcome]:
        done = [future for future in self._begun if future.done()]
        for future in done:
            del self._begun[future]
        return [future.result() for future in done]

    def forget(self, name: str) -> None:
        self._begun = {f: n for f, n in self._begun.items() if n != name}

    def most_workers(self) -> int:
        return self._workers

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def main(words: list[str]) -> int:
    workers = int(words[0])
    session.open_scheduler = lambda *_: LocalScheduler(workers)
    from grokjax.cli.commands import main as run

    code = run([*words[1:], "--on", "local"])
    # A process that has started JAX holds the memory of a GPU that its worker needs.
    assert not backends_are_initialized()
    return code


if __name__ == "__main__":
    signals.watch()
    sys.exit(main(sys.argv[1:]))
