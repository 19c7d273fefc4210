"""What the accelerator benchmark tells, and that its command runs on a machine without an accelerator."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import diagram_line, one_after_the_other, write
from tests.harness import ROOT


def rate(number: float, failed: str = "") -> dict:
    return {"rate": number, "compile_seconds": 1, "failed": failed}


def test_a_diagram_is_planned_from_the_best_plain_rate_in_float32() -> None:
    found = {
        "float32, tile 4": rate(1000),
        "float32, tile 16": rate(2500),
        "float32, tile 64": rate(float("nan"), "no memory"),
        "float32, tile 64, all forms of the CPU": rate(9000),
        "tf32, tile 64": rate(9000),
    }
    assert "2.8 h at 2,500 run-steps/s" in diagram_line(found)
    assert "no plan" in diagram_line({"tf32, tile 64": rate(9000)})


def test_sittings_on_other_versions_are_told() -> None:
    first = one_after_the_other({}, {"jax": "1", "flax": "2"})
    assert first == {"jax": "1", "flax": "2"}
    second = one_after_the_other(first, {"jax": "1", "flax": "3"})
    assert second == {"jax": "1", "flax": "2, then 3"}
    assert one_after_the_other(second, {"jax": "1", "flax": "3"}) == second


def test_the_table_has_a_row_for_each_kernel_of_a_profile(tmp_path: Path) -> None:
    profile = {"kernels": 93.0, "ms": 1.9, "ms in gemm": 1.15}
    write({"machine": {"jax": "1"}, "measured": {"a step": profile}}, tmp_path / "gpu.json")
    lines = (tmp_path / "gpu.md").read_text().splitlines()
    assert "| a step | kernels 93, ms 1.9 | |" in lines
    assert "| a step: ms in gemm | 1.15 | |" in lines


@pytest.mark.soak
def test_the_small_benchmark_measures_what_it_is_asked_for(tmp_path: Path) -> None:
    words = ["--small", "--only", "^float32, tile 1$|profile, tile 1$|eigvalsh|advance returns"]
    command = [sys.executable, "-m", "benchmarks.gpu", *words, "--out", str(tmp_path / "gpu.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    measured = json.loads((tmp_path / "gpu.json").read_text())["measured"]
    assert len(measured) == 4 and measured["float32, tile 1"]["rate"] > 0
    assert measured["a step in a profile, tile 1"]["ms"] > 0
