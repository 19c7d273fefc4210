"""Makes the program of a group for this machine. On accelerators it is compiled while the group before it trains."""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Iterator

from jax.sharding import Mesh

from grokjax.engine.capacity import choose_slots
from grokjax.engine.devices import platform
from grokjax.engine.program import Program
from grokjax.experiment.config import Execution
from grokjax.experiment.grid import Group
from grokjax.training import costs, runstate


def make_program(
    group: Group, execution: Execution, mesh: Mesh, fewer_slots: int | None = None
) -> Program:
    """The group's program with as many slots as the settings, the machine and the runs ask for."""
    tile, slots = choose_slots(group, execution, mesh)
    setup = runstate.make_setup(group, costs.row_blocks(group.first, platform(mesh)))
    return Program(setup, mesh, min(fewer_slots or slots, slots), tile)


class Ahead:
    """Makes programs, each while the one before it is used.

    On CPU nothing is compiled ahead, because compiling uses the cores that train (on two cores it took a quarter of the
    speed).
    """

    def __init__(self, execution: Execution, mesh: Mesh, enabled: bool):
        self.execution, self.mesh = execution, mesh
        self._pool = concurrent.futures.ThreadPoolExecutor(1) if enabled else None
        self._begun: dict[str, concurrent.futures.Future[Program]] = {}

    def begin(self, group: Group) -> None:
        """Start to compile the program of a group that `program` will be called for later."""
        if self._pool is not None:
            self._begun[group.hash] = self._pool.submit(self._compiled, group)

    def _compiled(self, group: Group) -> Program:
        program = make_program(group, self.execution, self.mesh)
        program.compile()
        return program

    def program(self, group: Group) -> Program:
        """The group's program. If `begin` was called for it, this waits until it is compiled."""
        begun = self._begun.pop(group.hash, None)
        return make_program(group, self.execution, self.mesh) if begun is None else begun.result()

    def close(self, wait: bool = True) -> None:
        """Cancel programs that are not started, and wait for one that is, because a thread that compiles at exit would
        abort the process."""
        if self._pool is not None:
            self._pool.shutdown(wait=wait, cancel_futures=True)


@contextlib.contextmanager
def compiling_ahead(
    execution: Execution, mesh: Mesh, enabled: bool | None = None
) -> Iterator[Ahead]:
    """An `Ahead` that is always closed at the end. enabled None: the platform decides."""
    ahead = Ahead(execution, mesh, platform(mesh) != "cpu" if enabled is None else enabled)
    try:
        yield ahead
    except BaseException:
        # The program is no longer needed, and the process should end soon. A command ends without waiting for its
        # threads (`signals.end`); elsewhere Python waits for this thread at the end of the process.
        ahead.close(wait=False)
        raise
    ahead.close()
