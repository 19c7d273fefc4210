"""The benchmarks' own set-up: what they train is what grokjax accepts. Nothing is timed here."""

from __future__ import annotations

import pytest

from benchmarks.workloads import WORKLOADS


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_is_a_group_whose_budget_a_benchmark_never_spends(name):
    workload = WORKLOADS[name]
    group = workload.group(3)
    assert [run.settings.seed for run in group.runs] == [0, 1, 2]
    setup = workload.setup(group, "cpu")
    assert setup.cadence.unit % setup.batches == 0 and setup.cadence.unit >= workload.steps
    first = group.first
    assert first.cadence.step_of(first.budget - 1) >= 10**5
