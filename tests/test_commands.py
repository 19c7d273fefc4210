"""Every command that the README and --help offer, on every kind of configuration."""

from __future__ import annotations

import csv
import itertools
import shlex
from pathlib import Path

import pytest
import xarray as xr

import analysis
from analysis.__main__ import main as analyse
from analysis.figures import FIGURES
from grokjax.cli.commands import main
from grokjax.experiment.grid import make_runs
from grokjax.experiment.loading import load_experiment
from grokjax.results.directory import read_experiment, write_experiment
from tests.harness import ROOT
from tests.toys import CONFIGS, ONE_OF_EACH, end_values, first_values, measurements, toy

NAMES = [str(c.relative_to(ROOT / "configs").with_suffix("")) for c in CONFIGS]


# Of those that differ little the short suite has one; the soak has all.
FAMILIES = [("source_000/", "source_001/power_"), ("source_003/",)]
ALIKE = [n for family in FAMILIES for n in [n for n in NAMES if n.startswith(family)][1:]]
SOME = [
    pytest.param(c, id=n, marks=[pytest.mark.soak] if n in ALIKE else [])
    for c, n in zip(CONFIGS, NAMES, strict=True)
]


def is_planned(config: Path, out: Path, words: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main([str(config), "--plan", "--out", str(out), *words]) == 0
    told = capsys.readouterr().out
    assert "parameters" in told and "evaluations:" in told and "time: about" in told
    assert not out.exists()


@pytest.mark.parametrize(
    "config", [pytest.param(c, id=n) for c, n in zip(CONFIGS, NAMES, strict=True) if n not in ALIKE]
)
def test_one_point_of_a_configuration_is_planned(config: Path, tmp_path, capsys) -> None:
    is_planned(config, tmp_path / "out", first_values(config), capsys)


@pytest.mark.soak
@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_every_configuration_is_planned(config: Path, tmp_path, capsys) -> None:
    """With both ends of each axis; fifty groups would take a minute, and one point is planned above."""
    is_planned(config, tmp_path / "out", end_values(config), capsys)


def laptop_words(config: Path) -> list[str]:
    """The settings that the header's 'On a laptop:' gives, also on the indented lines after it."""
    lines = iter(config.read_text().splitlines())
    first = next((line for line in lines if line.startswith("# On a laptop: ")), "")
    more = itertools.takewhile(lambda line: line.startswith("#   "), lines)
    return shlex.split(" ".join([first.removeprefix("# On a laptop: "), *(x[1:] for x in more)]))


def test_the_settings_for_a_laptop_are_those_of_some_runs() -> None:
    smaller = {config.stem: words for config in CONFIGS if (words := laptop_words(config))}
    assert {
        "power_operations",
        "power_s5",
        "power_optimizers",
        "power_division",
        "power_addition",
    } <= set(smaller)
    for config in CONFIGS:
        if config.stem in smaller:
            whole, small = load_experiment(config), load_experiment(config, smaller[config.stem])
            n = len(make_runs(small))
            assert n > 0 and (n < len(make_runs(whole)) or small.train != whole.train)


@pytest.mark.parametrize("config", SOME)
def test_a_results_directory_has_the_runs_of_every_configuration(
    config: Path, tmp_path, monkeypatch
) -> None:
    experiment = load_experiment(config)
    write_experiment(experiment, tmp_path)
    told, runs = (
        [(run.id, run.group, run.budget) for run in make_runs(e)]
        for e in (read_experiment(tmp_path), experiment)
    )
    assert told == runs


def whole(runs: xr.Dataset, evaluations: int) -> bool:
    """Whether every run had its evaluations, or diverged before."""
    done = (runs["evaluations_done"] == evaluations) | (runs["status"] == "diverged")
    return bool(done.all() and (runs["evaluations_done"] == evaluations).any())


def goes_through_all_commands(
    config: Path, out: Path, points: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plan, train, resume with nothing to do, continue with a larger budget, grow, measure, draw again, verify."""

    def command(seeds: int, evaluations: int, *words: str) -> int:
        return main(
            [str(config), "--out", str(out), *toy(config, points, seeds, evaluations), *words]
        )

    assert command(1, 2, "--plan") == 0 and not out.exists()
    assert command(1, 2, "--no-figures") == 0
    first = analysis.load(out)
    assert whole(first, 3) and not (out / "figures").exists()
    assert command(1, 2) == 0  # nothing to train, but to draw
    assert list((out / "figures").glob("*.png"))
    if points > 1:  # else both at once: a larger budget and more runs
        assert command(1, 4, "--no-figures") == 0
        assert whole(analysis.load(out), 5)
    assert command(2, 4, "--no-figures") == 0
    grown = analysis.load(out)
    assert whole(grown, 5)
    assert grown.sizes["run"] == 2 * first.sizes["run"]
    assert set(first["id"].values) < set(grown["id"].values)
    assert main(["--measure", str(out), *measurements(config)]) == 0
    assert list(out.glob("groups/*/measured/*.safetensors"))
    monkeypatch.setattr(
        "analysis.draw.FIGURES", {"curves": FIGURES["curves"]}
    )  # all were drawn above
    assert analyse([str(out)]) == 0
    assert main(["--verify", str(out)]) == 0
    with (out / "runs.csv").open() as file:
        assert len(list(csv.DictReader(file))) == grown.sizes["run"]


# An intervention is one more setting of a transformer or an MLP: the short suite has tests of its own for it.
@pytest.mark.parametrize("kind", [k for k in ONE_OF_EACH if k != "intervention"])
def test_all_commands_work_on_one_configuration_of_each_kind(kind, tmp_path, monkeypatch) -> None:
    goes_through_all_commands(
        ROOT / "configs" / f"{ONE_OF_EACH[kind]}.yaml", tmp_path / "out", 1, monkeypatch
    )


@pytest.mark.soak
@pytest.mark.parametrize("kind", ONE_OF_EACH)
def test_all_commands_work_on_two_points_of_each_kind(kind, tmp_path, monkeypatch) -> None:
    config = ROOT / "configs" / f"{ONE_OF_EACH[kind]}.yaml"
    goes_through_all_commands(config, tmp_path / "out", 2, monkeypatch)


def kinds_of(config: Path) -> tuple[object, ...]:
    """What decides which code trains, measures and draws it; two that are equal here differ in numbers and axes."""
    e = load_experiment(config)
    told = [e.task, e.split, e.optimizer, e.train.loss, e.train.subtract_initial, e.intervention]
    asked = ("kind", "ln", "positions", "tied", "double_residual")
    return (
        *(getattr(each, "kind", each) for each in told),
        isinstance(e.train.batch_size, int),
        isinstance(getattr(e.task, "n_train", None), int),
        *(getattr(e.model, name, None) for name in asked),
        *(bool(getattr(e.model, name, None)) for name in ("d_mlp", "dropout")),
        *(tuple(sorted(x.kind for x in many)) for many in (e.probes, e.measurements)),
    )


FIRST_OF_A_KIND = list({kinds_of(c): c for c in reversed(CONFIGS)}.values())[::-1]


@pytest.mark.soak
@pytest.mark.parametrize(
    "config",
    [pytest.param(c, id=n) for c, n in zip(CONFIGS, NAMES, strict=True) if c in FIRST_OF_A_KIND],
)
def test_configurations_are_trained_measured_and_drawn(config: Path, tmp_path) -> None:
    """Going on and growing depend on the kind, and are tried above. All others are planned, above, too."""
    # The first point of eps0, eps exactly 0, diverges at once in every run.
    points = 2 if config.stem == "eps0" else 1
    out = tmp_path / "out"
    assert main([str(config), "--out", str(out), *toy(config, points, 2, 2), "--no-figures"]) == 0
    runs = analysis.load(out)
    assert whole(runs, 3) and len(set(runs["seed"].values)) == 2
    assert main(["--measure", str(out), *measurements(config)]) == 0
    assert list(out.glob("groups/*/measured/*.safetensors"))
    assert analyse([str(out)]) == 0
    assert list((out / "figures").glob("*.png"))
    assert main(["--verify", str(out)]) == 0
