"""Facts of the drawn figures: no mark can be read as another value, no label hides another, nothing is left out."""

from __future__ import annotations

import itertools
import math

import matplotlib as mpl
import numpy as np
import pytest

import analysis
from analysis.figures import FIGURES
from analysis.figures.axis_curves import MEDIANS, draw_axis
from analysis.figures.best_accuracy import MEDIANS as BEST_MEDIANS
from analysis.figures.best_accuracy import RUNS as BEST_RUNS
from analysis.figures.heatmaps import draw_pair
from analysis.figures.lines import MOST_NAMES
from analysis.figures.style import RC
from analysis.numbers import number_texts
from analysis.study import Definitions, make_study
from tests.synthetic import BUDGET, PROBES, Row, run_values, stopped_row, write_results

FRACTION, DECAY, OPERATION = "split.train_fraction", "optimizer.weight_decay", "task.operation"
NAMES = [f"x^{k}+xy^{k}+y" for k in range(2, 40)]


def never(point):
    """A run that memorises and spends its budget."""
    return Row(point, run_values(np.arange(0, BUDGET + 1, 100), 300.0, np.inf), "finished")


def half(point):
    """Every second run arrives, where there is any decay."""
    arrives = point["seed"] % 2 == 0 and point.get(DECAY) != 0
    return stopped_row(point) if arrives else never(point)


def diverged(point):
    return Row(point, never(point).value[:3], "diverged")


def study_of(path, axes, make_row=stopped_row, seeds=3):
    write_results(path, {**axes, "seed": range(seeds)}, make_row)
    return make_study(analysis.load(path), Definitions())


def figures_of(study, kind):
    with mpl.rc_context(RC):
        found = dict(FIGURES[kind](study))
        for figure in found.values():
            figure.draw_without_rendering()
    return found


def time_figure(path, axes, make_row=stopped_row, seeds=3):
    return next(iter(figures_of(study_of(path, axes, make_row, seeds), "axis_curves").values()))


def panels_of(figure):
    return [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]


def caption_of(figure):
    return " ".join(text.get_text() for text in figure.texts).replace("\n", " ")


def shown(labels):
    return [label for label in labels if label.get_visible() and label.get_text()]


def check_apart(labels):
    """No two labels of an axis touch; turned ones are as far apart as their lines are high."""
    labels = shown(labels)
    boxes = [label.get_window_extent() for label in labels]
    for (one, a), (_, b) in itertools.pairwise(zip(labels, boxes, strict=True)):
        angle = one.get_rotation()
        if angle == 45:
            pitch = math.hypot(b.x1 - a.x1, b.y1 - a.y1) * math.sin(math.radians(45))
            assert pitch >= one.get_fontsize() * one.figure.dpi / 72
        else:
            assert not a.overlaps(b)


def marks_of(ax):
    """x of every mark and bar that stands for runs."""
    lines = [line.get_xdata() for line in ax.lines if line.get_transform() == ax.transData]
    bars = [path.vertices[:, 0] for c in ax.collections for path in c.get_paths()]
    return np.concatenate([np.asarray(x, float) for x in [*lines, *bars] if len(x)])


GRIDS = {
    "two fractions": [0.4, 0.6],
    "three uneven ones": [0.3, 0.5, 0.8],
    "two close ones": [0.5, 0.51, 0.8],
    "ten": np.linspace(0.3, 0.8, 10).tolist(),
    "thirty": np.linspace(0.2, 0.8, 30).tolist(),
    "logarithmic": np.logspace(-3, 1, 9).tolist(),
    "with zero": [0.0, 0.01, 0.1, 1.0, 3.0],
}


@pytest.mark.parametrize(
    "values",
    [pytest.param(v, id=n, marks=() if n == "ten" else pytest.mark.soak) for n, v in GRIDS.items()],
)
@pytest.mark.parametrize("lines", [*(pytest.param(n, marks=pytest.mark.soak) for n in (1, 2)), 10])
def test_a_mark_stands_near_its_value_and_every_value_has_a_tick(tmp_path, values, lines):
    axes = {DECAY: values}
    if lines > 1:
        axes[FRACTION] = np.linspace(0.4, 0.8, lines).tolist()
    figure = time_figure(tmp_path / "x", axes, half)
    for ax in panels_of(figure):
        to_pixels = ax.transData.transform
        ticks = to_pixels([(x, BUDGET) for x in ax.get_xticks()])[:, 0]
        assert len(ticks) == len(values)
        marks = marks_of(ax)
        away = np.abs(to_pixels([(x, BUDGET) for x in marks])[:, :1] - ticks)
        gaps = np.diff(ticks)
        # A quarter of the distance to the next value, and a thirtieth of the axis.
        assert (away.min(axis=1) <= min(0.26 * gaps.min(), 0.031 * ax.bbox.width)).all()
        assert (np.bincount(away.argmin(axis=1), minlength=len(values)) > 0).all()
        limits = to_pixels([(x, BUDGET) for x in ax.get_xlim()])[:, 0]
        assert limits[0] < ticks[0] and ticks[-1] < limits[1]


def test_a_fraction_of_six_tenths_is_not_read_as_another(tmp_path):
    axes = {FRACTION: [0.4, 0.6], DECAY: [0.3, 1.0]}
    (ax,) = panels_of(time_figure(tmp_path / "x", axes))
    marks = marks_of(ax)
    assert np.abs(marks[marks > 0.5] - 0.6).max() < 0.01


def test_a_single_line_has_its_medians_at_the_values(tmp_path):
    (ax,) = panels_of(time_figure(tmp_path / "x", {FRACTION: [0.5, 0.6, 0.8]}))
    (medians,) = (line for line in ax.lines if line.get_gid() == MEDIANS)
    np.testing.assert_allclose(medians.get_xdata(), [0.5, 0.6, 0.8])


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["axis_curves", "heatmaps", "phase_diagram", "curves"])
@pytest.mark.parametrize(
    "count", [*(pytest.param(n, marks=pytest.mark.soak) for n in (2, 3, 10)), 30]
)
@pytest.mark.parametrize("what", [pytest.param("numbers", marks=pytest.mark.soak), "names"])
def test_labels_do_not_touch(tmp_path, kind, count, what):
    values = {FRACTION: np.linspace(0.3, 0.8, count).tolist(), OPERATION: NAMES[:count]}
    name = FRACTION if what == "numbers" else OPERATION
    axes = {name: values[name], "model.n_layers": [1, 2, 3]}
    for figure in figures_of(study_of(tmp_path / "x", axes, seeds=2), kind).values():
        for ax in figure.axes:
            check_apart(ax.get_xticklabels())
            check_apart(ax.get_yticklabels())
        titles = [ax.title for ax in figure.axes if ax.title.get_text()]
        boxes = [title.get_window_extent() for title in titles]
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


@pytest.mark.parametrize("count", [10, 30])
def test_bars_of_phases_have_their_labels_apart(tmp_path, count):
    study = study_of(tmp_path / "x", {OPERATION: NAMES[:count]})
    (figure,) = figures_of(study, "phase_diagram").values()
    labels = figure.axes[0].get_xticklabels()
    check_apart(labels)
    assert len(shown(labels)) == count
    assert figure.get_figwidth() <= 16


def test_the_first_value_keeps_its_label_and_ticks_stay(tmp_path):
    values = np.linspace(0.2, 0.8, 30).tolist()
    (ax,) = panels_of(time_figure(tmp_path / "x", {FRACTION: values}))
    labels = shown(ax.get_xticklabels())
    assert len(ax.get_xticks()) == 30 > len(labels) > 8
    assert labels[0].get_text() == "0.2"


def legend_texts(figure):
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("count", [2, 7])
def test_every_value_of_the_second_axis_is_in_the_legend(tmp_path, count):
    decays = np.logspace(-1, 1, count).tolist()
    figure = time_figure(tmp_path / "x", {FRACTION: [0.4, 0.6], DECAY: decays})
    texts = [f"weight decay {text}" for text in number_texts(decays)]
    assert legend_texts(figure)[:count] == texts


@pytest.mark.parametrize("count", [10, 30])
def test_many_numbers_are_read_off_a_colour_bar_with_a_field_each(tmp_path, count):
    decays = np.logspace(-1, 1, count).tolist()
    figure = time_figure(tmp_path / "x", {FRACTION: [0.4, 0.6], DECAY: decays}, seeds=2)
    (bar,) = (ax for ax in figure.axes if ax.get_label() == "<colorbar>")
    (ax,) = panels_of(figure)
    drawn = [line for line in ax.lines if line.get_gid() == MEDIANS]
    assert len(bar.get_yticks()) == len(drawn) == count
    assert len({line.get_color() for line in drawn}) == count
    assert bar.get_ylabel() == "weight decay" and shown(bar.get_yticklabels())
    check_apart(bar.get_yticklabels())
    assert "one run" not in legend_texts(figure)  # there are no dots of single runs


@pytest.mark.parametrize("count", [12, len(NAMES)])
def test_names_are_told_apart_by_colour_and_marker(tmp_path, count):
    axes = {FRACTION: [0.4, 0.6], OPERATION: NAMES[:count]}
    figure = time_figure(tmp_path / "x", axes, seeds=2)
    (ax,) = panels_of(figure)
    drawn = [line for line in ax.lines if line.get_gid() == MEDIANS]
    assert len({(line.get_color(), line.get_marker()) for line in drawn}) == len(drawn)
    assert len(drawn) == min(count, MOST_NAMES)
    named = [text for text in legend_texts(figure) if text.startswith("operation")]
    assert len(named) == len(drawn)
    told = f"{count} values of operation, {MOST_NAMES} of them shown" in caption_of(figure)
    assert told == (count > MOST_NAMES)
    (box,) = (legend.get_window_extent() for legend in figure.legends)
    assert box.height <= figure.bbox.height


def test_runs_that_never_arrive_are_shown_at_the_budget_and_said(tmp_path):
    figure = time_figure(tmp_path / "x", {FRACTION: [0.4, 0.6], DECAY: [0.3, 1.0]}, never)
    (ax,) = panels_of(figure)
    triangles = [line for line in ax.lines if line.get_marker() == "^"]
    heights = np.concatenate([line.get_ydata() for line in triangles])
    assert len(heights) == 12 and (heights == BUDGET).all()
    assert ax.get_ylim()[0] < BUDGET < ax.get_ylim()[1]
    texts = [text.get_text() for text in ax.texts]
    assert "none of n = 12 runs arrived:\n12 not by step 20,000 (censored)" in texts
    assert texts.count("0/6") == 2
    assert "not by then (censored)" in legend_texts(figure)
    assert "Not by step 20,000 (censored): 12 of 12 runs." in caption_of(figure)


def test_censored_runs_of_a_single_line_stand_apart(tmp_path):
    (ax,) = panels_of(time_figure(tmp_path / "x", {FRACTION: [0.4, 0.6]}, never))
    places = [line.get_xdata() for line in ax.lines if line.get_marker() == "^"]
    pixels = [ax.transData.transform([(x, BUDGET) for x in at])[:, 0] for at in places if len(at)]
    assert len(pixels) == 2
    for at in pixels:
        assert np.diff(at).min() > 2.5 * ax.figure.dpi / 72


def test_diverged_runs_are_crosses_and_said(tmp_path):
    figure = time_figure(tmp_path / "x", {FRACTION: [0.4, 0.6]}, diverged)
    (ax,) = panels_of(figure)
    assert "none of n = 6 runs arrived:\n6 diverged" in [text.get_text() for text in ax.texts]
    crosses = [line for line in ax.lines if line.get_marker() == "x"]
    assert sum(len(line.get_xdata()) for line in crosses) == 6
    for line in crosses:
        assert (line.get_ydata() > BUDGET).all() and (line.get_ydata() < ax.get_ylim()[1]).all()


@pytest.mark.soak
def test_counts_say_how_many_arrived_and_never_touch(tmp_path):
    (ax,) = panels_of(time_figure(tmp_path / "x", {FRACTION: [0.4, 0.6]}, half, seeds=4))
    assert [text.get_text() for text in ax.texts] == ["2/4", "2/4"]
    values = np.linspace(0.3, 0.8, 10).tolist()
    axes = {FRACTION: values, DECAY: np.logspace(-1, 1, 12).tolist(), "model.n_layers": [1, 2, 3]}
    figure = time_figure(tmp_path / "y", axes, seeds=1)
    for ax in panels_of(figure):
        boxes = [text.get_window_extent() for text in ax.texts]
        assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))


def test_one_seed_has_no_interval(tmp_path):
    (ax,) = panels_of(time_figure(tmp_path / "x", {FRACTION: [0.5, 0.6]}, seeds=1))
    assert not [path for c in ax.collections for path in c.get_paths()]


def test_a_heat_map_without_a_median_has_no_scale_of_colours(tmp_path):
    study = study_of(tmp_path / "x", {FRACTION: [0.4, 0.6], DECAY: [0.3, 1.0]}, never)
    (figure,) = figures_of(study, "heatmaps").values()
    assert [ax.get_label() for ax in figure.axes].count("<colorbar>") == 0
    assert "No cell has a median" in caption_of(figure)
    assert "Not by step 20,000 (censored): 12 of 12 runs." in caption_of(figure)


def test_a_scale_of_colours_of_a_short_range_has_round_ticks(tmp_path):
    study = study_of(tmp_path / "x", {FRACTION: [0.45, 0.5], DECAY: [0.9, 1.0]}, seeds=1)
    (figure,) = figures_of(study, "heatmaps").values()
    (bar,) = (ax for ax in figure.axes if ax.get_label() == "<colorbar>")
    ticks = bar.get_yticks()
    assert len(ticks) > 1 and all(float(f"{tick:.2g}") == tick for tick in ticks)
    assert bar.get_ylim()[0] <= ticks[0] and ticks[-1] <= bar.get_ylim()[1]


def test_values_in_equal_distances_are_said_to_be(tmp_path):
    figure = time_figure(tmp_path / "x", {DECAY: [0.0, 0.01, 1.0]}, never)
    assert "weight decay stand in equal distances" in caption_of(figure)
    figure = time_figure(tmp_path / "y", {DECAY: [0.1, 0.2, 0.3]}, never)
    assert "equal distances" not in caption_of(figure)


@pytest.mark.soak
@pytest.mark.parametrize(
    "kind", ["heatmaps", pytest.param("phase_diagram", marks=pytest.mark.soak)]
)
def test_large_lattices_fit_a_page_and_their_text_fits_the_cells(tmp_path, kind):
    axes = {FRACTION: np.linspace(0.2, 0.8, 30).tolist(), DECAY: [0.1, 1.0, 3.0],
            "model.n_layers": [1, 2]}  # fmt: skip
    study = study_of(tmp_path / "x", axes, seeds=2)
    figure = next(iter(figures_of(study, kind).values()))
    assert figure.get_figwidth() <= 18
    ax = figure.axes[0]
    cell = ax.bbox.width / 30
    assert max(text.get_window_extent().width for text in ax.texts) <= cell


MANY = (*("train_loss", "train_accuracy", "val_loss", "val_accuracy"), *(f"probe_{i:02}" for i in range(22)),
        "rank/0", "rank/1")  # fmt: skip


def recorded(point):
    """26 values that are one number, one of them only at every fourth evaluation, and a vector."""
    usual = stopped_row(point)
    n = len(usual.value)
    value = np.concatenate([usual.value, np.ones((n, 24), np.float32)], 1)
    value[:, 4] = point.get(DECAY, 1.0) * np.arange(n)
    value[np.arange(n) % 4 > 0, 5] = np.nan
    value[:, 6] = 10.0 ** -np.arange(n)
    return Row(point, value, usual.status)


def probe_figures(path, axes, make_row=recorded, seeds=3, probes=MANY):
    write_results(path, {**axes, "seed": range(seeds)}, make_row, probes=probes)
    study = make_study(analysis.load(path), Definitions())
    return study, figures_of(study, "probe_panels")


def titles_of(figure):
    return [ax.get_title().replace(" ", "_") for ax in panels_of(figure)]


def thick(ax):
    return [line for line in ax.lines if line.get_linewidth() > 1]


@pytest.mark.soak
def test_every_recorded_number_has_a_panel_and_vectors_have_none(tmp_path):
    _, found = probe_figures(tmp_path / "x", {DECAY: [0.3, 1.0]})
    assert list(found) == ["probes", "probes_2"]
    titles = [title for figure in found.values() for title in titles_of(figure)]
    assert titles == [name for name in MANY if "/" not in name]
    assert len(titles_of(found["probes"])) == 24
    for figure in found.values():
        assert figure.get_figwidth() <= 12 and figure.get_figheight() <= 12
        assert "n = 6 runs" in caption_of(figure) and "Colours: weight decay." in caption_of(figure)


@pytest.mark.soak
def test_lines_of_probes_are_the_runs_and_their_medians_in_the_colour_of_their_value(tmp_path):
    study, found = probe_figures(tmp_path / "x", {DECAY: [0.3, 1.0], FRACTION: [0.5, 0.8]})
    ax = panels_of(found["probes"])[MANY.index("probe_00")]
    decays = study.dataset[DECAY].to_numpy()
    assert len(ax.lines) == 12 + 2
    for line, decay in zip(thick(ax), [0.3, 1.0], strict=True):
        same = [x for x in ax.lines if x.get_color() == line.get_color() and x is not line]
        assert len(same) == (decays == decay).sum()
        assert line.get_xdata()[0] == 100  # not step 0
        # A run that was stopped keeps its last value.
        last = study.dataset["evaluations_done"].to_numpy()[decays == decay] - 1
        held = decay * np.minimum(line.get_xdata() / 100, last[:, None])
        np.testing.assert_allclose(line.get_ydata(), np.median(held, axis=0), rtol=1e-5)
    assert "over all values of train fraction" in caption_of(found["probes"])
    assert legend_texts(found["probes"]) == ["weight decay 0.3", "weight decay 1"]


@pytest.mark.soak
def test_a_probe_that_is_measured_seldom_has_lines_without_gaps(tmp_path):
    _, found = probe_figures(tmp_path / "x", {DECAY: [0.3, 1.0]})
    ax = panels_of(found["probes"])[MANY.index("probe_01")]
    for line in ax.lines:
        assert len(line.get_xdata()) > 1
        assert (line.get_xdata() % 400 == 0).all() and np.isfinite(line.get_ydata()).all()


@pytest.mark.soak
def test_values_that_span_a_factor_of_a_hundred_have_a_log_axis_but_accuracies_have_none(tmp_path):
    _, found = probe_figures(tmp_path / "x", {DECAY: [0.3, 1.0]})
    scales = dict(zip(titles_of(found["probes"]), panels_of(found["probes"]), strict=True))
    assert scales["probe_02"].get_yscale() == "log"
    assert {scales[name].get_yscale() for name in ("val_accuracy", "probe_03")} == {"linear"}


@pytest.mark.soak
def test_values_that_differ_by_rounding_are_flat(tmp_path):
    def rounded(point):
        row = recorded(point)
        row.value[:, 7] = 1 + 1e-7 * np.arange(len(row.value)) % 3e-7
        return row

    _, found = probe_figures(tmp_path / "x", {DECAY: [0.3, 1.0]}, rounded)
    assert np.ptp(panels_of(found["probes"])[7].get_ylim()) > 0.1


def test_many_runs_are_thinned_and_the_caption_says_so(tmp_path):
    _, found = probe_figures(tmp_path / "x", {DECAY: [0.3, 1.0]}, stopped_row, 200, MANY[:4])
    ax = panels_of(found["probes"])[0]
    assert len(ax.lines) - len(thick(ax)) == 2 * 67
    assert "one of every 3 runs" in caption_of(found["probes"])


@pytest.mark.parametrize("count", [3, 12])
def test_names_of_probe_panels_are_told_apart(tmp_path, count):
    axes = {OPERATION: NAMES[:count]}
    _, found = probe_figures(tmp_path / "x", axes, stopped_row, 2, MANY[:4])
    for ax in panels_of(found["probes"]):
        styles = {(line.get_color(), line.get_marker()) for line in thick(ax)}
        assert len(styles) == count
    assert len(legend_texts(found["probes"])) == count


def test_many_numbers_of_probe_panels_are_read_off_a_colour_bar(tmp_path):
    axes = {DECAY: np.logspace(-1, 1, 10).tolist()}
    _, found = probe_figures(tmp_path / "x", axes, stopped_row, 2, MANY[:4])
    (bar,) = (ax for ax in found["probes"].axes if ax.get_label() == "<colorbar>")
    assert bar.get_ylabel() == "weight decay"


LONG_NAMES = ["x+y", "x*y", "x^3+x*y^2+y (mod p)", "a_name_that_is_longer_than_its_cell", "x^2+y^2"]


def test_every_name_of_an_axis_is_told_and_a_long_one_is_cut(tmp_path):
    axes = {"task.operation": LONG_NAMES, "optimizer.kind": ["sgd", "adamw"]}
    study = study_of(tmp_path / "demo", axes, seeds=2)
    x, y = study.axes
    assert (x.label, y.label) == ("operation", "optimizer")
    cut = {name if len(name) <= 22 else "a_name_that_is_longer…" for name in LONG_NAMES}
    for drawn in (draw_pair(study, x, y), draw_axis(study, x, y)):
        drawn.draw_without_rendering()
        labels = [text for text in drawn.axes[0].get_xticklabels() if text.get_text()]
        assert {text.get_text() for text in labels} == cut
        boxes = [text.get_tightbbox() for text in labels if text.get_rotation() == 90]
        assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))
        assert drawn.axes[0].get_window_extent().height > 0.4 * drawn.bbox.height


def peaked(point):
    """A run whose validation accuracy has its largest value, which depends on its fraction, in the middle."""
    row = never(point)
    value = row.value.copy()
    middle = len(value) // 2
    at = PROBES.index("val_accuracy")
    value[:, at] = 0.1
    value[middle, at] = point[FRACTION]
    return Row(point, value, row.status)


def best_figure(path, axes, make_row, seeds=3):
    return next(iter(figures_of(study_of(path, axes, make_row, seeds), "best_accuracy").values()))


def test_the_best_accuracy_is_that_of_the_best_evaluation(tmp_path):
    fractions = [0.5, 0.6, 0.8]
    (ax,) = panels_of(best_figure(tmp_path / "x", {FRACTION: fractions}, peaked))
    (medians,) = (line for line in ax.lines if line.get_gid() == BEST_MEDIANS)
    np.testing.assert_allclose(medians.get_ydata(), fractions, rtol=1e-6)
    runs = np.concatenate([line.get_ydata() for line in ax.lines if line.get_gid() == BEST_RUNS])
    np.testing.assert_allclose(sorted(runs), np.repeat(fractions, 3), rtol=1e-6)


def test_the_best_accuracy_is_not_drawn_where_every_run_arrived(tmp_path):
    assert not figures_of(study_of(tmp_path / "x", {FRACTION: [0.5, 0.6]}), "best_accuracy")
    assert figures_of(study_of(tmp_path / "y", {FRACTION: [0.5, 0.6]}, half), "best_accuracy")


def test_many_lines_of_best_accuracies_have_no_single_runs(tmp_path):
    axes = {FRACTION: [0.5, 0.6], OPERATION: NAMES[:12]}
    (ax,) = panels_of(best_figure(tmp_path / "x", axes, peaked, seeds=1))
    gids = [line.get_gid() for line in ax.lines]
    assert gids.count(BEST_MEDIANS) == 12
    assert BEST_RUNS not in gids


def test_a_run_that_diverged_counts_with_its_best_until_then(tmp_path):
    def make(point):
        row = peaked(point)
        row.value[1, PROBES.index("val_accuracy")] = 0.3
        return Row(point, row.value[:3], "diverged")

    (ax,) = panels_of(best_figure(tmp_path / "x", {FRACTION: [0.5, 0.6]}, make))
    (medians,) = (line for line in ax.lines if line.get_gid() == BEST_MEDIANS)
    np.testing.assert_allclose(medians.get_ydata(), [0.3, 0.3], rtol=1e-6)
