"""Whether the probes of a run fit together, from the traced evaluation: nothing is compiled or run."""

from __future__ import annotations

import jax

from grokjax.experiment.grid import Group
from grokjax.probes import DEFAULT_PROBES, measure
from grokjax.training import one_run, passes, runstate


def check_values(groups: list[Group]) -> None:
    """Raises SettingError if a probe returns something that cannot be recorded, or a name that another one has.

    One group of each kind of model and task is traced, none if all have the default probes.
    """
    unlike = {
        (g.first.settings.probes, g.first.settings.model.kind, g.first.settings.task.kind): g
        for g in reversed(groups)
        if g.first.settings.probes != DEFAULT_PROBES
    }
    for group in unlike.values():
        setup = runstate.make_setup(group)
        jax.eval_shape(lambda setup=setup: _measured(setup))


def _measured(setup: runstate.Setup) -> dict[str, jax.Array]:
    data, hyper = runstate.make_data(setup), runstate.example_hyper(setup)
    state = one_run.init_run(setup, data, hyper)
    with passes.precision(setup):
        return measure(setup.settings.probes, one_run.make_view(setup, data, hyper, state))
