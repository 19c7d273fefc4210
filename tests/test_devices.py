"""What is known about a machine before anything runs on it."""

from __future__ import annotations

import logging

import jax
import pytest

from grokjax.driver import session
from grokjax.engine import devices
from grokjax.experiment.loading import load_experiment
from grokjax.results import provenance
from tests.harness import write_grid


@pytest.mark.parametrize(
    ("platform", "jaxlib", "issues"),
    [
        ("gpu", "0.10.2", ["38806"]),
        ("gpu", "0.11.0", ["38806"]),
        ("gpu", "0.10.1", []),
        ("gpu", "0.11.1", []),
        ("cpu", "0.10.2", ["39103", "39352"]),
        ("cpu", "0.11.0", []),
        ("tpu", "0.10.2", []),
    ],
)
def test_a_release_with_a_known_fault_is_told(platform, jaxlib, issues):
    told = devices.known_fault(platform, jaxlib)
    assert (told is not None) == bool(issues)
    if told is not None:
        assert jaxlib in told and all(f"/issues/{number}" in told for number in issues)
        assert "\n" not in told


@pytest.mark.parametrize(("jaxlib", "lines"), [("0.10.2", 1), ("0.10.1", 0)])
def test_it_is_told_once_at_the_start(jaxlib, lines, tmp_path, monkeypatch, caplog):
    experiment = load_experiment(
        write_grid(tmp_path / "a.yaml"), [f"execution.out={tmp_path / 'out'}"]
    )
    monkeypatch.setattr(provenance, "versions", lambda: {"jaxlib": jaxlib})
    with caplog.at_level(logging.WARNING, "grokjax"):
        session.prepare(experiment)
    assert sum("39103" in line for line in caplog.messages) == lines


@pytest.mark.parametrize(
    ("platform", "step_flops", "runs", "tile"),
    [
        ("cpu", 4e9, 100, 1),
        (
            "gpu",
            4.2e9,
            1000,
            125,
        ),  # workload A: in 128 runs a tenth of a step's time is the fixed one; 8 tiles hold 1,000
        ("gpu", 4.2e9, 16, 16),  # no wider than the runs there are
        ("gpu", 1.5e8, 20, 20),
        ("gpu", 4.2e9, 130, 65),
        ("gpu", 1e6, 512 * 200, 512),
        ("gpu", 1e6, 10**5, 511),
        ("gpu", 1e12, 10**5, 16),
        ("gpu", 1e12, 1, 1),
    ],
)
def test_a_tile_on_an_accelerator_is_as_wide_as_pays(platform, step_flops, runs, tile):
    assert devices.default_tile(platform, step_flops, runs) == tile


def test_only_a_gpu_has_options_of_the_compiler():
    assert devices.compiler_options("cpu") == {} == devices.compiler_options("tpu")
    options = devices.compiler_options("gpu")
    answer = jax.jit(lambda x: x + 1, compiler_options=options)(
        1
    )  # it refuses names that it does not know
    assert int(answer) == 2
