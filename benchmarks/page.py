"""python -m benchmarks.page [RUNS ...]: size of report.html, time to write it, and how fast a browser shows it.

The runs are made up: 4 metrics and 6 other values at 200 evaluations, seeds in cells of 16. The times in a browser
need Chromium and Playwright.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from analysis.report import write_report
from analysis.report.page import page
from analysis.study import Definitions, make_study

EVALS, SEEDS, OTHERS = 200, 16, 6
CLICK = """async () => {
    const times = [];
    for (const cell of grokjax.view.layout.cells.slice(0, 5)) {
        await new Promise(done => setTimeout(done, 500));
        const [x, y, w, h] = cell.rect, canvas = document.querySelector('#diagram');
        const box = canvas.getBoundingClientRect();
        document.querySelector('#charts').replaceChildren();
        const began = performance.now();
        canvas.dispatchEvent(new MouseEvent('click', {clientX: box.x + x + w / 2, clientY: box.y + y + h / 2}));
        do await new Promise(requestAnimationFrame); while (!document.querySelector('.chart canvas'));
        times.push(performance.now() - began);
    }
    return times;
}"""


def made_up(runs: int) -> xr.Dataset:
    """A dataset as `load` gives it: a square grid of two axes."""
    side = max(1, round((runs / SEEDS) ** 0.5))
    points = list(
        itertools.islice(
            itertools.product(range(side), range(-(-runs // SEEDS // side) + 1), range(SEEDS)), runs
        )
    )
    a, b, seed = np.array(points).T
    random = np.random.default_rng(0)
    step = np.arange(EVALS) * 100.0
    when = 500 * np.exp(random.normal(0.1 * a - 0.05 * b, 0.4))[:, None]
    value = np.empty((runs, EVALS, 4 + OTHERS), np.float32)
    noise = random.normal(0, 0.01, (runs, EVALS)).astype(np.float32)
    value[:, :, 0] = np.clip(1 - np.exp(-step / 300) + noise, 0, 1)
    value[:, :, 1] = np.clip(1 / (1 + np.exp(-(step - when) / 200)) + 0.01 + noise, 0, 1)
    value[:, :, 2] = np.exp(-step / 2000 + 10 * noise)
    value[:, :, 3] = 5 * (1.001 - value[:, :, 1]) * np.exp(10 * noise)
    value[:, :, 4:] = random.normal(1, 0.1, (runs, EVALS, OTHERS))
    names = ["train_accuracy", "val_accuracy", "train_loss", "val_loss"]
    plain: dict[str, Any] = {
        "id": np.array([f"{i:012x}" for i in random.permutation(runs)]), "split.train_fraction": 0.1 + 0.01 * a,
        "optimizer.weight_decay": 0.1 * (b + 1), "seed": seed, "init_seed": seed, "split_seed": seed,
        "status": np.full(runs, "finished"), "evaluations_done": np.full(runs, EVALS),
        "budget_evaluations": np.full(runs, EVALS), "diverged_at": np.full(runs, -1), "n_train": np.full(runs, 480),
        "steps_per_epoch": np.ones(runs), "group": np.full(runs, "a"), "stop_level": np.full(runs, np.nan),
    }  # fmt: skip
    coordinates = {name: ("run", column) for name, column in plain.items()}
    coordinates["step"] = (("run", "eval"), np.broadcast_to(step, (runs, EVALS)))
    coordinates["probe"] = ("probe", [*names, *(f"value_{i}" for i in range(OTHERS))])
    axes = {
        n: np.unique(plain[n]).tolist()
        for n in ("split.train_fraction", "optimizer.weight_decay", "seed")
    }
    attrs = {
        "path": "",
        "name": "made_up",
        "axes": axes,
        "settings": {},
        "budget": int(step[-1]),
        "unverified": 0,
    }
    return xr.Dataset({"value": (("run", "eval", "probe"), value)}, coordinates, attrs)


def measure(runs: int, folder: Path) -> dict[str, float]:
    """Bytes and seconds for so many runs."""
    dataset = made_up(runs)
    began = time.process_time()
    files = write_report(make_study(dataset, Definitions()), folder)
    took = time.process_time() - began
    inside = folder / "report.html"
    sizes = {
        "page_mb": inside.stat().st_size / 1e6,
        "beside_mb": sum(f.stat().st_size for f in files if f != inside) / 1e6,
    }
    return {"runs": runs, "write_cpu_s": took, **sizes, **in_browser(inside)}


def in_browser(file: Path) -> dict[str, float]:
    """Seconds until the diagram is there, and milliseconds from a click to its curves; empty without a browser."""
    chromium = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        print("NO CHROMIUM OR NO PLAYWRIGHT: nothing is measured in a browser", file=sys.stderr)
        return {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 1400, "height": 1000})
        shown.goto("about:blank")
        began = time.perf_counter()
        shown.goto(file.as_uri())
        shown.wait_for_selector("html[data-ready]", timeout=120_000)
        ready = time.perf_counter() - began
        clicks = shown.evaluate(CLICK)
        browser.close()
    return {
        "first_view_s": ready,
        "click_ms_median": float(np.median(clicks)),
        "click_ms_first": clicks[0],
    }


def main() -> None:
    """Print a line of JSON for each number of runs."""
    print(json.dumps({"code_kb": len(page({"name": ""}).encode()) / 1e3}))
    for runs in map(int, sys.argv[1:] or ("80", "1000", "10000", "100000")):
        with tempfile.TemporaryDirectory() as folder:
            numbers = measure(runs, Path(folder))
        print(json.dumps({name: round(value, 3) for name, value in numbers.items()}), flush=True)


if __name__ == "__main__":
    main()
