"""From a directory on disk to dataset, table and figures, whatever state the training is in."""

import csv
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import analysis
from analysis.__main__ import main
from analysis.cells import axes_of, cells_of
from analysis.figures import FIGURES
from analysis.figures.curves import aligned, representative_cells
from analysis.figures.style import short
from analysis.histories import Histories
from analysis.study import Definitions, make_study
from analysis.table import table_columns, write_cells, write_parquet, write_table
from tests.synthetic import (
    BUDGET,
    EVAL_EVERY,
    Row,
    planned_time,
    run_id,
    run_values,
    stopped_row,
    write_results,
    write_settings,
    write_store,
)

FRACTIONS = [0.3, 0.5, 0.8]
AXES = {"split.train_fraction": FRACTIONS, "model.n_layers": [1, 2], "seed": range(4)}
STEMS = {
    *("curves", "probes"),
    *(f"{kind}_{axis}" for kind in ("time", "best") for axis in list(AXES)[:2]),
    *(f"{kind}_split.train_fraction_model.n_layers" for kind in ("median_time", "phases")),
}


def disturbed_row(point):
    """Seed 0 diverges and seed 1 is still training, at the largest fraction."""
    row = stopped_row(point)
    if point["split.train_fraction"] < 0.8 or point["seed"] > 1:
        return row
    return Row(point, row.value[:3], "diverged" if point["seed"] == 0 else "running")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("results") / "demo", AXES, disturbed_row)


def small_store(
    path, points, n_eval=4, probes=("train_accuracy", "val_accuracy"), level=0.0, **attrs
):
    rows = [
        Row(point, np.full((n_eval, len(probes)), level, np.float32), "finished")
        for point in points
    ]
    write_store(path, rows, np.arange(n_eval) * 10, probes, **attrs)


def test_every_run_comes_back_with_its_curve(results):
    dataset = analysis.load(results)
    assert dataset.sizes["run"] == 24 and dataset.attrs["budget"] == BUDGET
    for run in range(24):
        one = dataset.isel(run=run)
        point = {name: one[name].item() for name in AXES}
        expected = disturbed_row(point)
        done = len(expected.value)
        assert (one["id"].item(), one["status"].item()) == (run_id(point), expected.status)
        np.testing.assert_array_equal(one["value"].to_numpy()[:done], expected.value)
        assert np.isnan(one["value"].to_numpy()[done:]).all()


def test_groups_with_other_steps_probes_and_coordinates_are_padded(tmp_path):
    write_settings(tmp_path, {"task.p": [5, 7]}, budget=40)
    groups = tmp_path / "groups"
    small_store(groups / "a", [{"task.p": 5, "optimizer.beta2": 0.98}], 4)
    write_store(
        groups / "b",
        [Row({"task.p": 7, "model.kind": "mlp"}, np.ones((2, 3), np.float32), "finished")],
        np.array([0, 25]),
        ("val_accuracy", "train_accuracy", "param_norm/embed.W_E"),
    )
    dataset = analysis.load(tmp_path)
    np.testing.assert_array_equal(dataset["step"], [[0, 10, 20, 30], [0, 25, np.nan, np.nan]])
    assert dataset["probe"].to_numpy().tolist() == [
        "train_accuracy",
        "val_accuracy",
        "param_norm/embed.W_E",
    ]
    assert np.isnan(dataset["value"].sel(probe="param_norm/embed.W_E")[0]).all()
    assert dataset["value"].sel(probe="val_accuracy")[1, 1] == 1
    np.testing.assert_array_equal(dataset["optimizer.beta2"], [0.98, np.nan])
    assert dataset["model.kind"].to_numpy().tolist() == ["", "mlp"]
    assert dataset["group"].to_numpy().tolist() == ["a", "b"]


def test_the_newest_admission_and_result_of_a_run_count(tmp_path):
    write_settings(tmp_path, {"seed": [0, 1, 2]})
    group = tmp_path / "groups/a"
    small_store(group, [{"seed": 0}, {"seed": 1}], 3, level=0.25)
    small_store(group, [{"seed": 2}], 4, level=0.5)
    small_store(group, [{"seed": 1}, {"seed": 2}], 6, level=0.75, stop={"val_accuracy": 0.95})
    dataset = analysis.load(tmp_path).set_index(run="seed")
    assert sorted(dataset["run"].to_numpy()) == [0, 1, 2]
    first, *others = (dataset.sel(run=seed) for seed in (0, 1, 2))
    assert first["evaluations_done"] == 3 and first["value"][0, 0] == 0.25
    assert np.isnan(first["stop_level"])
    for other in others:
        assert other["evaluations_done"] == 6 and (other["value"] == 0.75).all()
        assert other["stop_level"] == 0.95


def test_what_is_behind_the_last_evaluation_is_blank(tmp_path):
    write_settings(tmp_path, {"seed": [0, 1]})
    runs = [(seed, n, "running") for seed, n in ((0, 5), (1, 2))]
    rows = [Row({"seed": seed}, np.ones((n, 4), np.float32), status) for seed, n, status in runs]
    write_store(tmp_path / "groups/a", rows, np.arange(6) * 10)
    dataset = analysis.load(tmp_path)
    assert dataset["evaluations_done"].to_numpy().tolist() == [5, 2]
    assert (dataset["value"][1, :2] == 1).all() and np.isnan(dataset["value"][1, 2:]).all()


def test_an_admission_that_is_still_being_written_is_left_out(tmp_path):
    write_settings(tmp_path, {"seed": [0]})
    small_store(tmp_path / "groups/a", [{"seed": 0}])
    (tmp_path / "groups/a/admitted/1.safetensors.new").write_bytes(b"half")
    (tmp_path / "groups/b/admitted").mkdir(parents=True)
    assert analysis.load(tmp_path)["id"].to_numpy().tolist() == ["seed=0"]


def test_runs_from_before_a_setting_became_an_axis_get_its_value(tmp_path):
    write_settings(tmp_path, {"model.n_layers": [1, 3], "seed": [0]})
    small_store(tmp_path / "groups/a", [{"seed": 0}])
    small_store(tmp_path / "groups/b", [{"seed": 0, "model.n_layers": 3}])
    assert analysis.load(tmp_path)["model.n_layers"].to_numpy().tolist() == [1, 3]


def test_seeds_are_pooled_and_axes_keep_their_order(results):
    dataset = analysis.load(results)
    axes = axes_of(dataset)
    assert [axis.name for axis in axes] == ["split.train_fraction", "model.n_layers"]
    assert axes[0].values == tuple(FRACTIONS)
    cells = cells_of(axes, np.arange(24))
    assert len(cells) == 6 and sorted(np.concatenate([cell.runs for cell in cells])) == list(
        range(24)
    )
    for cell in cells:
        assert set(dataset["split.train_fraction"].to_numpy()[cell.runs]) == {
            FRACTIONS[cell.index[0]]
        }
        assert sorted(dataset["seed"].to_numpy()[cell.runs]) == [0, 1, 2, 3]


def test_joint_axes_are_one_axis(tmp_path):
    joint = {
        "optimizer.learning_rate, optimizer.weight_decay": [(1e-3, 1.0), (1e-2, 0.1), (1e-1, 1.0)]
    }
    write_results(tmp_path / "first", joint | {"seed": range(2)})
    (axis,) = axes_of(analysis.load(tmp_path / "first"))
    assert axis.values == (1e-3, 1e-2, 1e-1)
    both = {"model.d_model, model.kind": [(32, "mlp"), (64, "mlp"), (32, "transformer")]}
    write_results(tmp_path / "second", both | {"seed": range(2)})
    (axis,) = axes_of(analysis.load(tmp_path / "second"))
    assert axis.values == ("32, mlp", "32, transformer", "64, mlp") and not axis.numeric


def read_table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_a_row_for_each_run_with_its_known_time(results, tmp_path):
    study = make_study(analysis.load(results), Definitions())
    rows = read_table(analysis.write_table(study, tmp_path / "runs.csv"))
    assert len(rows) == 24 and not list(tmp_path.glob(".*"))
    for row in rows:
        point = {name: float(row[name]) for name in AXES}
        time = planned_time(point | {name: int(point[name]) for name in ("model.n_layers", "seed")})
        if row["status"] in ("stopped", "finished") and time <= BUDGET:
            assert float(row["val_0.99_after"]) < time <= float(row["val_0.99_until"])
            assert float(row["val_0.99_until"]) - float(row["val_0.99_after"]) == EVAL_EVERY
            assert float(row["delay_0.99"]) == float(row["val_0.99_step"]) - 300
        else:
            gone = row["status"] == "diverged"
            assert row["val_0.99_state"] == ("diverged" if gone else "censored")
            assert row["val_0.99_step"] == row["delay_0.99"] == ""


SELDOM = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "fourier", "rank/0")


def test_a_final_value_is_the_last_one_that_was_measured(tmp_path):
    """A probe with `every: 4` has values at evaluations 0, 4, 8 ..., and runs end between them."""

    def seldom(point):
        done = 6 + point["seed"]
        value = np.full((done, len(SELDOM)), np.nan, np.float32)
        value[:, :4] = run_values(np.arange(done) * 100.0, 100, np.inf)
        value[::4, 4] = 10 * point["seed"] + np.arange(0, done, 4)
        if point["seed"] == 3:  # diverged at evaluation 8, where the others have a value
            value[8] = np.nan
        return Row(point, value, "diverged" if point["seed"] == 3 else "finished")

    path = write_results(tmp_path / "x", {"seed": range(5)}, seldom, probes=SELDOM)
    rows = read_table(
        write_table(make_study(analysis.load(path), Definitions()), tmp_path / "r.csv")
    )
    assert [row["final_fourier"] for row in rows] == ["4", "14", "24", "", "48"]
    assert [row["final_val_loss"] == "" for row in rows] == [False, False, False, True, False]
    assert "final_rank/0" not in rows[0]


def test_a_final_value_of_a_run_that_diverged_at_once_is_missing(tmp_path):
    def broken(point):
        value = run_values(np.arange(2) * 100.0, 100, np.inf)
        value[1] = np.nan
        return Row(point, value, "diverged")

    path = write_results(tmp_path / "x", {"seed": range(2)}, broken)
    rows = read_table(
        write_table(make_study(analysis.load(path), Definitions()), tmp_path / "r.csv")
    )
    assert {row["final_train_loss"] for row in rows} == {""}


def test_the_cells_add_up_to_the_runs(results, tmp_path):
    study = make_study(analysis.load(results), Definitions())
    runs = read_table(write_table(study, tmp_path / "runs.csv"))
    cells = read_table(write_cells(study, tmp_path / "cells.csv"))
    assert [int(c["n"]) for c in cells] == [4] * 6
    for cell in cells:
        inside = [r for r in runs if all(float(r[n]) == float(cell[n]) for n in list(AXES)[:2])]
        assert len(inside) == int(cell["n"])
        hits = [float(r["val_0.99_step"]) for r in inside if r["val_0.99_state"] == "hit"]
        assert int(cell["hits"]) == len(hits)
        assert float(cell["grokking"]) == sum(r["phase"] == "grokking" for r in inside) / len(
            inside
        )
        # With fewer than half of the runs censored the median is that of the times, the lower one of two.
        if len(hits) == len(inside):
            assert float(cell["median"]) == sorted(hits)[len(hits) // 2 - 1]


def test_curves_align_runs_and_hold_the_last_value_of_stopped_ones(results):
    study = make_study(analysis.load(results), Definitions())
    runs = np.flatnonzero(study.dataset["split.train_fraction"].to_numpy() == 0.8)
    steps, values = aligned(study, "val_accuracy", runs)
    assert steps[0] == EVAL_EVERY and (np.diff(steps) > 0).all()
    for run, row in zip(runs, values, strict=True):
        done = int(study.dataset["evaluations_done"][run]) - 1
        behind = row[done:]
        held = study.status[run] == "stopped"
        assert (behind == 1).all() if held else np.isnan(behind).all()


def test_representative_cells_span_fast_to_slow(tmp_path):
    axes = {"split.train_fraction": np.linspace(0.35, 0.9, 12).tolist(), "seed": range(2)}
    study = make_study(analysis.load(write_results(tmp_path / "many", axes)), Definitions())
    medians = [study.summary(cell.runs).median.estimate for cell in representative_cells(study)]
    everyone = [study.summary(cell.runs).median.estimate for cell in study.cells()]
    assert len(medians) == 6 and medians == sorted(medians)
    assert (medians[0], medians[-1]) == (min(everyone), max(everyone))


def texts_of(study, kind):
    found = {}
    for name, figure in FIGURES[kind](study):
        axes = [text.get_text() for ax in figure.axes for text in ax.texts]
        found[name] = axes, " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    return found


def test_heat_map_cells_print_median_and_share(results):
    study = make_study(analysis.load(results), Definitions())
    ((name, (texts, caption)),) = texts_of(study, "heatmaps").items()
    assert name == "median_time_split.train_fraction_model.n_layers"
    for cell in study.cells():
        summary = study.summary(cell.runs)
        assert f"{summary.hits}/4" in texts
        if np.isfinite(summary.median.estimate):
            assert short(summary.median.estimate) in texts
    assert "> 20k" in texts
    assert "n = 24 runs" in caption and "budget 20,000 steps" in caption and "Diverged" in caption
    assert "Training still going on: 2 of 24 runs." in caption


def test_a_heat_map_says_beyond_budget_once_no_median_can_come(tmp_path):
    def row(point):
        running = point["seed"] < point["task.p"]
        value = run_values(np.arange(3 if running else 201) * 100.0, 100, np.inf)
        return Row(point, value, "running" if running else "finished")

    axes = {"task.p": [1, 2], "model.n_layers": [1, 2], "seed": range(4)}
    study = make_study(analysis.load(write_results(tmp_path / "x", axes, row)), Definitions())
    texts, _ = texts_of(study, "heatmaps")["median_time_task.p_model.n_layers"]
    assert [texts.count(text) for text in ("> 20k", "?", "0/4")] == [2, 2, 4]


def test_every_figure_says_n_and_budget(results):
    study = make_study(analysis.load(results), Definitions())
    figures = {stem: texts for kind in FIGURES for stem, texts in texts_of(study, kind).items()}
    assert set(figures) == STEMS
    for _, caption in figures.values():
        assert "n = 24 runs" in caption and "budget 20,000 steps" in caption


@pytest.mark.soak
def test_everything_is_drawn_whole_and_twice_with_the_same_names(results, tmp_path):
    path = shutil.copytree(results, tmp_path / "copy")
    written = analysis.draw_everything(path)
    others, written = written[:5], written[5:]
    names = ["runs.csv", "runs.parquet", "cells.csv", "cells.tex", "report.html"]
    assert [file.name for file in others] == names
    assert {file.name for file in written} == {
        stem + end for stem in STEMS for end in (".png", ".pdf", ".txt")
    }
    for file in written:
        begins = {".png": b"\x89PNG", ".pdf": b"%PDF", ".txt": b"demo: n = 24 runs"}
        assert file.read_bytes().startswith(begins[file.suffix])
    assert set((path / "figures").iterdir()) == set(written)


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ({"seed": range(3)}, {"curves", "probes"}),
        (
            {"task.p": [31, 59], "seed": range(2)},
            {"curves", "probes", "time_task.p", "phases_task.p"},
        ),
        ({}, {"curves", "probes"}),
    ],
)
def test_small_grids_get_the_figures_that_make_sense(tmp_path, axes, expected):
    study = make_study(analysis.load(write_results(tmp_path / "small", axes)), Definitions())
    assert {name for kind in FIGURES.values() for name, _ in kind(study)} == expected


@pytest.mark.soak
def test_a_directory_where_nothing_has_been_evaluated_yet_can_be_drawn(tmp_path):
    write_results(
        tmp_path / "new", AXES, lambda point: Row(point, np.empty((0, 4), np.float32), "waiting")
    )
    study = make_study(analysis.load(tmp_path / "new"), Definitions())
    assert (study.phases == "undecided").all()
    for kind in ("curves", "axis_curves"):
        for _, figure in FIGURES[kind](study):
            figure.savefig(tmp_path / "x.png")
    assert not list(FIGURES["probe_panels"](study))
    assert "?" in next(iter(texts_of(study, "heatmaps").values()))[0]


def test_losses_of_zero_and_nan_can_be_drawn(tmp_path):
    def broken(point):
        value = run_values(np.arange(5) * 100.0, 100, np.inf)
        value[2:, 0], value[3:, 2] = 0, np.nan
        return Row(point, value if point["seed"] else value * np.nan, "diverged")

    study = make_study(
        analysis.load(write_results(tmp_path / "x", {"seed": range(2)}, broken)), Definitions()
    )
    (panels,) = (figure for _, figure in FIGURES["probe_panels"](study))
    panels.savefig(tmp_path / "x.png")
    (figure,) = (figure for _, figure in FIGURES["curves"](study))
    figure.savefig(tmp_path / "x.png")
    assert figure.axes[1].get_ylim()[0] > 0


def fails_at_once(study):
    raise KeyError("largest_weight")


def fails_later(study):
    yield "half", Figure()
    yield "broken", Figure().text(0, 0, "not a figure")


@pytest.mark.parametrize("wrong", [fails_at_once, fails_later])
def test_a_figure_that_fails_leaves_the_others_drawn(tmp_path, monkeypatch, capsys, caplog, wrong):
    path = write_results(tmp_path / "x", {"seed": range(2)})
    figures = {"wrong": wrong, "curves": FIGURES["curves"], "none": lambda study: iter(())}
    monkeypatch.setattr("analysis.draw.FIGURES", figures)
    assert main([str(path)]) == 2
    out, err = capsys.readouterr()
    name = "KeyError: 'largest_weight'" if wrong is fails_at_once else "AttributeError: "
    assert out == "" and err.count("\n") == 1
    assert err.startswith(f"{path}: 1 of 3 kinds of figures could not be drawn (wrong: {name}")
    assert "(test_analysis.py:" in err or wrong is fails_later
    assert f"figure wrong: {name}" in caplog.text
    drawn = {"curves.png", "curves.pdf", "curves.txt"} | (
        {"half.png", "half.pdf"} if wrong is fails_later else set()
    )
    assert {file.name for file in (path / "figures").iterdir()} == drawn
    assert (path / "runs.csv").exists() and (path / "cells.csv").exists()


def test_the_level_defaults_to_the_stop_level(tmp_path):
    write_settings(tmp_path, {"seed": [0, 1]})
    small_store(tmp_path / "groups/a", [{"seed": 0}], stop={"val_accuracy": 0.95})
    assert make_study(analysis.load(tmp_path), Definitions()).level == 0.95
    assert make_study(analysis.load(tmp_path), Definitions(level=0.5)).level == 0.5
    small_store(tmp_path / "groups/a", [{"seed": 0}], stop=None)
    assert make_study(analysis.load(tmp_path), Definitions()).level == 0.99


@pytest.mark.parametrize("kind", ["missing", "empty", "foreign", "not yaml", "newer", "no runs"])
def test_what_cannot_be_analysed_is_one_sentence_and_exit_code_2(tmp_path, capsys, kind):
    path = tmp_path / "x"
    if kind != "missing":
        path.mkdir()
    if kind == "no runs":
        write_settings(path, {"seed": [0]})
    content = {
        "foreign": "a: 1\n",
        "not yaml": "a: [\n",
        "newer": "schema: 99\ntrain: {steps: 1}\n",
    }
    if kind in content:
        (path / "experiment.yaml").write_text(content[kind])
    assert main([str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and str(path) in err
    assert ("schema" in err) == (kind == "newer")
    assert not path.exists() or not (path / "figures").exists()


@pytest.mark.soak
def test_the_command_line_takes_the_definitions(tmp_path, capsys):
    path = write_results(tmp_path / "x", {"split.train_fraction": [0.5, 0.8], "seed": range(2)})
    assert main([str(path), "--level", "0.8", "--delay-ratio", "1.5"]) == 0
    assert str(path / "runs.csv") in capsys.readouterr().out
    rows = read_table(path / "runs.csv")
    assert {row["phase"] for row in rows} == {"grokking"} and "val_0.8_step" in rows[0]
    with pytest.raises(SystemExit, match="2"):
        main([str(path), "--delay-steps", "5", "--delay-ratio", "2"])


def test_steps_are_short_and_right():
    samples = {
        0: "0",
        850: "850",
        1000: "1,000",
        1650: "1,650",
        9996: "10k",
        12345: "12k",
        999_900: "1M",
    }
    assert {steps: short(steps) for steps in samples} == samples


def test_importing_the_analysis_pulls_in_no_jax():
    code = (
        "import sys, analysis, analysis.__main__; "
        "print([m for m in sys.modules if m.split('.')[0] in ('jax', 'jaxlib', 'flax')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_parquet_table_is_the_csv_with_all_digits(results, tmp_path):
    study = make_study(analysis.load(results), Definitions())
    table = pd.read_parquet(write_parquet(study, tmp_path / "runs.parquet"))
    text = pd.read_csv(analysis.write_table(study, tmp_path / "runs.csv"))
    assert list(table) == list(text) and len(table) == 24
    for name in table:
        if table[name].dtype.kind in "if":
            np.testing.assert_allclose(text[name], table[name], rtol=1e-7, err_msg=name)
        else:
            assert list(text[name]) == list(table[name]), name
    assert table["final_val_loss"].dtype.kind == "f" and table["seed"].dtype.kind == "i"


def test_large_histories_stay_on_disk_until_they_are_asked_for(results, monkeypatch):
    eager = analysis.load(results)
    read = []
    real = Histories._read
    monkeypatch.setattr(
        Histories, "_read", lambda self, key: (read.append(key), real(self, key))[1]
    )
    monkeypatch.setattr("analysis.histories.MOST_BYTES", 0)
    lazy = analysis.load(results)
    assert read == [], "loading reads no values"
    accuracy = lazy["value"].sel(probe="val_accuracy")
    np.testing.assert_array_equal(accuracy, eager["value"].sel(probe="val_accuracy"))
    assert len(read) == 1 and accuracy.shape == (24, eager.sizes["eval"])
    for part in ({"run": 3}, {"run": slice(2, 20, 5), "eval": slice(1, 9)}, {"run": 1, "eval": 2, "probe": 0},
                 {"run": [5, 1], "probe": [2, 0]}, {"eval": slice(None, None, -1)}):  # fmt: skip
        np.testing.assert_array_equal(lazy["value"].isel(part), eager["value"].isel(part))
    tables = [table_columns(make_study(d, Definitions())) for d in (eager, analysis.load(results))]
    for name, column in tables[0].items():
        np.testing.assert_array_equal(tables[1][name], column, err_msg=name)
