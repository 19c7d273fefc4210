"""Measurements on the weights that a results directory holds: `python run.py --measure results/x`.

The second place that lifts over runs: a program is compiled for a group and a measurement, and takes a few sets of
weights at a time, one after the other. Which rows train is drawn again from each run's own seed.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from grokjax.engine import devices
from grokjax.experiment.config import Experiment
from grokjax.experiment.grid import Group, make_groups, make_runs
from grokjax.experiment.loading import experiment_from
from grokjax.experiment.measurement_checks import check_kinds
from grokjax.experiment.parsing import Unreadable, parse_yaml
from grokjax.experiment.places import ConfigError, Places
from grokjax.experiment.run_columns import columns
from grokjax.keys import Purpose, key_for
from grokjax.measurements import MEASUREMENTS
from grokjax.measurements.saved import Saved
from grokjax.models import Params, tensor_names
from grokjax.models.forms import by_platform, using
from grokjax.quoting import counted, cut
from grokjax.results.directory import as_data, check_is_results, read_experiment
from grokjax.results.experiment_file import NAME
from grokjax.results.locks import hold
from grokjax.results.measured_store import Variable, write_measured
from grokjax.results.saved_weights import Shelf, Wanted, check_steps, shelves_of, wanted_of
from grokjax.results.sealed import Damaged
from grokjax.splits import row_weights
from grokjax.training import one_run, passes, runstate
from grokjax.training.runstate import Data, Hyper, Setup

log = logging.getLogger("grokjax")

BATCH = 8
"""Largest number of sets of weights in one call of a compiled program."""


def measure_directory(path: Path, words: list[str] | None = None) -> list[Path]:
    """All measurements of the experiment in a results directory. Returns the stores written. Raises ConfigError."""
    experiment, places = _open(path, words or [])
    groups = make_groups(make_runs(experiment, places))
    check_kinds(experiment, groups, places)
    devices.set_up(1)
    with hold(path), _plain_damage():
        shelves = {group.hash: shelves_of(group, path) for group in groups}
        every = [shelf for group in shelves.values() for shelf in group]
        if not any(shelf.steps for shelf in every):
            raise ConfigError(
                f"{path}: none of its {len(every)} runs has saved weights yet; "
                "train it first, with the command that created it"
            )
        for i, measurement in enumerate(experiment.measurements):
            check_steps(measurement, every, places, ("measurements", str(i), "at"))
        return [
            file
            for measurement in experiment.measurements
            for file in _measure(measurement, groups, shelves, path)
        ]


@contextlib.contextmanager
def _plain_damage() -> Iterator[None]:
    try:
        yield
    except Damaged as error:
        raise ConfigError(
            f"{error}; restore it from a copy, or delete it and train again"
        ) from None


# -- what is asked for ---------------------------------------------------------------------------------------------


def _open(path: Path, words: list[str]) -> tuple[Experiment, Places]:
    check_is_results(path)
    file = path / NAME
    data, places = as_data(read_experiment(path)), Places(str(file))
    for word in words:
        data["measurements"] = _measurements(word)
        places.overrides[("measurements",)] = word
    experiment = experiment_from(data, places)
    if not experiment.measurements:
        raise places.error(
            ("measurements",),
            "is empty, so there is nothing to measure; add some, for example 'measurements=[{kind: pruning}]'",
        )
    return experiment, places


def _measurements(word: str) -> Any:
    """The value of `measurements`, the only setting that can be changed for trained runs."""
    name, equals, text = word.partition("=")
    if name != "measurements" or not equals:
        raise ConfigError(
            f"override {cut(word)}: only measurements can be changed for trained runs; "
            "write 'measurements=[{kind: pruning}]'"
        )
    try:
        return parse_yaml(text)
    except Unreadable as error:
        raise ConfigError(f"override {cut(word)}: measurements: {error}") from None


# -- measuring -----------------------------------------------------------------------------------------------------


def _measure(
    measurement: Any, groups: list[Group], shelves: dict[str, list[Shelf]], path: Path
) -> Iterator[Path]:
    wanted = {group.hash: wanted_of(measurement, shelves[group.hash]) for group in groups}
    sets = sum(len(steps) for w in wanted.values() for _, steps in w)
    left = sum(len(g.runs) - len(wanted[g.hash]) for g in groups)
    runs = "1 run was" if left == 1 else f"{left} runs were"
    without = f"; {runs} left out because these weights were not saved" if left else ""
    log.info(
        f"{measurement.kind}: {sets} saved weights of {counted(len(groups), 'group')}{without}"
    )
    for group in groups:
        if wanted[group.hash]:
            file = path / "groups" / group.hash / "measured" / f"{measurement.kind}.safetensors"
            _measure_group(measurement, group, wanted[group.hash], file)
            yield file


def _measure_group(measurement: Any, group: Group, wanted: Wanted, file: Path) -> None:
    setup = runstate.make_setup(group)
    kind = MEASUREMENTS[measurement.kind]
    places = [(i, j) for i, (_, steps) in enumerate(wanted) for j in range(len(steps))]
    width = max(len(steps) for _, steps in wanted)
    arrays: dict[str, np.ndarray] = {}
    for place, measured in zip(places, _each(measurement, setup, wanted), strict=True):
        for name, value in kind.finish(measurement, measured).items():
            value = np.asarray(value, np.float64 if value.dtype == np.float64 else np.float32)
            if name not in arrays:
                arrays[name] = np.full((len(wanted), width, *value.shape), np.nan, value.dtype)
            arrays[name][place] = value
    outer = ("run", "snapshot")
    variables = {n: Variable((*outer, *measurement.dims[n]), x) for n, x in arrays.items()}
    labels = kind.labels(measurement, setup.model)
    coordinates = _coordinates(group, wanted, width) | {
        n: Variable((n,), [*v]) for n, v in labels.items()
    }
    write_measured(file, variables, coordinates, _attributes(measurement, group))


def _coordinates(group: Group, wanted: Wanted, width: int) -> dict[str, Variable]:
    step = np.full((len(wanted), width), np.nan)
    for i, (_, steps) in enumerate(wanted):
        step[i, : len(steps)] = steps
    ids = [shelf.run.id for shelf, _ in wanted]
    status = [s.store.progress(s.run.id).status for s, _ in wanted if s.store is not None]
    own = columns([shelf.run for shelf, _ in wanted])
    of_runs = {"id": ids, "group": [group.hash] * len(ids), "status": status, **own}
    named = {name: Variable(("run",), values) for name, values in of_runs.items()}
    return named | {
        "step": Variable(("run", "snapshot"), step),
        "snapshot": Variable(("snapshot",), np.arange(width)),
    }


def _attributes(measurement: Any, group: Group) -> dict[str, Any]:
    return {
        "kind": measurement.kind,
        "group": group.hash,
        "settings": json.dumps(measurement.model_dump(mode="json")),
        "meaning": " ".join((type(measurement).__doc__ or "").split()),
    }


def _each(measurement: Any, setup: Setup, wanted: Wanted) -> Iterator[dict[str, np.ndarray]]:
    """What was measured on each of the wanted sets of weights, in order."""
    sets = [(shelf, step) for shelf, steps in wanted for step in steps]
    data, program = runstate.make_data(setup), make_program(measurement, setup)
    # All calls have the same width, so that there is one program, and little is computed twice.
    calls = -(-len(sets) // BATCH)
    width = -(-len(sets) // calls)
    for first in range(0, len(sets), width):
        part = sets[first : first + width]
        full = [*part, *[part[-1]] * (width - len(part))]
        batch = [_inputs(measurement, setup, shelf, step) for shelf, step in full]
        measured = program(data, jax.tree.map(lambda *x: np.stack(x), *batch))
        arrays = {name: np.asarray(value) for name, value in measured.items()}
        yield from ({n: x[i] for n, x in arrays.items()} for i in range(len(part)))


def _inputs(
    measurement: Any, setup: Setup, shelf: Shelf, step: int
) -> tuple[Hyper, Params, Params | None]:
    """A run's numbers, weights of a step, and those of the run's end where they are needed."""
    shapes = jax.eval_shape(setup.model.init, jax.random.key(0))

    def tree(step: int) -> Params:
        tensors = shelf.tensors(step)
        return jax.tree.unflatten(
            jax.tree.structure(shapes), [tensors[n] for n in tensor_names(shapes)]
        )

    final = (
        tree(shelf.final) if "final" in measurement.requires and shelf.final is not None else None
    )
    return runstate.make_hyper(shelf.run), tree(step), final


Program = Callable[[Data, tuple[Hyper, Params, Params | None]], dict[str, jax.Array]]


def make_program(measurement: Any, setup: Setup) -> Program:
    """From a group's data and stacked (hyper, weights, final weights or None) to stacked findings."""
    measure = MEASUREMENTS[measurement.kind].measure

    def one(data: Data, inputs: tuple[Hyper, Params, Params | None]) -> dict[str, jax.Array]:
        with jax.default_matmul_precision("float32"), using(by_platform(jax.default_backend())):
            return measure(measurement, saved(setup, data, *inputs))

    return jax.jit(lambda data, batch: jax.lax.map(lambda inputs: one(data, inputs), batch))


def saved(setup: Setup, data: Data, hyper: Hyper, params: Params, final: Params | None) -> Saved:
    """One set of weights with all data of its run. What a measurement does not use is not computed."""
    state = one_run.init_run(setup, data, hyper).replace(params=params)  # type: ignore[attr-defined]
    own = passes.data_of(setup, data, hyper, state.age)
    table, scale = setup.model.table, hyper.model["readout_scale"]
    return Saved(
        view=one_run.make_view(setup, data, hyper, state),
        final=final,
        inputs=own.table_input if table.drawn else jnp.asarray(setup.model.token_table.tokens_NT),
        scale=scale,
        real_B=row_weights(hyper.n_train, setup.bucket) > 0,
        # Another purpose than those of training (0 to 5).
        key=key_for(Purpose.MEASUREMENT, hyper.seeds["split_seed"]),
        logits=lambda p, index_N: passes.row_logits(setup, own, p, index_N) * scale,
    )
