"""What `--plan` says is counted right, and costs nothing."""

from __future__ import annotations

import dataclasses
import re

import jax
import numpy as np
import pytest

from grokjax.cli import estimate, probe_cost
from grokjax.engine.devices import make_mesh
from grokjax.experiment.grid import make_groups, make_runs
from grokjax.experiment.loading import load_experiment
from grokjax.models import MODELS
from grokjax.splits import row_weights
from grokjax.training import costs, one_run, passes, runstate
from tests.harness import write_grid

NANDA = ["task.p=113", "split.train_fraction=0.3", "model={kind: transformer}"]


def first_run(tmp_path, *overrides):
    config = write_grid(tmp_path / "small.yaml")
    (group,) = make_groups(make_runs(load_experiment(config, list(overrides))))
    return group


def test_rows_of_a_step_are_the_distinct_ones(tmp_path):
    cost = costs.cost(first_run(tmp_path, *NANDA).first)
    bucket = 3840  # four binary digits above 3,830
    assert first_run(tmp_path, *NANDA).first.bucket == bucket
    assert cost.rows == [113 + 113 + 1, bucket]
    assert cost.naive_rows == [3 * bucket] * 2
    assert cost.parameters == 226_816


@pytest.mark.soak
@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(["task.p=31", "model.d_model=64", "model.d_mlp=256"], marks=pytest.mark.soak),
        pytest.param(
            ["task.p=31", "model.d_model=64", "model.d_mlp=256", "model.n_layers=2"],
            marks=pytest.mark.soak,
        ),
        pytest.param(["task.p=31", "model={kind: mlp}"], marks=pytest.mark.soak),
        ["task.p=31", "model={kind: quadratic, d_mlp: 200}"],
        ["task={kind: sparse_parity}", "split={kind: drawn}", "model={kind: perceptron}"],
    ],
)
def test_counted_operations_are_those_of_the_compiled_gradient(tmp_path, overrides):
    group = first_run(tmp_path, *overrides)
    setup = runstate.make_setup(group)
    data, hyper = (
        runstate.make_data(setup),
        jax.tree.map(jax.numpy.asarray, runstate.make_hyper(group.first)),
    )
    data = passes.data_of(setup, data, hyper, 0)
    state = one_run.init_run(setup, data, hyper)
    weights = row_weights(hyper.n_train, setup.bucket)

    def gradient(params):
        labels = state.rows.labels_NA[state.rows.index_B]
        batch = passes.Batch(state.rows.index_B, weights / weights.sum(), labels)
        return passes.loss_and_gradient(setup, data, hyper, params, batch)[1]

    compiled = jax.jit(gradient).lower(state.params).compile()
    actual = compiled.cost_analysis()["flops"]
    counted = costs.cost(group.first).step_flops
    assert actual / 1.6 < counted < actual * 1.6


def test_time_counts_steps_evaluations_and_compilation(tmp_path):
    group = first_run(tmp_path)
    cost = costs.cost(group.first)
    machine = costs.Machine(flops_per_second=1e9, seconds_per_step=1e-3, seconds_per_program=5.0)
    steps, evaluations = 9 * 80, 9 * 21
    by_hand = (
        5 + (steps * cost.step_flops + evaluations * cost.evaluation_flops) / 1e9 + steps / 1e3
    )
    assert costs.seconds(group, cost, machine) == pytest.approx(by_hand)


def test_the_machine_is_measured():
    machine = estimate.measure_machine(make_mesh(1))
    assert 1e8 < machine.flops_per_second < 1e15
    assert np.isfinite(machine.seconds_per_program)


def test_the_text_says_what_a_user_needs_and_writes_nothing(tmp_path):
    config, out = write_grid(tmp_path / "small.yaml"), tmp_path / "out"
    text = estimate.plan_text(
        load_experiment(config, [f"execution.out={out}", "axes.task.p=[5, 7]"])
    )
    for part in ("18 runs in 2 groups", "parameters", "rows per step", "slots of", "time: about"):
        assert part in text
    assert not out.exists()


def test_one_run_is_one_run_in_one_group(tmp_path):
    config = write_grid(tmp_path / "small.yaml")
    text = estimate.plan_text(load_experiment(config, ["axes={seed: [0]}", "execution.devices=1"]))
    assert "small: 1 run in 1 group, " in text and ": 1 run of transformer" in text
    assert " runs" not in text.replace("other runs", "") and "groups" not in text


def test_rows_are_compared_with_a_naive_program_only_where_something_is_shared(
    tmp_path, monkeypatch
):
    config = write_grid(tmp_path / "small.yaml")
    words = ["axes={seed: [0]}", "execution.devices=1", "model={kind: mlp, d_model: 4}"]
    shares = estimate.plan_text(load_experiment(config, words))
    assert re.search(r"rows per step [-> 0-9]+ \(naive \d+\); ", shares)
    alone = dataclasses.replace(
        MODELS["mlp"], shared=None, count=None, offers=lambda s: frozenset()
    )
    monkeypatch.setitem(MODELS, "mlp", alone)
    assert re.search(r"rows per step \d+; ", estimate.plan_text(load_experiment(config, words)))


@pytest.mark.parametrize(
    ("seconds", "told"), [(5, "5 s"), (100, "2 min"), (7200, "2.0 h"), (float("inf"), "unknown")]
)
def test_durations_in_words(seconds, told):
    assert costs.in_words(float(seconds)) == told


def test_probes_are_priced(tmp_path):
    dear = "probes=[{kind: norms}, {kind: shortcut, every: 2}, {kind: shortcut, every: 4}]"
    group = first_run(tmp_path, "model.ln=pre", dear)
    cost = costs.cost(group.first)
    norms, often, seldom = probe_cost.probe_costs(group, cost.step_flops)
    assert often.flops == seldom.flops > 10 * norms.flops
    # Two forward passes over the table, in operations that the plan counts too.
    assert 1.5 < often.flops / cost.evaluation_flops < 4
    np.testing.assert_allclose(often.share, 2 * seldom.share)
    np.testing.assert_allclose(often.share, often.flops / (4 * 2 * cost.step_flops))
    assert "shortcut" in probe_cost.probes_line(group, cost)


def test_the_cost_of_every_probe_is_told(tmp_path):
    group = first_run(
        tmp_path, "probes=[{kind: norms, every: 8}, {kind: shortcut}, {kind: sparsity}]"
    )
    line = probe_cost.probes_line(group, costs.cost(group.first))
    assert line.endswith("; < 0.1% each: norms")
    assert 0 < line.index("shortcut") < line.index("sparsity") < line.index("; < 0.1%")
