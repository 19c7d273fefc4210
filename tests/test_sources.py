"""Source tables from made-up results whose medians are known: the right words, numbers and verdicts."""

import dataclasses
import json
import math

import numpy as np
import pytest

from analysis import readings
from analysis.load import load
from analysis.outcomes import CENSORED, HIT, FirstHit
from analysis.sources import __main__ as command
from analysis.sources.__main__ import main
from analysis.sources.core import verdicts
from analysis.sources.core.checks import order
from analysis.sources.core.claims import (
    CONTRADICTED,
    HOLDS,
    NOT_RUN,
    VERDICTS,
    WEAKER,
    Claim,
    Finding,
    MissingError,
    Results,
    UnfinishedError,
)
from analysis.sources.core.configuration import Configuration
from analysis.sources.core.estimates import (
    Estimate,
    of_mean_curve,
    of_times,
    of_values,
    percent,
    plain,
)
from analysis.sources.core.quantities import reaches
from analysis.sources.core.report import BEGIN, END, table
from analysis.sources.core.row import Row as TableRow
from analysis.sources.core.source import load_source, published
from analysis.sources.source_002 import parity_checks
from analysis.sources.source_002 import special as special_002
from analysis.sources.source_004.special import flips, generalises
from analysis.statistics import Interval
from tests.synthetic import EVAL_EVERY, Row, run_values, write_results
from tests.synthetic_sources import write_everything

SOURCE_001, SOURCE_002, SOURCE_004 = (load_source(n) for n in ("001", "002", "004"))
PICTURES = {
    f"{number} {name}": draw
    for number, source in (("001", SOURCE_001), ("002", SOURCE_002), ("004", SOURCE_004))
    for name, draw in source.pictures.items()
}
SETS_002, SETS_004 = published("002").sets, published("004").sets
NORMS = SETS_004["norms"]
NONE, _, _, MLP = NORMS
SCALES = (*SETS_004["scales"], *SETS_004["scales_lr"])
ALPHAS = (0.5, 0.75, 1.0, 1.25, 1.5)
BUDGET = 10_000
STEP = np.arange(0, BUDGET + 1, EVAL_EVERY)
EXTRA = ("fourier_concentration", "val_effective_rank", "train_effective_rank")
PROBES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", *EXTRA)
TIMES = {"mlp-pre": 1000, "pre": 3000, "attn-pre": 7000, "none": 8000}


def row(point, time):
    """The median seed of 0 ... 6 arrives at `time`; ranks and C_Fourier are measured at every fourth evaluation."""
    own = time * (1 + 0.02 * (point["seed"] - 3))
    value = run_values(STEP, 300.0, own if own <= BUDGET else math.inf)
    fourier = np.where(0.8 * own <= STEP, 1.2, 0.01)
    rank = np.where(STEP < 500, 2, 12 + 30 * np.exp(-STEP / own * 3))
    extra = np.stack([fourier, rank, rank], 1)
    extra[np.arange(len(STEP)) % 4 != 0] = np.nan
    value[:, 2] = np.where(own <= STEP, 1e-3, 5000 / time)
    return Row(point, np.concatenate([value, extra], 1).astype(np.float32), "finished")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("results")
    norms = {"model.ln": list(TIMES), "seed": range(7)}
    write_results(
        path / "s004_layernorm", norms, lambda p: row(p, TIMES[p["model.ln"]]), BUDGET, PROBES
    )
    scales = {"model.readout_scale": list(ALPHAS), "seed": range(7)}
    for name, power in (("s004_readout_scale", -1), ("s004_readout_scale_lr", 1)):
        times = {a: 6000 * a**power for a in ALPHAS}
        write_results(
            path / name,
            scales,
            lambda p, times=times: row(p, times[p["model.readout_scale"]]),
            BUDGET,
            PROBES,
        )
    return path


def in_order(group, read):
    """The check `order` on a group, lowest first."""
    return lambda results: order(TableRow(tuple(group), read), results, "rising")


def finding(root, what, claims=SOURCE_004.claims):
    (claim,) = (c for c in claims if c.what == what)
    return claim.find(Results(root))


def test_a_known_median_is_told_with_n_and_its_order_statistics(root):
    e = generalises(MLP.of(Results(root)))
    # Seeds arrive at 940, 960, ... 1060: at evaluations 1,000 (four of them) and 1,100.
    assert (e.interval.estimate, e.interval.low, e.interval.high) == (1000, 900, 1100)
    assert e.text == "n = 7, 1,000 [900, 1,100]"


def test_a_censored_majority_is_beyond_the_budget(root):
    runs = Results(root).runs("s004_readout_scale", model__readout_scale=0.5)
    e = generalises(runs)
    assert math.isinf(e.interval.estimate) and "> 10,000" in e.text and "0 of 7 arrived" in e.text
    assert verdicts.never(e).verdict == HOLDS
    assert verdicts.number(e, 9000).verdict == CONTRADICTED


@pytest.mark.parametrize("done", [0, 2])
def test_runs_in_training_do_not_count_as_late(tmp_path, done):
    def going(point):
        whole, ends = row(point, 5000).value, point["seed"] < done
        return Row(point, whole if ends else whole[:20], "finished" if ends else "running")

    axes = {"model.ln": ["none"], "seed": range(7)}
    write_results(tmp_path / "s004_layernorm", axes, going, BUDGET, PROBES)
    with pytest.raises(MissingError, match=f"{7 - done} of 7 runs are still in training"):
        NONE.of(Results(tmp_path))
    e = generalises(NONE.of(Results(tmp_path, partial=True)))
    assert e.text.endswith(f"{done} of 7 arrived, {7 - done} still in training")
    assert verdicts.never(e).verdict == NOT_RUN
    # Those in training had no chance yet: they are at risk for 1,900 steps only.
    assert math.isnan(e.interval.estimate) if done == 0 else e.interval.estimate == 4700
    assert done or verdicts.number(e, 5000).verdict == NOT_RUN


def test_the_order_of_the_placements_holds(root):
    found = finding(root, "order of the medians, accuracy")
    assert found.verdict == HOLDS and found.ours.startswith("n = 7 each: M 1,000 < M+A* 3,000 <")
    results = Results(root)
    assert in_order(NORMS, generalises)(results).verdict == CONTRADICTED
    assert finding(root, "No LN over M, accuracy").verdict == HOLDS


@pytest.mark.parametrize(
    "what", [c.what for c in SOURCE_004.claims if "C_Fourier reaches 1 b" in c.what]
)
def test_c_fourier_comes_first_where_it_was_made_to(root, what):
    assert finding(root, what).verdict == HOLDS


def test_a_claim_that_the_made_up_results_turn_round_is_contradicted(root):
    assert finding(root, "M: C_Fourier reaches 1 after generalisation").verdict == CONTRADICTED


def test_the_flip_of_alpha_is_seen_and_its_absence_too(root, tmp_path):
    assert flips(TableRow(SCALES, generalises), Results(root)).verdict == HOLDS
    for name in ("s004_readout_scale", "s004_readout_scale_lr"):
        (tmp_path / name).symlink_to(root / "s004_readout_scale")
    assert flips(TableRow(SCALES, generalises), Results(tmp_path)).verdict == CONTRADICTED


def test_configurations_are_rank_correlated(root):
    what = "rank correlation of generalisation with C_Fourier reaching 1, over configurations"
    found = finding(root, what)
    assert found.ours == "rho = 1.00, n = 4 configurations" and found.verdict == HOLDS


def test_the_mean_curve_waits_for_its_slowest_run(root):
    e = of_mean_curve(NONE.of(Results(root)), "val_accuracy", 0.995)
    assert (
        e.interval.estimate == 8500
        and generalises(NONE.of(Results(root))).interval.estimate == 8000
    )
    assert e.interval.low < 8400 and e.interval.high == 8500


@pytest.mark.parametrize("source", [SOURCE_002, SOURCE_004])
def test_without_results_everything_is_not_run(source, tmp_path):
    text = table(source.claims, Results(tmp_path), source.experiments)
    assert f"{len(source.claims)} rows: 0 holds, 0 weaker, 0 contradicted" in text
    assert text.count("**not run**") == len(source.claims)


def test_names_of_claims_are_unique_within_their_part():
    for source in (SOURCE_002, SOURCE_004):
        names = [(c.part, c.what) for c in source.claims]
        assert len(set(names)) == len(names)


def test_every_verdict_is_one_of_the_five(root):
    results = Results(root)
    for claim in (*SOURCE_002.claims, *SOURCE_004.claims):
        assert claim.find(results).verdict in VERDICTS


def estimate(values, low=None, high=None):
    e = of_values(values)
    return (
        e if low is None else Estimate(Interval(e.interval.estimate, low, high), e.values, e.text)
    )


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([1, 2, 3], HOLDS),
        ([1, 2, 9], WEAKER),
        ([1, 9, 9], CONTRADICTED),
        ([1, 2, math.inf], WEAKER),
    ],
)
def test_a_claim_about_every_run_needs_every_run(values, verdict):
    assert verdicts.every(of_values(values), 1, 3).verdict == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(4, 6, HOLDS), (6, 8, WEAKER), (8, 9, CONTRADICTED)]
)
def test_a_median_is_held_against_a_range(low, high, verdict):
    assert verdicts.median(estimate([5.0] * 7, 3, 7), low, high).verdict == verdict


def test_a_published_number_is_held_against_the_interval():
    e = estimate([10.0] * 7, 9, 11)
    assert [verdicts.number(e, x).verdict for x in (9, 11, 11.3, 19, 21, 4.9)] == [
        HOLDS, HOLDS, WEAKER, WEAKER, CONTRADICTED, CONTRADICTED]  # fmt: skip
    assert verdicts.number(e, 11.3, figure=True).verdict == HOLDS
    assert verdicts.number(of_values([10.0, 10.2]), 11).verdict == WEAKER


def test_one_published_run_is_held_against_our_span():
    e = of_values([8.0, *[10.0] * 20, 14.0])
    assert verdicts.one_run(e, 13.9).verdict == HOLDS and verdicts.number(e, 13.9).verdict == WEAKER


def test_an_order_is_contradicted_only_by_intervals_that_stand_apart():
    low, high = estimate([1.0] * 6, 0.5, 2), estimate([2.0] * 6, 1.5, 3)
    assert verdicts.order({"a": low, "b": high}).verdict == HOLDS
    assert verdicts.order({"b": high, "a": low}).verdict == WEAKER
    assert verdicts.order({"b": estimate([9.0] * 6, 8, 9), "a": low}).verdict == CONTRADICTED


def test_numbers_are_written_with_three_digits_that_count():
    samples = {
        0: "0",
        0.123456: "0.123",
        12.34: "12.3",
        7763: "7,763",
        3.2e-8: "3.2e-08",
        1e9: "1.0e+09",
    }
    assert {x: plain(x) for x in samples} == samples
    assert percent(0.10437) == "10.4 %"


def test_readings_of_a_probe_that_is_measured_seldom(root):
    runs = MLP.of(Results(root))
    hit = readings.first_above(runs, "fourier_concentration", 1.0)
    assert (hit.upper - hit.lower == 4 * EVAL_EVERY).all()
    assert (readings.start(runs, "val_effective_rank") == 2).all()
    assert (readings.near_minimum(runs, "val_effective_rank") > 1000).all()
    assert np.isnan(readings.value_at(runs, "val_loss", 2 * BUDGET)).all()
    fall = readings.first_below(runs, "val_loss", 0.01)
    np.testing.assert_array_equal(fall.upper, generalises(runs).values)


def test_epochs_are_steps_over_the_steps_in_each(tmp_path):
    def in_batches(point):
        return Row(point, run_values(STEP, 300.0, 4500.0), "finished", {"steps_per_epoch": 15})

    write_results(tmp_path / "s002_random_split", {"seed": range(6)}, in_batches, BUDGET)
    found = finding(tmp_path, "the same, median", SOURCE_002.claims)
    assert found.ours == "n = 6, 300 [293, 300]" and found.verdict == CONTRADICTED
    runs = Results(tmp_path).runs("s002_random_split")
    assert reaches(runs, "train_accuracy", 0.99).interval.estimate == 20


def test_a_run_has_spent_its_own_budget_in_epochs(tmp_path):
    """Of runs with equal budgets in steps, those with more steps in an epoch have fewer epochs."""

    def in_batches(point):
        steps = 5 if point["split.train_fraction"] == 0.3 else 15
        return Row(point, run_values(STEP, 300.0, np.inf), "finished", {"steps_per_epoch": steps})

    axes = {"split.train_fraction": [0.3, 0.8], "seed": range(3)}
    write_results(tmp_path / "s001_power_operations", axes, in_batches, BUDGET)
    runs = Results(tmp_path).runs("s001_power_operations")
    np.testing.assert_allclose(readings.budgets(runs), [BUDGET / 5] * 3 + [BUDGET / 15] * 3)
    assert runs.attrs["budget"] == BUDGET / 5
    assert readings.budget_told(runs) == f"{BUDGET / 15:,.0f} to {BUDGET / 5:,.0f}"
    never = reaches(runs, "val_accuracy", 0.99)
    assert np.isinf(never.values).all() and "in training" not in never.text
    assert f"> {BUDGET / 15:,.0f}" in never.text


@pytest.mark.soak
def test_the_command_writes_between_markers_and_keeps_the_prose(
    root, tmp_path, capsys, monkeypatch
):
    # Drawing is slow, and tried below; one picture that is there and one that is not will do.
    few = {n: SOURCE_004.pictures[n] for n in ("layernorm_accuracy", "rmsnorm")}
    small = dataclasses.replace(SOURCE_004, pictures=few)
    monkeypatch.setattr(command, "load_source", {"004": small}.__getitem__)
    out = tmp_path / "docs" / "source_004"
    assert main(["004", str(root), str(out)]) == 0
    file = out.with_name("source_004.md")
    first = file.read_text()
    assert first.startswith("# Source 004") and "| M: median time to accuracy 0.995 |" in first
    file.write_text(first.replace(BEGIN, f"Our words.\n\n{BEGIN}\nstale") + "\nThe end.\n")
    assert main(["004", str(root), str(out)]) == 0
    again = file.read_text()
    assert "Our words." in again and again.endswith("\nThe end.\n") and "stale" not in again
    assert again.count(BEGIN) == again.count(END) == 1
    assert (
        again[again.index(BEGIN) : again.index(END)] == first[first.index(BEGIN) : first.index(END)]
    )
    assert [file.name for file in out.glob("*.png")] == ["layernorm_accuracy.png"]
    assert str(file) in capsys.readouterr().out
    rows = (out / "s004_layernorm_runs.csv").read_text().splitlines()
    assert len(rows) == 1 + load(root / "s004_layernorm").sizes["run"]
    assert not (out / "s004_rmsnorm_runs.csv").exists()


@pytest.mark.parametrize("text", [BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_broken_markers_are_refused_and_the_file_stays(text, tmp_path, capsys):
    (tmp_path / "x.md").write_text(text)
    assert main(["002", str(tmp_path), str(tmp_path / "x")]) == 2
    assert (tmp_path / "x.md").read_text() == text
    assert capsys.readouterr().err.count("\n") == 1


def test_prose_without_markers_gets_the_table_at_its_end(tmp_path):
    (tmp_path / "x.md").write_text("Words.\n")
    assert main(["002", str(tmp_path), str(tmp_path / "x")]) == 0
    assert (tmp_path / "x.md").read_text().startswith(f"Words.\n\n{BEGIN}\n")


def test_a_missing_directory_of_results_is_one_sentence(tmp_path, capsys):
    assert main(["002", str(tmp_path / "no"), str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and not (tmp_path / "x.md").exists()


def test_a_bar_in_a_cell_does_not_break_the_table(tmp_path):
    claim = Claim("p", "a|b", "1", lambda r: Finding("2", HOLDS, "c|d"))
    assert "| a\\|b | 1 | 2 | **holds** | c\\|d |" in table([claim], Results(tmp_path), [])


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    return Results(write_everything(tmp_path_factory.mktemp("everything")))


@pytest.mark.parametrize(
    "name",
    [n if i % 8 == 0 else pytest.param(n, marks=pytest.mark.soak) for i, n in enumerate(PICTURES)],
)
def test_every_picture_is_drawn_with_n_and_without_empty_panels(name, everything):
    figure = PICTURES[name](everything)
    caption = " ".join(text.get_text() for text in figure.texts)
    assert "n = " in caption
    for ax in figure.axes:
        assert ax.lines or ax.patches or ax.collections, (name, ax.get_ylabel())


@pytest.mark.parametrize("name", [*PICTURES])
def test_a_picture_without_results_is_missing_and_no_error(name, tmp_path):
    with pytest.raises(MissingError):
        PICTURES[name](Results(tmp_path))


def test_with_everything_there_only_a_few_rows_are_not_run(everything):
    for source, unknown in ((SOURCE_002, WITHOUT_RESULTS_002), (SOURCE_004, WITHOUT_RESULTS_004)):
        found = [c.what for c in source.claims if c.find(everything).verdict == NOT_RUN]
        late = [what for what in found if " at epoch " in what or "6,667" in what]
        assert set(found) - set(late) <= unknown


WITHOUT_RESULTS_002 = {
    "time of five seeds",
    *[c.what for c in SOURCE_002.claims if "linear" in c.what or "embedding" in c.what.lower()],
    *[c.what for c in SOURCE_002.claims if c.what.startswith(("the same, ", "fall of the eff"))],
    "speed of the weights (per step, over their norm), grokking",
}
"""No clock; the made-up results have no weights at the end and three sets in all, end before most
epochs that are asked for, and jump from 85 to 100 %."""
WITHOUT_RESULTS_004 = {
    "order of the medians, loss",
    *[c.what for c in SOURCE_004.claims if c.what.startswith(("parameters, ", "rank correlation"))],
}
"""No weights; the made-up test loss never falls to 0.01, and the ranks are the same in all configurations."""


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_an_intervention_is_compared_seed_by_seed(tmp_path, factor):
    def row(point):
        slow = 1 if point["intervention.armed"] == "True" else 1 / factor
        time = 2000 * slow * (1 + 0.2 * point["seed"])
        return Row(point, run_values(STEP, 100.0, time), "finished")

    axes = {
        "intervention.armed, intervention.factor": [("False", 2.0), ("True", 4.0)],
        "seed": range(6),
    }
    write_results(tmp_path / "s002_scale_output", axes, row, BUDGET)
    arm = SETS_002["arms"][-1]
    found = special_002.earlier(TableRow((arm,), generalises), Results(tmp_path))
    assert found.verdict == (HOLDS if factor < 1 else CONTRADICTED)
    assert found.ours == f"n = 6, {factor:g} [{factor:g}, {factor:g}]"


def test_weights_are_read_where_no_probe_has_measured(tmp_path):
    path = tmp_path / "s002_random_split"
    random = np.random.default_rng(0)

    def row(point):
        W_0 = random.normal(size=(4, 128, 128)).astype(np.float32)
        W_0[[1, 3], :, :117] = 1e-3  # 117 of 128 columns: 91.4 % of what '+' and '=' feed
        tensors = {
            "W_0": W_0.reshape(512, 128),
            "W_E": np.full((99, 128), 4.3 / 128**0.5, np.float32),
        }
        return Row(point, run_values(STEP, 300, 900), "finished", weights=tensors)

    write_results(path, {"seed": range(6)}, row, int(STEP[-1]))
    find = lambda what: finding(tmp_path, what, SOURCE_002.claims)  # noqa: E731
    fed = "share below 0.01 among linear 1's weights fed by '+' and '='"
    assert find(fed).verdict == HOLDS
    assert find("the same, fed by a and b").verdict == CONTRADICTED
    assert find("embedding norm of a number").ours.startswith("n = 6, 4.3 ")
    larger = "embedding norm of '+' and '=', the larger of both"
    assert find(larger).verdict == CONTRADICTED


@pytest.mark.parametrize(("n", "expected"), [(2, WEAKER), (3, CONTRADICTED)])
def test_few_runs_contradict_only_what_is_far_off(n, expected):
    e = of_values([10.0] * n)
    assert verdicts.number(e, 35).verdict == expected
    assert verdicts.number(e, 45).verdict == verdicts.number(e, 2.2).verdict == CONTRADICTED


def test_without_limits_a_factor_of_two_is_near():
    few, many = of_values([10.0] * 5), of_values([10.0] * 6)
    assert [verdicts.median(e, 15, 16).verdict for e in (few, many)] == [WEAKER, CONTRADICTED]
    assert [verdicts.at_least(e, 19).verdict for e in (few, many)] == [WEAKER, CONTRADICTED]
    assert [verdicts.at_most(e, 6).verdict for e in (few, many)] == [WEAKER, CONTRADICTED]
    assert verdicts.median(few, 21, 22).verdict == CONTRADICTED
    assert verdicts.at_least(few, 21).verdict == verdicts.at_most(few, 4).verdict == CONTRADICTED


def test_a_run_that_spent_its_budget_early_could_have_arrived_before_the_others():
    """Ten runs arrive at 100 to 1,000. Two more count as the latest only if they were watched as long."""
    hits = np.arange(100.0, 1001.0, 100.0)

    def times(spent):
        lower, upper = np.r_[hits - 100, spent, spent], np.r_[hits, np.inf, np.inf]
        outcome = FirstHit(0.99, lower, upper, np.array([HIT] * 10 + [CENSORED] * 2))
        return of_times(outcome, np.r_[[2000.0] * 10, spent, spent]).interval

    assert times(2000.0) == Interval(600.0, 200.0, 1000.0)  # the 3rd (after 200) and the 10th of 12
    assert times(150.0) == Interval(600.0, 200.0, 800.0)  # of Kaplan and Meier


def test_nobody_knows_the_order_of_what_lies_beyond_the_budget():
    one, late = estimate([5.0] * 6, 4, 6), estimate([math.inf] * 6, math.inf, math.inf)
    found = verdicts.order({"a": one, "b": late, "c": late})
    assert found.verdict == HOLDS and "2 lie beyond the budget" in found.evidence
    assert verdicts.order({"b": late, "c": late}).verdict == NOT_RUN
    assert verdicts.order({"b": late, "a": one}).verdict == CONTRADICTED


def test_an_order_is_that_of_the_configurations_that_were_run(root, tmp_path):
    chosen = tuple(reversed(NORMS))
    whole = in_order(chosen, generalises)(Results(root))
    assert "Not run" not in whole.evidence
    without = (
        chosen[0],
        Configuration("other", "s004_layernorm", (("model.ln", "post"),)),
        *chosen[1:],
    )
    found = in_order(without, generalises)(Results(root))
    assert found.ours == whole.ours and found.verdict == whole.verdict
    assert found.evidence == f"{whole.evidence} Not run: other."
    with pytest.raises(MissingError, match="no results yet"):
        in_order(chosen, generalises)(Results(tmp_path))


def test_an_order_does_not_leave_out_what_is_still_in_training(tmp_path):
    places = ["mlp-pre", "none"]

    def going(point):
        late = point == {"model.ln": "none", "seed": 2}
        return Row(point, run_values(STEP, 300.0, 4500.0), "running" if late else "finished")

    write_results(
        tmp_path / "s004_layernorm", {"model.ln": places, "seed": range(3)}, going, BUDGET
    )
    with pytest.raises(UnfinishedError, match="1 of 3 runs are still in training"):
        in_order((MLP, NONE), generalises)(Results(tmp_path))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_times_have_no_limits_to_hold_anything_with(n, tmp_path):
    axes = {"model.ln": ["none"], "seed": range(n)}
    write_results(tmp_path / "s004_layernorm", axes, lambda p: row(p, 150), BUDGET, PROBES)
    e = generalises(NONE.of(Results(tmp_path)))
    assert e.text.endswith("(too few for limits)") and math.isfinite(e.interval.estimate)
    assert verdicts.number(e, 3e9).verdict == CONTRADICTED
    assert verdicts.number(e, 1.5 * e.interval.estimate).verdict == WEAKER


def test_the_best_of_runs_that_never_arrive_is_beyond_the_budget(tmp_path):
    axes = {"model.ln": ["none"], "seed": range(6)}
    late = lambda p: row(p, 4000 if p["seed"] == 0 else 50_000)  # noqa: E731
    write_results(tmp_path / "s004_layernorm", axes, late, BUDGET, PROBES)
    found = finding(tmp_path, "No LN: best of five seeds reaches accuracy 1")
    assert found.ours.endswith(", > 10,000]") and "e+308" not in found.ours + found.evidence


def test_a_run_that_diverged_is_left_out_of_extremes_and_keeps_a_mean_from_arriving(tmp_path):
    def one_diverges(point):
        whole = row(point, 3000)
        if point["seed"]:
            return whole
        return dataclasses.replace(whole, value=whole.value[:3], status="diverged")

    axes = {"model.ln": ["none"], "seed": range(6)}
    write_results(tmp_path / "s004_layernorm", axes, one_diverges, BUDGET, PROBES)
    peak = finding(tmp_path, "No LN: peak of the mean test loss")
    assert peak.ours.startswith("n = 5, 1.67") and "1 diverged and are left out" in peak.evidence
    arrival = finding(tmp_path, "No LN: mean test accuracy reaches 0.995")
    assert arrival.ours.startswith("n = 6, > 10,000")


def test_measurements_of_runs_that_train_on_are_not_told(tmp_path):
    write_everything(tmp_path, ["s004_readout_scale"], "running")
    ntk = "NTK distance at alpha 1.5 (largest)"
    assert "still in training" in finding(tmp_path, ntk).evidence


def test_only_a_fall_of_the_effective_size_counts_as_one():
    epochs = np.array([[0.0, 10, 20, 30, 40]] * 2)
    size = np.array([[500.0, 400, 40, 20, 15], [15.0, 20, 40, 400, 500]])
    found = parity_checks.judge_fall(np.array([20.0, 20.0]), epochs, size)
    assert found.evidence == "Tenfold within 20 epochs: 1 of 2."


def test_settings_of_the_command_line_stand_in_the_table(tmp_path):
    name = "s001_skip_trigram"
    write_everything(tmp_path, [name])
    (line,) = [
        x for x in table([], Results(tmp_path), [name]).splitlines() if x.startswith(f"| {name}")
    ]
    assert line.endswith(" | not recorded |")
    record = tmp_path / name / "provenance.jsonl"
    record.write_text(json.dumps({"command": ["run.py", "configs/x.yaml", "--out", "a=b"]}) + "\n")
    assert "| none |" in table([], Results(tmp_path), [name])
    commands = [
        ["run.py", "configs/x.yaml", "--out", "r/a=b", "train.steps=9", "axes.seed=[0,1]"],
        ["run.py", "--measure", "r/a=b"],
        ["run.py", "configs/x.yaml", "axes.seed=[0,1]", "--no-figures", "task.operation=a|b"],
        ["run.py", "configs/x.yaml", "axes.model.d_model, model.d_mlp=[[2, 8]]"],
    ]
    lines = "".join(json.dumps({"command": command}) + "\n" for command in commands)
    record.write_text(lines + '{"command": ["run.py", "x=')
    text = table([], Results(tmp_path), [name])
    assert (
        r"| `train.steps=9`, `axes.seed=[0,1]`, `task.operation=a\|b`, `axes.model.d_model, model.d_mlp=[[2, 8]]` |"
        in text
    )


def test_the_best_accuracies_of_configurations_stand_at_their_fractions(tmp_path):
    rate, fraction = "optimizer.learning_rate", "split.train_fraction"

    def made(point):
        values = run_values(STEP, 100.0, np.inf)
        values[2, 3] = 0.4 if point[rate] < 1e-3 else point[fraction]
        return Row(point, values, "finished")

    axes = {rate: [3e-4, 3e-3], fraction: [0.5, 0.8], "seed": range(3)}
    write_results(tmp_path / "s001_power_rates", axes, made, BUDGET)
    (ax,) = PICTURES["001 power_variants"](Results(tmp_path)).axes
    medians = {line.get_label(): np.asarray(line.get_ydata()) for line in ax.lines}
    assert medians["Adam lr 3e-4"] == pytest.approx([0.4, 0.4])
    assert medians["Adam lr 3e-3"] == pytest.approx([0.5, 0.8])
