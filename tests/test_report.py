"""The page: its numbers are those of the tables, its texts are data, and it is written whole."""

import base64
import json
import os
import shutil
import subprocess
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

import analysis
from analysis.outcomes import STATES
from analysis.phases import most_probable, probabilities
from analysis.report import follow as following
from analysis.report.curves import METRICS, curve, grids_of, rounded, thinned
from analysis.report.packing import pack
from analysis.report.page import NUMBERS, SCRIPTS, STATIC, as_json, code, page
from analysis.report.writing import FOLDER, PAGE, whole_data, write_report
from analysis.statistics import median_interval, summarise
from analysis.study import Definitions, accuracy_outcome, make_study
from tests.synthetic import Row, stopped_row, write_results

AXES = {
    "split.train_fraction": [0.3, 0.5, 0.8],
    "optimizer.weight_decay": [0.3, 1.0],
    "seed": range(7),
}
node = pytest.mark.skipif(
    shutil.which("node") is None,
    reason="NODE IS NOT INSTALLED: the numbers of the page are not compared with the tables",
)


def mixed_row(point):
    """Every way in which a run can end; different hits at different levels."""
    random = np.random.default_rng([point["seed"], int(100 * point["split.train_fraction"])])
    row = stopped_row(point)
    end = ["finished", "diverged", "running", "waiting"][int(random.integers(4))]
    if random.random() < 0.4:
        return Row(point, row.value[: 0 if end == "waiting" else len(row.value) // 3], end)
    if random.random() < 0.2:  # no training hit either, at any level
        return Row(point, np.minimum(row.value, 0.4), row.status)
    return row


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("results") / "demo", AXES, mixed_row)


@pytest.fixture(scope="module")
def study(results):
    return make_study(analysis.load(results), Definitions())


def by_node(what, data, tmp_path):
    """What the scripts of the page say."""
    file = tmp_path / "data.json"
    file.write_text(as_json(data), encoding="utf-8")
    scripts = ",".join(str(STATIC / name) for name in NUMBERS)
    command = ["node", str(Path(__file__).with_name("page_numbers.mjs")), scripts, str(file), what]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def number(told):
    return {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}.get(told, told)


def same(told, expected, exact=True):
    told = [number(value) for value in told]
    (np.testing.assert_array_equal if exact else np.testing.assert_allclose)(told, expected)


@node
def test_the_page_computes_the_numbers_of_all_cells(study, results, tmp_path):
    """At every level; the interval of a share is a formula whose last bits may differ."""
    told = iter(by_node("cells", whole_data(study, results, None), tmp_path))
    for level in sorted({0.5, 0.9, 0.95, 0.99, 0.995}):
        reached = accuracy_outcome(study.dataset, "val", level)
        for cell in study.cells():
            page_cell = next(told)
            expected = summarise(reached.of(cell.runs), study.status[cell.runs])
            assert page_cell["level"] == level
            assert page_cell["values"] == [
                axis.values[i] for axis, i in zip(study.axes, cell.index, strict=True)
            ]
            counts = ("n", "hits", "censored", "diverged", "notObserved", "undecided")
            names = ("n", "hits", "censored", "diverged", "not_observed", "undecided")
            same([page_cell[c] for c in counts], [getattr(expected, name) for name in names])
            median, share = expected.median, expected.share
            same(page_cell["median"].values(), [median.estimate, median.low, median.high])
            same(page_cell["share"].values(), [share.estimate, share.low, share.high], exact=False)
            phases = study.phases[cell.runs]
            same(page_cell["shares"], list(probabilities(phases).values()), exact=False)
            assert page_cell["phase"] == most_probable(phases)
    assert next(told, None) is None


@node
def test_the_page_has_the_brackets_and_delays_of_all_runs(study, results, tmp_path):
    told = by_node("runs", whole_data(study, results, None), tmp_path)
    table = analysis.table.table_columns(study)
    for run, levels in enumerate(told):
        for level, found in zip((0.5, 0.9, 0.95, 0.99, 0.995), levels, strict=True):
            for split in ("train", "val"):
                prefix = f"{split}_{level:g}"
                assert STATES[found[split]["state"]] == table[f"{prefix}_state"][run]
                bracket = [found[split]["lower"], found[split]["upper"]]
                same(bracket, [table[f"{prefix}_{end}"][run] for end in ("after", "until")])
            same([found["delay"]], [table[f"delay_{level:g}"][run]])
            same([found["ratio"]], [table[f"ratio_{level:g}"][run]])


@node
def test_medians_and_intervals_of_other_numbers_agree(study, results, tmp_path):
    random = np.random.default_rng(1)
    lists = [random.choice([1.0, 2.5, 7.0, np.inf, np.nan], n).tolist() for n in range(30)]
    told = by_node(
        "medians",
        whole_data(study, results, None)
        | {
            "lists": [
                [str(v).replace("inf", "Infinity").replace("nan", "NaN") for v in x] for x in lists
            ]
        },
        tmp_path,
    )
    for found, values in zip(told, lists, strict=True):
        expected = median_interval(values)
        same(found.values(), [expected.estimate, expected.low, expected.high])


@node
def test_curves_are_those_of_the_dataset(study, results, tmp_path):
    """To a part in 30,000 of the range; the loss, which spans decades, of its logarithm."""
    told = by_node("curves", whole_data(study, results, None), tmp_path)
    assert set(told) == set(METRICS)
    for probe, block in told.items():
        steps = block["steps"]["0"]
        at = np.searchsorted(study.dataset["step"].to_numpy()[0], steps)
        done = study.dataset["evaluations_done"].to_numpy()
        for run, row in enumerate(block["rows"]):
            seen = at < done[run]
            real = study.dataset["value"].sel(probe=probe).to_numpy()[run, at[seen]]
            shown = np.array(row[: len(steps)], object)
            assert all(value is None for value in shown[~seen])
            np.testing.assert_allclose(shown[seen].astype(float), real, rtol=5e-4, atol=2e-5)


@node
def test_the_filter_takes_conditions_and_names_what_is_wrong(study, results, tmp_path):
    rows = [
        {"optimizer.weight_decay": 1.0, "status": "finished", "a.kind": "x", "b.kind": "y"},
        {"optimizer.weight_decay": 0.1, "status": "stopped", "a.kind": "z", "b.kind": "y"},
    ]
    queries = {
        "": [True, True],
        "weight_decay >= 1": [True, False],
        "optimizer.weight_decay<1 and status = stopped": [False, True],
        "status != stopped, weight_decay > 0": [True, False],
        "status ~ fin": [True, False],
        "a.kind = 'z'": [False, True],
        "weight": "“weight” must be a condition such as weight_decay >= 1",
        "kind = x": "“kind” could be a.kind or b.kind; write the whole name",
    }
    data = whole_data(study, results, None) | {"queries": list(queries), "rows": rows}
    assert by_node("queries", data, tmp_path) == list(queries.values())


@pytest.mark.parametrize(
    "values",
    [
        [0, 255],
        [0, 256],
        [-1, 70000],
        [0.5, np.nan, np.inf],
        [0.1],
        [2.0**40, 1.5],
        ["b", "a", "b"],
    ],
)
def test_packing_keeps_every_number(values):
    packed, expected = pack(np.array(values)), values
    words = packed.get("words")
    inner = packed["code"] if words else packed
    raw = zlib.decompress(base64.b64decode(inner["z"]))
    got = np.frombuffer(raw, np.dtype(inner["type"]).newbyteorder("<"))
    np.testing.assert_array_equal([words[i] for i in got] if words else got, expected)


def test_thinned_evaluations_keep_the_ends_and_skip_what_has_no_value():
    step = np.arange(0, 100_000, 25.0)
    known = np.arange(len(step)) % 4 == 0
    kept = thinned(step, known, 64)
    assert len(kept) <= 64 and known[kept].all() and kept[0] == 0
    assert kept[-1] == np.flatnonzero(known)[-1]
    # In logarithm as in steps, no large gap.
    assert np.diff(step[kept]).max() <= 100_000 / 25
    assert (step[kept][2:] / step[kept][1:-1]).max() <= 2


def test_values_are_rounded_to_less_than_a_pixel():
    values = np.array([[1e-6, 3.0, np.nan], [10.0, 0.0, 2e-3]])
    codes, scale = rounded(values, 255)
    assert scale["log"] and codes[0, 2] == 255
    back = np.exp(scale["lo"] + (scale["hi"] - scale["lo"]) * codes / 254)
    positive = values > 0
    assert np.abs(np.log(back / np.where(positive, values, 1)))[positive].max() <= np.log(1e7) / 254


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def test_texts_in_results_are_data(tmp_path):
    axes = {"split.train_fraction": [0.3], "note": [HOSTILE, "plain"], "seed": [0]}
    path = write_results(tmp_path / "demo", axes, lambda point: stopped_row(point))
    dataset = analysis.load(path).assign_attrs(name=HOSTILE)
    study = make_study(dataset, Definitions())
    (file,) = write_report(study, path)
    text = file.read_text(encoding="utf-8")
    assert "<script>alert" not in text and "<img" not in text and "onerror=alert(2)>" not in text
    data = text.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    assert json.loads(data)["name"] == HOSTILE
    assert HOSTILE in json.loads(data)["axes"][0]["values"]
    assert text.count("<script") == 3


def test_the_code_of_the_page_is_small_and_asks_no_network():
    text = page({"name": "x"})
    assert len(text.encode()) <= 150_000
    ours = code(SCRIPTS)
    assert (
        "http://" not in ours.replace("http://www.w3.org/2000/svg", "") and "https://" not in ours
    )
    assert "fetch(" not in ours and "innerHTML" not in ours and "eval(" not in ours
    assert "Permission is hereby granted" in text  # the licence of uPlot travels with it


def test_large_experiments_have_their_curves_beside_the_page(study, tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.report.writing.INSIDE", 10)
    monkeypatch.setattr("analysis.report.writing.BLOCK", 20)
    written = write_report(study, tmp_path)
    names = {file.name for file in written}
    blocks = -(-study.n_runs // 20)
    assert {f"curves_{p}_{k}.js" for p in range(4) for k in range(blocks)} <= names
    side = (tmp_path / FOLDER / "curves_1_2.js").read_text()
    assert side.startswith("grokjaxCurves(") and '"val_accuracy"' in side and '"first":40' in side


def test_a_page_of_a_training_is_followed_and_the_last_one_is_whole(study, tmp_path):
    write_report(study, tmp_path, {"done": 3, "runs": 9, "seconds_left": None})
    folder = tmp_path / FOLDER
    assert (folder / "data.js").read_text().startswith("grokjaxData(")
    assert '"ended":false' in (folder / "version.js").read_text()
    assert '"live":true' in (tmp_path / PAGE).read_text()
    write_report(study, tmp_path)
    assert not (folder / "data.js").exists()
    assert '"ended":true' in (folder / "version.js").read_text()
    assert '"live":false' in (tmp_path / PAGE).read_text()


def followed(path, monkeypatch):
    """A following thread, and the end of the pipe that the training would hold."""
    monkeypatch.setattr(following, "LEAST_PAUSE", 0.05)
    monkeypatch.setattr(following, "SHARE", 1e9)
    source, mine = os.pipe()
    thread = threading.Thread(target=following.follow, args=(path, source), daemon=True)
    thread.start()
    return thread, mine


def version_of(path):
    file = path / FOLDER / "version.js"
    return file.read_text() if file.exists() else ""


def wait_for(condition):
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("ends_well", [True, False])
def test_the_following_process_ends_with_the_training(results, tmp_path, monkeypatch, ends_well):
    """It writes the last page only where the training does not say that it does."""
    path = shutil.copytree(results, tmp_path / "copy")
    thread, pipe = followed(path, monkeypatch)
    os.write(pipe, b'{"done": 3, "runs": 42, "seconds_left": 7}\n')
    wait_for(lambda: '"done":3' in ((path / PAGE).read_text() if (path / PAGE).exists() else ""))
    if ends_well:
        os.write(pipe, b'"end"\n')
    else:
        os.close(pipe)
    thread.join(20)
    assert not thread.is_alive()
    assert ('"ended":false' if ends_well else '"ended":true') in version_of(path)
    assert not list(path.rglob("*.partial"))


def test_it_waits_for_the_first_results(tmp_path, monkeypatch):
    monkeypatch.setattr(following, "RETRY", 0.05)
    path = tmp_path / "demo"
    thread, pipe = followed(path, monkeypatch)
    time.sleep(0.2)
    assert thread.is_alive() and not path.exists()
    write_results(path, {"seed": [0]})
    wait_for(lambda: (path / PAGE).exists())
    os.write(pipe, b'"end"\n')
    thread.join(20)
    assert not thread.is_alive()


def test_curves_of_every_block_have_the_same_length(study):
    _, grid = grids_of(study.dataset["step"].to_numpy())
    block = curve(study, "val_loss", slice(3, 9), grid)
    assert block["first"] == 3 and block["codes"]["shape"][0] == 6
