"""What is known about a machine before anything runs on it."""

from __future__ import annotations

import logging

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
