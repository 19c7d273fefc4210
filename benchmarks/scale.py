"""`python -m benchmarks.scale [10^3 10^4 ...]`: what grids of many tiny runs cost beside their training.

p = 7, d_model 16, 200 steps, ten weight decays. Of each size: `--plan`, training, files, bytes, `--verify`, loading,
analysis, each in a process of its own; and how each grows from one size to the next. From `--made-up` runs on (default
10^5), nothing is trained: the results of trained runs are written again under other ids, as training writes them.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.report import machine
from grokjax.experiment.grid import make_groups, make_runs
from grokjax.experiment.loading import load_experiment
from grokjax.experiment.run_columns import columns, shapes
from grokjax.results.directory import write_experiment
from grokjax.results.store import GroupStore, group_stores
from grokjax.results.writer import Ended, StoreWriter

CONFIG = """
name: scale
task: {kind: modular, operation: x+y, p: 7, format: a b =}
split: {kind: random, train_fraction: 0.6}
model: {kind: transformer, d_model: 16, n_heads: 2, d_mlp: 32}
optimizer: {kind: adamw, learning_rate: 1e-2}
train: {steps: 200, eval_every: 10}
axes:
  optimizer.weight_decay: {logspace: [0.01, 10, 10]}
  seed: {range: SEEDS}
"""
FLUSH = 115
"""Runs that end within two seconds of training on two cores, which training writes together."""
ROOT = Path(__file__).parent.parent
MEASURE = """
import resource, sys, time
sys.path.insert(0, {root!r})
import analysis
began = time.perf_counter()
{call}
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--made-up", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "performance" / "scale.json")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows: list[dict[str, Any]] = []
        trained: Path | None = None
        for n in sorted(words.sizes):
            made_up = trained if n >= words.made_up else None
            rows.append(_measure(n, Path(folder), made_up))
            trained = trained or Path(folder) / str(n)
            print(json.dumps(rows[-1]), flush=True)
    words.out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    print(table(rows))


def _measure(n: int, folder: Path, made_up: Path | None) -> dict[str, Any]:
    config, out = folder / f"{n}.yaml", folder / str(n)
    config.write_text(CONFIG.replace("SEEDS", str(n // 10)))
    row: dict[str, Any] = {"runs": n, "made_up": made_up is not None}
    row["plan_s"] = _command([str(config), "--plan"])[0]
    if made_up is None:
        row["train_s"], said = _command([str(config), "--out", str(out), "--no-figures"])
        row["run_steps_per_s"] = float(re.findall(r"\((\d+) a second", said)[-1])
        row["host_share"] = (
            float(re.findall(r"([\d.]+) % of the time spent by the host", said)[-1]) / 100
        )
    else:
        row["write_s"] = make_up(config, out, made_up)
    files = [p for p in out.rglob("*") if p.is_file()]
    row["files"] = len(files)
    row["bytes"] = sum(p.stat().st_size for p in files)
    row["array_bytes"] = sum(
        pack.n_bytes() for _, store in group_stores(out) for pack in store.ended.packs.values()
    )
    row["verify_s"] = _command(["--verify", str(out)])[0]
    row["load_s"], row["load_gib"] = _python(f"analysis.load({str(out)!r})")
    row["analysis_s"], row["analysis_gib"] = _python(f"analysis.draw_everything({str(out)!r})")
    return row


def _command(words: list[str]) -> tuple[float, str]:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *words], capture_output=True, text=True, check=True
    )
    return time.perf_counter() - began, done.stdout + done.stderr


def _python(call: str) -> tuple[float, float]:
    """Seconds, and the largest memory of the process in GiB."""
    code = MEASURE.format(root=str(ROOT), call=call)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, gib = done.stdout.split()[-2:]
    return float(seconds), float(gib)


def make_up(config: Path, out: Path, trained: Path) -> float:
    """Write results for all runs of the configuration, from those of trained runs. Returns seconds."""
    experiment = load_experiment(config)
    (group,) = make_groups(make_runs(experiment))
    (source,) = (store for _, store in group_stores(trained))
    patterns = [_ended(source, run) for run in source.runs[:FLUSH]]
    out.mkdir()
    write_experiment(experiment, out)
    admission = source.admission(source.runs[0])
    assert admission is not None
    began = time.perf_counter()
    writer = StoreWriter(GroupStore(out / "groups" / group.hash))
    runs, names = list(group.runs), admission.names
    facts = {"group": group.hash, "stop": None, "shape": shapes(group.first)}
    writer.admit([r.id for r in runs], names, admission.step, columns(runs), facts)
    for first in range(0, len(runs), FLUSH):
        part = runs[first : first + FLUSH]
        writer.add_ended(
            [_renamed(pattern, run.id) for pattern, run in zip(patterns, part, strict=False)], names
        )
    writer.finish()
    return time.perf_counter() - began


def _ended(store: GroupStore, run: str) -> Ended:
    admission, progress = store.admission(run), store.progress(run)
    assert admission is not None
    values = store.read(run, admission.names, progress.evaluations_done)
    step, state = store.weights.final_step(run), store.weights.state(run)
    assert step is not None
    return Ended(run, progress, step, values, store.weights.read(run), state)


def _renamed(ended: Ended, run: str) -> Ended:
    return Ended(run, ended.progress, ended.step, ended.values, ended.weights, ended.state)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a column for each size, and the exponent of growth from the smallest size to the largest."""
    names = {
        "plan_s": "`--plan`, s",
        "train_s": "training, s",
        "host_share": "host's share of training",
        "files": "files",
        "bytes": "bytes on disk",
        "over": "bytes / bytes of the arrays",
        "verify_s": "`--verify`, s",
        "load_s": "`analysis.load`, s",
        "load_gib": "its memory, GiB",
        "analysis_s": "`python -m analysis`, s",
        "analysis_gib": "its memory, GiB",
    }
    rows = [{**row, "over": row["bytes"] / row["array_bytes"]} for row in rows]
    lines = ["| runs | " + " | ".join(f"{r['runs']:,}" for r in rows) + " | exponent |"]
    lines.append("|---|" + "---|" * (len(rows) + 1))
    for name, title in names.items():
        known = [(row["runs"], row[name]) for row in rows if name in row]
        cells = [f"{row[name]:,.3g}" if name in row else "not trained" for row in rows]
        (n0, x0), (n1, x1) = known[0], known[-1]
        exponent = f"{math.log(x1 / x0) / math.log(n1 / n0):.2f}" if n1 > n0 and x0 > 0 else ""
        lines.append(f"| {title} | {' | '.join(cells)} | {exponent} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
