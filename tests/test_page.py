"""The page in a real browser, headless Chromium: clicks, the table, its address, and a training that goes on."""

import contextlib
import csv
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import psutil
import pytest

import analysis
from analysis.commands.serve import make_server
from analysis.report import write_report
from analysis.study import Definitions, make_study
from analysis.table import write_cells, write_table
from tests.synthetic import stopped_row, write_results

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
try:
    from playwright.sync_api import Error, sync_playwright
except ImportError:
    sync_playwright = None

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(
        CHROMIUM is None or sync_playwright is None,
        reason="NO CHROMIUM OR NO PLAYWRIGHT: the page is not tried in a browser",
    ),
]
AXES = {
    "split.train_fraction": [0.3, 0.5, 0.8],
    "optimizer.weight_decay": [0.3, 1.0],
    "seed": range(7),
}


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        flags = ["--no-sandbox"] if os.getuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page that may ask nothing but files, and whose console must stay empty."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000}, accept_downloads=True)
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(f"dialog {dialog.message}"))
    yield page
    foreign = [
        url for url in asked if not url.startswith(("file:", "data:", "blob:", "http://127.0.0.1:"))
    ]
    page.close()
    assert not foreign and not said


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = write_results(tmp_path_factory.mktemp("results") / "demo", AXES)
    study = make_study(analysis.load(path), Definitions())
    write_report(study, path)
    write_cells(study, path / "cells.csv")
    write_table(study, path / "runs.csv")
    return path


def rows_of(file):
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def open_page(page, path, state=None):
    fragment = "" if state is None else "#" + json.dumps(state)
    page.goto(f"{(path / 'report.html').as_uri()}{fragment}")
    page.wait_for_selector("html[data-ready]")


def state_of(page):
    return json.loads(unquote(page.url.partition("#")[2]) or "{}")


def click_cell(page, number, add=False):
    """Click in the middle of a cell, and wait for curves."""
    x, y, w, h = page.evaluate(f"grokjax.view.layout.cells[{number}].rect")
    page.locator("#diagram").click(
        position={"x": x + w / 2, "y": y + h / 2}, modifiers=["Shift"] if add else []
    )
    page.wait_for_selector(".chart canvas")


def wait_until(page, script, arg=None, seconds=30):
    """By asking again and again: the page's own rules forbid what Playwright's waiting does."""
    until = time.monotonic() + seconds
    while True:
        # Between two pages there may be nothing to ask.
        with contextlib.suppress(Error):
            if page.evaluate(script, arg):
                return
        assert time.monotonic() < until
        time.sleep(0.05)


def counts(page, text):
    """Wait until the line above the table begins so."""
    wait_until(page, "t => document.querySelector('#count').textContent.startsWith(t)", text)


def lines(page, chart=0):
    """Lines of single runs in a chart."""
    script = f"document.querySelectorAll('.chart')[{chart}].spec.lines.filter(l => l.run !== undefined).length"
    return page.evaluate(script)


def median(page):
    """The median of the first cell, as the page shows it."""
    return page.locator("tr[data-median]").first.get_attribute("data-median")


def test_a_click_shows_the_curves_and_the_median_of_each_cell(page, results):
    open_page(page, results)
    cells = rows_of(results / "cells.csv")
    assert page.evaluate("grokjax.view.layout.cells.length") == len(cells) == 6
    for number, cell in enumerate(cells):
        click_cell(page, number)
        key = state_of(page)["cells"]
        assert key == [
            {name: float(cell[name]) for name in ("split.train_fraction", "optimizer.weight_decay")}
        ]
        shown = "n => document.querySelector('#selection').textContent.startsWith(n + ' runs')"
        wait_until(page, shown, cell["n"])
        wait_until(page, "document.querySelectorAll('.chart canvas').length === 3")
        assert lines(page) == 2 * int(cell["n"])
        assert float(median(page)) == float(cell["median"])
    assert "7 selected" in page.locator("#count").inner_text()


def test_the_keyboard_does_what_the_mouse_does(page, results):
    open_page(page, results)
    page.locator("#diagram").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    told = page.locator("#announced").inner_text()
    assert "train fraction 0.5, weight decay 1" in told and "n = 7" in told
    page.keyboard.press("Enter")
    page.wait_for_selector(".chart canvas")
    assert state_of(page)["cells"] == [{"split.train_fraction": 0.5, "optimizer.weight_decay": 1}]


def test_the_table_filters_sorts_and_says_what_is_wrong(page, results):
    open_page(page, results)
    page.fill("#filter", "weight_decay >= 1 and train_fraction = 0.8")
    counts(page, "7 of 42")
    page.click("th button:has-text('seed')")
    place = page.locator("#runs thead th").all_inner_texts().index("seed ▲") + 1
    seeds = page.locator(f"#runs tbody td:nth-child({place})").all_inner_texts()
    assert seeds == [str(seed) for seed in range(7)]
    page.fill("#filter", "colour = red")
    wait_until(page, "document.querySelector('#problem').textContent.includes('colour')")


def test_what_is_selected_can_be_saved_as_csv(page, results, tmp_path):
    open_page(page, results)
    click_cell(page, 5)
    with page.expect_download() as saved:
        page.click("#csv")
    saved.value.save_as(tmp_path / "x.csv")
    told = {row["id"]: row for row in rows_of(tmp_path / "x.csv")}
    expected = {
        row["id"]: row for row in rows_of(results / "runs.csv")
        if (row["split.train_fraction"], row["optimizer.weight_decay"]) == ("0.8", "1")
    }  # fmt: skip
    assert told.keys() == expected.keys() and len(told) == 7
    for run, row in told.items():
        assert row["status"] == expected[run]["status"]
        assert row["val_0.99_step"] == expected[run]["val_0.99_step"]


def test_axes_change_and_the_address_brings_the_view_back(page, results):
    open_page(page, results)
    page.select_option("#x", "optimizer.weight_decay")
    page.select_option("#y", "")
    page.select_option("#facet", "split.train_fraction")
    page.select_option("#colour", "phase")
    page.select_option("#theme", "dark")
    click_cell(page, 0)
    click_cell(page, 1, add=True)
    page.fill("#filter", "seed < 3")
    counts(page, "18 of 42")
    before = page.url, state_of(page)
    page.reload()
    page.wait_for_selector("html[data-ready]")
    page.wait_for_selector(".chart canvas")
    assert (page.url, state_of(page)) == before
    assert len(before[1]["cells"]) == 2
    assert "14 selected" in page.locator("#count").inner_text()
    assert page.locator("#facet").input_value() == "split.train_fraction"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 27)"


def test_a_second_click_shows_the_run(page, results):
    open_page(page, results)
    click_cell(page, 4)
    page.locator("tr.selected button").first.click()
    card = page.locator(".card")
    run = rows_of(results / "runs.csv")
    shown = card.locator("h3").inner_text().split()[1]
    row = next(row for row in run if row["id"] == shown)
    text = card.inner_text()
    assert f"({row['val_0.99_after']}, {row['val_0.99_until']}]" in text
    assert row["status"] in text and f"groups/{row['group']}/ended" in text


def test_names_are_shown_and_not_run(page, tmp_path):
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    axes = {"split.train_fraction": [0.3, 0.5], "note": [hostile, "plain"], "seed": [0]}
    path = write_results(tmp_path / "demo", axes, lambda point: stopped_row(point))
    dataset = analysis.load(path).assign_attrs(name=hostile)
    write_report(make_study(dataset, Definitions()), path)
    open_page(page, path)
    assert page.locator("h1").inner_text() == hostile
    click_cell(page, 0)
    assert hostile in page.locator("#selection").inner_text() + page.locator("#runs").inner_text()


def test_an_address_from_anywhere_does_no_harm(page, results):
    for state in (
        {"x": "no", "sort": ["no", 1], "cells": [None, 3]},
        [1],
        {"fix": {"a": {}}, "run": "x"},
    ):
        page.goto("about:blank")
        open_page(page, results, state)
        assert page.locator("#runs tbody tr").count() == 42


def test_an_open_page_takes_up_new_runs_and_keeps_its_selection(page, results, tmp_path):
    path = tmp_path / "demo"
    study = make_study(analysis.load(results), Definitions())
    early = make_study(study.dataset.isel(run=slice(0, 30)), Definitions())
    shutil.copytree(results, path)
    write_report(early, path, {"done": 3, "runs": 42, "seconds_left": 100})
    open_page(page, path)
    assert "30 of 30 runs" in page.locator("#count").inner_text()
    click_cell(page, 0)
    selected = state_of(page)["cells"]
    write_report(study, path, {"done": 40, "runs": 42, "seconds_left": 1})
    page.evaluate("grokjax.follow()")
    counts(page, "42 of 42")
    assert state_of(page)["cells"] == selected
    write_report(study, path)
    page.evaluate("grokjax.follow()")
    wait_until(page, "document.querySelector('#live').hidden")
    page.wait_for_selector("html[data-ready]")
    page.wait_for_selector(".chart canvas")
    assert state_of(page)["cells"] == selected


def test_curves_beside_the_page_are_loaded_when_they_are_asked_for(
    page, results, tmp_path, monkeypatch
):
    monkeypatch.setattr("analysis.report.writing.INSIDE", 10)
    monkeypatch.setattr("analysis.report.writing.BLOCK", 20)
    path = shutil.copytree(results, tmp_path / "large")
    write_report(make_study(analysis.load(path), Definitions()), path)
    open_page(page, path)
    click_cell(page, 5)
    assert lines(page) == 14


def test_the_server_lists_all_and_serves_their_pages(page, results):
    with make_server(results.parent, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        with contextlib.closing(server.socket):
            page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
            assert "42 of 42 done" in page.locator("tbody").inner_text()
            page.click("text=demo")
            page.wait_for_selector("html[data-ready]")
            click_cell(page, 0)
            server.shutdown()


def wait_for(
    process: subprocess.Popen, condition: Callable[[], bool], seconds: float = 900
) -> None:
    """While the process is there."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.05)


def has_numbers(out: Path) -> bool:
    return any(out.glob("groups/*/running.safetensors")) or any(
        out.glob("groups/*/ended/*.safetensors")
    )


def writes_pages(trainer: psutil.Process) -> bool:
    """Whether its second process was started."""
    with contextlib.suppress(psutil.NoSuchProcess):  # a child can end between two questions
        return any("analysis.report.follow" in " ".join(c.cmdline()) for c in trainer.children())
    return False


def test_a_training_is_watched_from_its_first_runs_to_its_end(page, tmp_path):
    """The real thing: run.py writes the page, and the open page follows it to the end without a hand."""
    out = tmp_path / "quick"
    words = [
        "configs/quickstart.yaml",
        "train.steps=2000",
        "train.stop=null",
        "axes.split.train_fraction=[0.4, 0.8]",
    ]
    words += ["axes.optimizer.weight_decay=[1, 3]", "--out", str(out)]
    # Compiled as users compile: 32,000 run-steps without optimising would take minutes.
    own = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    training = subprocess.Popen(
        [sys.executable, "run.py", *words], stderr=subprocess.DEVNULL, env=own
    )
    try:
        trainer = psutil.Process(training.pid)
        wait_for(training, lambda: has_numbers(out) and writes_pages(trainer))
        # Held until the page is open, because on a fast machine it could have ended before.
        trainer.suspend()
        wait_for(training, (out / "report.html").exists)
        open_page(page, out)
        assert page.locator("#live").is_visible()
        first = page.evaluate("grokjax.view.data.n")
        assert first < 16
        click_cell(page, 0)
        trainer.resume()
        wait_until(page, "n => grokjax.view.data.n > n", first, 900)
        wait_until(page, "document.querySelector('#live').hidden", seconds=900)
        assert training.wait(200) == 0
    finally:
        training.kill()
        training.wait()
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.evaluate("grokjax.view.data.n") == 16
    assert len(state_of(page)["cells"]) == 1
    cells = rows_of(out / "cells.csv")
    click_cell(page, 3)
    assert float(median(page)) == float(cells[3]["median"])
    assert not list(out.rglob("*.partial"))
