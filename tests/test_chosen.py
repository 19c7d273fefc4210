"""One figure as wanted, the LaTeX table, and two experiments side by side."""

import csv
import itertools
import math
import shutil
import subprocess

import numpy as np
import pytest
from matplotlib.text import Text
from matplotlib.transforms import Bbox

import analysis
from analysis.__main__ import main
from analysis.chosen import KINDS
from analysis.combining import combined
from analysis.comparing import SharedCell, adjusted, quick_median, shared_cells
from analysis.figures.differences import draw_differences
from analysis.figures.style import CAPTION, caption_of
from analysis.latex import escaped, latex_table
from analysis.statistics import Interval, kaplan_meier_median
from analysis.study import Definitions, make_study
from analysis.where import where
from grokjax.results.locks import hold
from tests.synthetic import Row, planned_time, run_values, write_results

AXES = {
    "split.train_fraction": [0.3, 0.5, 0.8],
    "model.n_layers": [1, 2],
    "seed": range(5),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("results") / "demo", AXES)


def slower_row(point):
    """Takes three times as long as the same run of the other experiment."""
    step = np.arange(0, 20_001, 100)
    return Row(point, run_values(step, 300.0, 3 * planned_time(point)), "finished")


@pytest.fixture(scope="module")
def slower(results):
    axes = AXES | {"model.n_layers": [2], "split.train_fraction": [0.5, 0.8, 0.9]}
    return write_results(results.parent / "slow", axes, slower_row)


@pytest.mark.soak
def test_a_figure_has_the_size_the_font_and_the_axes_that_are_wanted(results):
    drawn = analysis.figure(
        results, "time", x="train_fraction", hue="none", panel="n_layers", size=(3.3, 2.5), font=8,
        title="none",
    )  # fmt: skip
    assert tuple(drawn.get_size_inches()) == (3.3, 2.5)
    panels = [ax for ax in drawn.axes if ax.get_visible()]
    assert len(panels) == 2 and not any(ax.get_title() for ax in panels)
    sizes = {text.get_fontsize() for ax in panels for text in ax.get_xticklabels()}
    assert sizes == {8.0}
    assert "All values of" not in caption_of(drawn)


@pytest.mark.soak
def test_axes_that_are_not_named_are_pooled_and_the_caption_says_so(results):
    drawn = analysis.figure(results, "time", x="train_fraction", hue="none", panel=[])
    assert caption_of(drawn).endswith("All values of depth (layers) are pooled.")
    assert len(drawn.axes) == 1 and "n = 30 runs, 10 a cell" in caption_of(drawn)


@pytest.mark.soak
@pytest.mark.parametrize(("kind", "style"), list(itertools.product(KINDS, ["paper", "slide"])))
def test_no_text_of_any_kind_lies_outside_or_on_another(results, kind, style, monkeypatch):
    boxes = {}

    def draw(text, renderer):
        if text.get_text().strip() and text.get_visible():
            boxes[text] = text.get_window_extent(renderer)
        plain(text, renderer)

    plain = Text.draw
    monkeypatch.setattr(Text, "draw", draw)
    drawn = analysis.figure(results, kind, style=style)
    drawn.draw_without_rendering()
    width, _ = drawn.get_size_inches() * drawn.dpi
    boxes = {t: box for t, box in boxes.items() if t.get_gid() != "caption"}
    assert len(boxes) > 5
    for text, box in boxes.items():
        assert box.x0 > -0.02 * width and box.x1 < 1.02 * width, text.get_text()
    for (text, one), (other, two) in itertools.combinations(boxes.items(), 2):
        shared = Bbox.intersection(one, two)
        room = 0 if shared is None else shared.width * shared.height
        assert room < 0.1 * min(one.width * one.height, two.width * two.height), (
            text.get_text(),
            other.get_text(),
        )


@pytest.mark.soak
def test_conditions_choose_runs(results):
    dataset = analysis.load(results)
    assert where(dataset, ["train_fraction>=0.5", "n_layers=2"]).sizes["run"] == 10
    assert where(dataset, ["seed != 3", "split.train_fraction < 0.5"]).sizes["run"] == 8
    caption = caption_of(analysis.figure(results, "time", where=["n_layers=2"]))
    assert "n = 15 runs" in caption and "Only runs with n_layers=2." in caption
    assert "Not begun" not in caption


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["figure", "nowhere", "time"], "nowhere: does not exist"),
        (["figure", "RESULTS", "pie"], "figure pie: there is no such kind; choose from time"),
        (["figure", "RESULTS", "time", "--x", "optimizer.lr"], "--x optimizer.lr: there is no such setting"),
        (["figure", "RESULTS", "time", "--x", "n_train"], "--x n_train: did not vary"),
        (["figure", "RESULTS", "median_time", "--x", "seed"], "--x seed: did not vary"),
        (["figure", "RESULTS", "time", "--where", "seed=9"], "seed=9: no run has this; seed has the values 0, 1"),
        (["figure", "RESULTS", "time", "--where", "seed"], "--where seed: must be a condition"),
        (["figure", "RESULTS", "time", "--where", "status>a"], "status has names, which have no order"),
        (["figure", "RESULTS", "time", "--level", "1.5"], "expected an accuracy above 0 and at most 1"),
        (["figure", "RESULTS", "time", "--size", "0x2"], "--size 0x2: width and height must be from 0.5"),
        (["figure", "RESULTS", "time", "--size", "big"], "expected width x height"),
        (["figure", "RESULTS", "time", "--font", "0"], "expected a positive number"),
        (["figure", "RESULTS", "time", "--style", "art"], "--style art: there is no such style"),
        (["figure", "RESULTS", "time", "--format", "gif"], "--format gif: must be one of pdf, png"),
        (["figure", "RESULTS", "curves", "--hue", "seed"], "--hue: the figure curves has none"),
        (["figure", "RESULTS", "phases", "--x", "n_layers", "--y", "n_layers"], "is the same axis as --x"),
        (["table", "nowhere"], "nowhere: does not exist"),
        (["compare", "RESULTS", "RESULTS"], "is given twice"),
        (["compare", "RESULTS", "nowhere"], "nowhere: does not exist"),
        (["serve", "nowhere"], "nowhere: is not a folder"),
        (["serve", "EMPTY"], "has no results directory in it"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_and_exit_code_2(results, tmp_path, capsys, words, told):
    places = {"RESULTS": str(results), "EMPTY": str(tmp_path)}
    try:
        code = main([places.get(word, word) for word in words])
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    assert code == 2 and out == "" and err.count("\n") == 1
    assert told in err
    assert not list(tmp_path.iterdir())


def test_a_directory_in_training_is_refused_unless_it_is_wanted(results, tmp_path, capsys):
    with hold(results):
        assert main(["table", str(results), "--out", str(tmp_path / "x.tex")]) == 2
        assert "is still being written by process" in capsys.readouterr().err
        assert not list(tmp_path.iterdir())
        assert main(["table", str(results), "--unfinished", "--out", str(tmp_path / "x.tex")]) == 0
    assert main(["table", str(results), "--out", str(tmp_path / "x.tex")]) == 0


@pytest.mark.soak
def test_files_have_the_formats_that_are_wanted_and_the_caption_beside(results, tmp_path, capsys):
    out = tmp_path / "new" / "fig1.pdf"
    words = ["figure", str(results), "phases", "--style", "paper", "--format", "pdf,svg"]
    assert main([*words, "--out", str(out)]) == 0
    names = ["fig1.pdf", "fig1.svg", "fig1.txt"]
    assert capsys.readouterr().out.split() == [str(out.parent / name) for name in names]
    assert (out.parent / "fig1.txt").read_text().startswith("demo: n = 30 runs")
    assert out.read_bytes().startswith(b"%PDF")


def test_a_configuration_can_ask_for_figures(results, tmp_path, caplog):
    path = write_results(tmp_path / "demo", {"split.train_fraction": [0.5, 0.8], "seed": range(2)})
    dataset = analysis.load(path)
    asked = [
        {"draw": "time", "name": "fig1", "style": "paper", "format": ["pdf"]},
        {"draw": "phases", "x": "model.n_layers"},
    ]
    dataset.attrs["settings"]["figures"] = asked
    study = make_study(dataset, Definitions())
    from analysis.draw import _draw_asked

    written = _draw_asked(study, tmp_path)
    assert [file.name for file in written] == ["fig1.pdf", "fig1.txt"]
    assert "figures: phases_2: x model.n_layers" in caplog.text


def test_the_latex_table_has_a_row_for_each_cell(results):
    study = make_study(analysis.load(results), Definitions())
    text = latex_table(study)
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 1 + 6 and all(row.count("&") == 5 for row in rows)
    for cell, row in zip(study.cells(), rows[1:], strict=True):
        median = study.summary(cell.runs).median.estimate
        told = row.split("&")[4].strip().replace(r"\,", "")
        assert told == (f"{median:.0f}" if math.isfinite(median) else "$>$20000")


def test_texts_are_escaped_for_latex():
    assert escaped(r"a_b & 5 % {x} \ ~^#$") == (
        r"a\_b \& 5 \% \{x\} \textbackslash{} \textasciitilde{}\textasciicircum{}\#\$"
    )


def test_two_experiments_are_compared_where_both_have_runs(results, slower):
    parts = {"demo": analysis.load(results), "slow": analysis.load(slower)}
    study = make_study(combined(parts), Definitions())
    cells = shared_cells(study, ("demo", "slow"))
    assert [cell.label for cell in cells] == [
        f"train fraction {fraction}, depth (layers) 2" for fraction in ("0.5", "0.8")
    ]
    for cell in cells:
        first, second = cell.medians
        assert cell.n == (5, 5) and second.estimate > 2 * first.estimate
        assert cell.difference and cell.difference.estimate == second.estimate - first.estimate
        assert cell.difference.low <= cell.difference.estimate <= cell.difference.high
        assert cell.p is not None and cell.adjusted is not None and cell.p <= cell.adjusted <= 1


def test_both_experiments_keep_their_runs_and_histories(results, slower):
    parts = {"demo": analysis.load(results), "slow": analysis.load(slower)}
    both = combined(parts)
    begin = 0
    for name, part in parts.items():
        mine = both.isel(run=slice(begin, begin + part.sizes["run"]))
        begin += part.sizes["run"]
        assert (mine["experiment"] == name).all()
        for probe in part["probe"].to_numpy():
            values = mine["value"].sel(probe=probe).to_numpy()[:, : part.sizes["eval"]]
            np.testing.assert_array_equal(values, part["value"].sel(probe=probe).to_numpy())
    assert begin == both.sizes["run"] and len(set(both["id"].to_numpy())) == begin


def test_nothing_is_compared_below_four_runs(tmp_path):
    axes = {"split.train_fraction": [0.8], "seed": range(3)}
    parts = {n: analysis.load(write_results(tmp_path / n, axes)) for n in ("a", "b")}
    (cell,) = shared_cells(make_study(combined(parts), Definitions()), ("a", "b"))
    assert cell.n == (3, 3) and cell.difference is None and cell.p is None and cell.adjusted is None


def test_the_quick_median_is_that_of_kaplan_and_meier():
    random = np.random.default_rng(0)
    for _ in range(200):
        n = int(random.integers(1, 20))
        time, hit = random.integers(1, 8, n).astype(float), random.random(n) < 0.7
        assert quick_median(time, hit) == kaplan_meier_median(time, hit).estimate


def test_p_values_are_adjusted_as_holm_does():
    none = Interval(1.0, 0.0, 2.0)
    cells = [SharedCell("", (9, 9), (none, none), none, p) for p in (0.04, None, 0.01, 0.03)]
    assert [cell.adjusted for cell in adjusted(cells)] == [0.06, None, 0.03, 0.06]


def test_the_command_writes_page_tables_and_figures(results, slower, tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.draw.FIGURES", {})
    out = tmp_path / "both"
    assert main(["compare", str(results), str(slower), "--out", str(out)]) == 0
    with (out / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 and float(rows[0]["p_adjusted"]) <= 1
    assert '"comparison":{"names":["demo","slow"]' in (out / "report.html").read_text()
    assert "Left of 0" in (out / "figures" / "differences.txt").read_text()


def test_a_figure_shows_each_difference_and_why_there_is_none():
    at, late = Interval(500.0, 400.0, 600.0), Interval(math.inf, 900.0, math.inf)
    cells = [
        SharedCell("faster", (5, 5), (at, at), Interval(-300.0, -400.0, -100.0), 0.01, 0.02),
        SharedCell("perhaps", (5, 4), (at, at), Interval(200.0, -math.inf, 800.0), 0.3, 0.3),
        SharedCell("few", (3, 5), (at, at), None, None),
        SharedCell("late", (5, 5), (at, late), None, 0.01, 0.02),
    ]
    many = [*cells, *(SharedCell(f"cell {i}", (3, 3), (at, at), None, None) for i in range(40))]
    pages = dict(draw_differences(many, ("a", "b"), 0.99))
    assert list(pages) == ["differences", "differences_2"]
    ax = pages["differences"].axes[0]
    told = [text.get_text() for text in ax.texts]
    assert told[:2] == ["n = 5, 5, p = 0.02", "n = 5, 4, p = 0.3"]
    assert told[3] == "fewer than 4 runs" and told[5] == "second median beyond the budget"
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [float(dot.get_xdata()[0]) for dot in dots] == [-300, 200]
    assert dots[0].get_markerfacecolor() == dots[0].get_color() != dots[1].get_markerfacecolor()
    arrows = [line for line in ax.lines if line.get_marker() == "<"]
    assert len(arrows) == 1 and arrows[0].get_ydata()[0] == 1
    assert ax.get_xlim()[1] > 800


def test_experiments_without_a_common_cell_are_refused(results, tmp_path, capsys):
    other = write_results(tmp_path / "other", {"split.train_fraction": [0.7], "seed": range(4)})
    assert main(["compare", str(results), str(other), "--out", str(tmp_path / "both")]) == 2
    assert "have no cell of the grid in common" in capsys.readouterr().err
    assert not (tmp_path / "both").exists()


def test_a_figure_for_latex_has_no_caption_and_defines_what_it_uses(results, tmp_path, monkeypatch):
    """Without TeX: what would be given to matplotlib."""
    monkeypatch.setattr("analysis.commands.figure.shutil.which", lambda name: name)
    asked = {}

    def savefig(drawn, path, **options):
        asked.update(
            options, captions=[t for t in drawn.texts if t.get_gid() == CAPTION and t.get_visible()]
        )
        path.write_text("figure")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
    out = tmp_path / "a.pgf"
    assert main(["figure", str(results), "time", "--out", str(out)]) == 0
    assert asked["format"] == "pgf" and "metadata" not in asked and not asked["captions"]
    assert out.read_text().startswith(r"\providecommand{\mathdefault}[1]{#1}")
    assert (tmp_path / "a.txt").read_text().startswith("demo: n = ")


@pytest.mark.soak
@pytest.mark.skipif(shutil.which("xelatex") is None, reason="SKIPPED: pgf needs xelatex")
def test_figures_and_tables_are_set_by_latex(results, tmp_path):
    for kind in KINDS:
        words = ["--style", "paper", "--out", str(tmp_path / f"{kind}.pgf")]
        assert main(["figure", str(results), kind, *words]) == 0
    assert main(["table", str(results), "--out", str(tmp_path / "cells.tex")]) == 0
    figures = "".join(rf"\input{{{kind}.pgf}}" + "\n\n" for kind in KINDS)
    packages = r"\usepackage{pgf}\usepackage[strings]{underscore}\usepackage{booktabs}"
    body = rf"\begin{{document}}{figures}\input{{cells.tex}}\end{{document}}"
    (tmp_path / "a.tex").write_text(rf"\documentclass{{article}}{packages}{body}")
    words = ["xelatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "a.pdf").stat().st_size > 10_000
