"""A run is the same run wherever it sits: slots, neighbours, chunks, lags, devices."""

from __future__ import annotations

import re
from pathlib import Path

import jax
import numpy as np
import pytest

from grokjax.driver import session
from grokjax.engine import devices
from grokjax.engine.program import Program
from grokjax.experiment.grid import Group, make_groups, make_runs
from grokjax.experiment.loading import load_experiment, load_with_places
from grokjax.training import costs, runstate
from tests.harness import assert_same, results, write_grid


@pytest.fixture
def config(tmp_path):
    return write_grid(tmp_path / "small.yaml", devices=2)


@pytest.fixture
def group(config):
    (group,) = make_groups(make_runs(load_experiment(config)))
    return group


PARITY = [
    "task={kind: sparse_parity}",
    "split={kind: drawn}",
    "model={kind: perceptron}",
    "train.loss=hinge",
]


def make_program(group: Group, n_devices: int, slots: int, tile: int) -> Program:
    return Program(
        runstate.make_setup(group, costs.row_blocks(group.first, "cpu")),
        devices.make_mesh(n_devices),
        slots,
        tile,
    )


def stacked(program: Program, runs) -> runstate.Hyper:
    hypers = [runstate.make_hyper(run) for run in runs]
    return program.place(jax.tree.map(lambda *x: np.stack(x), *hypers))


def advance(program: Program, runs: dict[int, object], blocks: int, filler) -> tuple:
    """Put runs into slots (others stay empty), advance; (state, records) as NumPy."""
    in_slots = [runs.get(s, filler) for s in range(program.slots)]
    hyper, fresh = stacked(program, in_slots), np.array([s in runs for s in range(program.slots)])
    state = program.admit(program.empty(), hyper, fresh)
    live = np.full(program.mesh.devices.size, program.slots_per_device // program.tile)
    return jax.tree.map(np.asarray, program.advance(state, hyper, live, blocks))


def assert_slots_equal(left, right, pairs, rtol: float = 0.0) -> None:
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        for i, j in pairs:
            np.testing.assert_allclose(a[i], b[j], rtol=rtol, atol=rtol)


@pytest.mark.soak
def test_a_run_does_not_depend_on_its_slot_its_neighbours_or_the_number_of_slots(group):
    runs = group.runs
    few, many = make_program(group, 2, 4, 2), make_program(group, 2, 12, 2)
    alone = advance(few, {0: runs[0]}, 6, runs[8])
    crowd = advance(few, {3: runs[0], 2: runs[1], 0: runs[5], 1: runs[7]}, 6, runs[8])
    wide = advance(many, {5: runs[0], **{s: runs[s % 8 + 1] for s in (0, 1, 2, 4, 9)}}, 6, runs[8])
    assert alone[0].age[0] == 6 * 4
    assert_slots_equal(alone, crowd, [(0, 3)])
    assert_slots_equal(alone[0], wide[0], [(0, 5)])
    np.testing.assert_array_equal(alone[1].values[0], wide[1].values[5])


@pytest.mark.soak
def test_other_device_counts_and_tiles_agree_within_rounding_after_20_steps(group):
    runs = dict(enumerate(group.runs[:4]))
    one = advance(make_program(group, 1, 4, 2), runs, 5, group.runs[8])[0]
    four = advance(make_program(group, 4, 4, 1), runs, 5, group.runs[8])[0]
    assert one.age[0] == 20
    assert_slots_equal(one.params, four.params, [(i, i) for i in range(4)], rtol=2e-4)


@pytest.mark.soak
def test_advance_is_traced_once_for_every_load_and_chunk_length(group):
    program = make_program(group, 2, 8, 2)
    hyper = stacked(program, [group.runs[i % 9] for i in range(8)])
    state = program.admit(program.empty(), hyper, np.ones(8, bool))
    for live, blocks in (([2, 2], 1), ([1, 2], 7), ([0, 1], 64)):
        state, _ = program.advance(state, hyper, np.array(live), blocks)
    assert program.traces == 1


@pytest.mark.soak
def test_devices_never_talk_and_the_state_stays_split(group):
    program = make_program(group, 4, 8, 2)
    hyper = stacked(program, [group.runs[i % 9] for i in range(8)])
    state = program.admit(program.empty(), hyper, np.ones(8, bool))
    live = program.place(np.full(4, 1, np.int32))
    lowered = program._advance.lower(program.data, hyper, state, live, np.int32(1))
    text = lowered.compile().as_text()
    assert not re.findall(
        r"all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter", text
    )
    state, records = program.advance(state, hyper, np.full(4, 1), 1)
    for x in jax.tree.leaves((state, records)):
        assert x.sharding.is_equivalent_to(devices.over_runs(program.mesh), x.ndim)
        assert x.addressable_shards[0].data.shape[0] == 2


@pytest.mark.soak
def test_products_are_asked_for_in_float32(group):
    program = make_program(group, 1, 2, 2)
    hyper = stacked(program, group.runs[:2])
    text = program._advance.lower(
        program.data,
        hyper,
        program.abstract_state(),
        program.place(np.ones(1, np.int32)),
        np.int32(1),
    ).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert products
    assert all(line.count("HIGHEST") == 2 for line in products)


@pytest.mark.soak
def test_extract_and_insert_are_inverse(group):
    program = make_program(group, 2, 8, 2)
    hyper = stacked(program, [group.runs[i % 9] for i in range(8)])
    state = program.admit(program.empty(), hyper, np.ones(8, bool))
    before = jax.tree.map(np.asarray, state)
    slots = [6, 0, 3, 1]
    rows = {s: r.fetch() for s, r in zip(slots, program.extract(state, slots), strict=True)}
    for s, row in rows.items():
        assert_slots_equal(before, jax.tree.map(lambda x: x[None], row), [(s, 0)])
    moved = jax.tree.map(np.asarray, program.insert(program.empty(), {5: rows[6], 2: rows[0]}))
    assert_slots_equal(before, moved, [(6, 5), (0, 2)])
    assert (moved.status == [0, 0, 1, 0, 0, 1, 0, 0]).all()


@pytest.mark.soak
def test_a_diverged_run_leaves_its_neighbours_alone(group, config):
    wild = load_experiment(config, ["optimizer.learning_rate=1e20", "axes.seed=[0]"])
    burst = next(r for r in make_runs(wild))
    program = make_program(group, 1, 2, 2)
    calm = advance(program, {0: group.runs[0], 1: group.runs[1]}, 6, group.runs[8])
    beside = advance(program, {0: group.runs[0], 1: burst}, 6, group.runs[8])
    assert runstate.STATUS[beside[0].status[1]] == "diverged"
    assert 0 < beside[0].diverged_at[1] <= beside[0].age[1]
    assert_slots_equal(calm, beside, [(0, 0)])


P31 = ["task.p=31", "model.d_model=64", "model.d_mlp=256"]
IN_EPOCHS = ["train.steps={epochs: 20}", "train.eval_every={epochs: 1}"]
MEMORY = {
    "transformer": P31,
    "two layers": [*P31[:2], "model.d_mlp=128", "model.n_layers=2", "task.format=a op b ="],
    "batches": ["task.p=31", "train.batch_size=128", *IN_EPOCHS],
    "mlp": ["task.p=53", "model={kind: mlp}", "task.format=a op b ="],
    "quadratic": ["task.p=31", "model={kind: quadratic, d_mlp: 200}", "train.loss=mse"],
    "parity": PARITY,
    "parity in batches": [*PARITY, "train.batch_size=32", "train.steps={epochs: 2}", IN_EPOCHS[1]],
}


@pytest.mark.soak
@pytest.mark.parametrize(
    "kind",
    ["batches", *(pytest.param(k, marks=pytest.mark.soak) for k in MEMORY if k != "batches")],
)
def test_estimated_memory_is_within_a_factor_of_1_5_of_the_compiled_program(config, kind):
    overrides = MEMORY[kind]
    (group,) = make_groups(make_runs(load_experiment(config, overrides)))
    program = make_program(group, 1, 8, 2)
    hyper = stacked(program, group.runs[:8])
    live = program.place(np.ones(1, np.int32))
    compiled = program._advance.lower(
        program.data, hyper, program.abstract_state(), live, np.int32(1)
    ).compile()
    found = compiled.memory_analysis()
    actual = found.argument_size_in_bytes + found.temp_size_in_bytes
    estimate = costs.needed_bytes(costs.cost(group.first), 8, 2, 1)
    assert actual / 1.5 < estimate < actual * 1.5, (overrides, estimate / actual)


def run(config: Path, out: Path, *overrides: str) -> dict:
    experiment, places = load_with_places(config, [*overrides, f"execution.out={out}"])
    session.run_experiment(experiment, places=places, display=lambda tally: None)
    return results(out)


@pytest.mark.soak
@pytest.mark.parametrize("batch", ["full", pytest.param("15", marks=pytest.mark.soak)])
def test_chunk_length_lag_and_slots_change_no_bit(tmp_path, batch):
    kind = {"batch": batch, "every": 60}
    if batch != "full":  # two batches, the last one of 14 rows
        kind |= {"steps": 72}
    base = run(write_grid(tmp_path / "a.yaml", **kind, chunk=1), tmp_path / "a")
    assert {str(r["status"]) for r in base.values()} <= {"finished", "stopped"}
    for i, change in enumerate(
        ({"chunk": 3, "lag": 0}, {"chunk": 40, "lag": 1}, {"chunk": 7, "lag": 1, "seeds": 3})
    ):
        other = write_grid(tmp_path / f"{i}.yaml", **{**kind, **change})
        assert_same(base, run(other, tmp_path / str(i), f"execution.slots={4 + 4 * (i == 2)}"))


@pytest.mark.soak
def test_a_larger_budget_and_a_grown_grid_continue_bit_for_bit(tmp_path):
    config = write_grid(tmp_path / "a.yaml", every=60)
    whole = run(config, tmp_path / "whole", "train.steps=160", "axes.seed=[0, 1, 2, 3]")
    first = run(config, tmp_path / "grown", "train.steps=40", "axes.seed=[0, 1]")
    assert len(first) == 6
    assert "finished" in {str(r["status"]) for r in first.values()}
    grown = run(config, tmp_path / "grown", "train.steps=40", "axes.seed=[0, 1, 2, 3]")
    assert_same(first, {run_: grown[run_] for run_ in first})
    longer = run(config, tmp_path / "grown", "train.steps=160", "axes.seed=[0, 1, 2, 3]")
    assert_same(whole, longer)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("every", "lag", "chunk"),
    [
        (2, 1, 40),
        *(pytest.param(*x, marks=pytest.mark.soak) for x in [(1, 1, 40), (5, 0, 40), (5, 1, 1)]),
    ],
)
def test_snapshots_are_the_weights_that_a_budget_of_that_step_ends_with(
    tmp_path, every, lag, chunk
):
    settings = {"every": 60, "seeds": 1, "lag": lag, "chunk": chunk, "snapshots": every}
    config = write_grid(tmp_path / "a.yaml", **settings)
    whole = run(config, tmp_path / "whole", "train.stop=null")
    short = run(config, tmp_path / "short", "train.stop=null", "train.steps=40")
    for name, found in whole.items():
        steps = {int(key.split("@")[1]) for key in found if "@" in key}
        assert steps == set(range(0, 81, 4 * every))
        for tensor in ("W_E", "blocks.0.W_in", "blocks.0.b_out"):
            np.testing.assert_array_equal(found[f"{tensor}@40"], short[name][tensor])
            assert (found[f"{tensor}@40"] != found[f"{tensor}@0"]).any()


@pytest.mark.soak
def test_finished_runs_are_not_trained_again(tmp_path, monkeypatch):
    config = write_grid(tmp_path / "a.yaml", every=60, seeds=1)
    run(config, tmp_path / "out")
    monkeypatch.setattr(Program, "advance", lambda *a: pytest.fail("trained again"))
    run(config, tmp_path / "out")


@pytest.mark.soak
def test_out_of_memory_goes_on_with_half_the_slots(tmp_path, monkeypatch, caplog):
    config = write_grid(tmp_path / "a.yaml", every=0)
    expected = run(config, tmp_path / "whole")
    real, calls = Program.advance, []

    def fails_at_third(self, *args):
        calls.append(self.slots)
        if len(calls) == 3:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory (made up)")
        return real(self, *args)

    monkeypatch.setattr(Program, "advance", fails_at_third)
    again = run(config, tmp_path / "again", "execution.slots=8")
    assert_same(expected, again)
    assert calls[:3] == [8, 8, 8]
    assert calls[-1] == 4
    assert "continuing from the last checkpoint with 4" in caplog.text
