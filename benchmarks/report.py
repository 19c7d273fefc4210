"""Tables and a figure out of what was measured."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import jax
import matplotlib
import matplotlib.pyplot as plt

from grokjax.engine import devices

matplotlib.use("Agg")

LIBRARIES = ["jax", "jaxlib", "flax", "optax", "numpy", "torch"]


def machine() -> dict[str, Any]:
    """Hardware and versions."""
    return {
        "processor": _processor(),
        "devices": devices.describe(devices.make_mesh()),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in LIBRARIES if _installed(name)},
    }


def _installed(name: str) -> bool:
    try:
        return bool(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return False


def _processor() -> str:
    if jax.devices()[0].platform != "cpu":
        return jax.devices()[0].device_kind
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration, IndexError):
        return platform.processor() or platform.machine()


def write(found: dict[str, Any], out: Path) -> None:
    """benchmark.md and, once the workloads are measured, benchmark.png."""
    parts = [f"Machine: {', '.join(f'{k} {v}' for k, v in found['machine'].items())}.", ""]
    compared = {k: v for k, v in found.items() if isinstance(v, dict) and "naive_limit" in v}
    for name, part in compared.items():
        parts += [f"### {name}: {part['title']}", "", *_table(part), ""]
    if "E" in found:
        parts += [
            "### E: 200 runs that end at different times",
            "",
            *_plain(found["E"]["rows"]),
            "",
        ]
    for name in ("F", "G"):
        if name in found:
            parts += [f"### {name}: {found[name]['title']}", "", *_plain(found[name]["rows"]), ""]
    if "evaluation" in found:
        parts += ["### Evaluations", "", *_plain(found["evaluation"]["rows"]), ""]
    if "gather" in found:
        parts += ["### The gradient of a row gather", "", *_plain(found["gather"]["rows"]), ""]
    if "curve" in found:
        parts += [
            "### Slots and tiles (run-steps/s)",
            "",
            *_curve_table(found["curve"]["rows"]),
            "",
        ]
    (out / "benchmark.md").write_text("\n".join(parts))
    if compared:
        _figure(compared, out / "benchmark.png")


def _table(part: dict[str, Any]) -> list[str]:
    ours = part["rows"][0]["rate"]
    lines = ["| | run-steps/s | grokjax is | first call, s |", "|---|---|---|---|"]
    for row in part["rows"]:
        if row["failed"]:
            lines.append(f"| {row['peer']} | failed: {row['failed']} | | |")
            continue
        ratio = "" if row is part["rows"][0] else f"{ours / row['rate']:.1f} x"
        lines.append(f"| {row['peer']} | {row['rate']:,.1f} | {ratio} | {row['first_seconds']} |")
    for which in ("naive", "shared"):
        limit, flops = part[f"{which}_limit"], part[f"{which}_gflop_per_step"]
        lines.append(
            f"| limit, {which} algorithm ({part['peak_gflops']} GFLOP/s over {flops:.4g} GFLOP a step) "
            f"| {limit:,.1f} | {ours / limit:.2f} x | |"
        )
    return lines


def _plain(rows: list[dict[str, Any]]) -> list[str]:
    names = list(rows[0])
    lines = [f"| {' | '.join(n.replace('_', ' ') for n in names)} |", "|" + "---|" * len(names)]
    return lines + [f"| {' | '.join(str(row[n]) for n in names)} |" for row in rows]


def _curve_table(rows: list[dict[str, Any]]) -> list[str]:
    slots = sorted({row["slots"] for row in rows})
    lines = [f"| | {' | '.join(f'{s} slots' for s in slots)} |", "|---|" + "---|" * len(slots)]
    for name in dict.fromkeys(row["workload"] for row in rows):
        for kind, wide in (("tile 1", False), ("one tile a device", True)):
            cells = []
            for s in slots:
                of_s = [r for r in rows if r["workload"] == name and r["slots"] == s]
                chosen = (
                    max(of_s, key=lambda r: r["tile"])
                    if wide
                    else min(of_s, key=lambda r: r["tile"])
                )
                cells.append(f"{chosen['rate']:,.0f}")
            lines.append(f"| {name}, {kind} | {' | '.join(cells)} |")
    return lines


def _figure(compared: dict[str, Any], file: Path) -> None:
    """Rates beside grokjax's, one panel a workload."""
    fig, axes = plt.subplots(
        1, len(compared), figsize=(3.1 * len(compared), 3.6), layout="constrained", sharey=True
    )
    names = [row["peer"] for row in next(iter(compared.values()))["rows"]]
    for axis, (name, part) in zip(
        [axes] if len(compared) == 1 else axes, compared.items(), strict=True
    ):
        measured = {row["peer"]: row["rate"] for row in part["rows"]}
        rates = [measured.get(peer, float("nan")) for peer in names]
        axis.barh(names, rates, color=["#d55e00", *["#7a8793"] * (len(names) - 1)])
        axis.axvline(part["naive_limit"], color="black", ls="--", lw=1)
        axis.set_xlim(right=1.3 * max(r for r in rates if r == r))
        for i, rate in enumerate(rates):
            if rate != rate:  # not measured, or failed
                continue
            axis.text(
                rate, i, f" {rate:,.0f}" if rate >= 20 else f" {rate:.1f}", va="center", fontsize=7
            )
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("run-steps per second", fontsize=8)
        axis.tick_params(labelsize=7)
    (axes if len(compared) == 1 else axes[0]).invert_yaxis()
    fig.suptitle(
        "Training speed (dashed: peak product rate over the operations of the naive algorithm)",
        fontsize=9,
    )
    fig.savefig(file, dpi=150)
    plt.close(fig)
