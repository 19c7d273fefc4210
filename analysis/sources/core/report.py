"""Writes a source's table as markdown, between two markers of a file. Text outside the markers does not change."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np

from analysis.load import ResultsError, load
from analysis.readings import budget_told
from analysis.sources.core.claims import VERDICTS, Claim, Finding, MissingError, Results
from analysis.sources.core.verdicts import RULES
from analysis.study import Definitions, make_study
from analysis.table import write_table

BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"

EXPERIMENTS_HEAD = (
    "| experiment | runs | still in training | diverged | budget (epochs) | settings given on the command line |",
    "|---|---|---|---|---|---|",
)
TABLE_HEAD = (
    "| | published | ours (n, median, 95 % interval) | verdict | |",
    "|---|---|---|---|---|",
)
_SETTING = re.compile(r"[\w.]+(, [\w.]+)*=")
"""How a word begins that gives a setting."""


class MarkerError(ValueError):
    """A file that does not have each marker once and in order. The message is one sentence."""


def table(claims: Sequence[Claim], results: Results, experiments: Sequence[str]) -> str:
    """Counts of verdicts, the experiments, the rules of the verdicts, and a table for each part."""
    findings = [(claim, claim.find(results)) for claim in claims]
    parts = [
        _part(name, list(rows)) for name, rows in groupby(findings, key=lambda row: row[0].part)
    ]
    return "\n\n".join([_counts(findings), _experiments(results, experiments), RULES, *parts])


def _counts(findings: Sequence[tuple[Claim, Finding]]) -> str:
    count = Counter(finding.verdict for _, finding in findings)
    return f"{len(findings)} rows: " + ", ".join(f"{count[v]} {v}" for v in VERDICTS) + "."


def _experiments(results: Results, experiments: Sequence[str]) -> str:
    lines, results = [*EXPERIMENTS_HEAD], Results(results.root, partial=True)
    for name in experiments:
        try:
            runs = results.runs(name)
        except MissingError:
            lines.append(f"| {name} | not run | | | | |")
            continue
        status = runs["status"].to_numpy()
        going = int(np.isin(status, ["waiting", "running"]).sum())
        gone = int((status == "diverged").sum())
        given = _given(results.root / name)
        cells = [
            name,
            str(len(status)),
            str(going),
            str(gone),
            budget_told(runs),
            given,
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _given(folder: Path) -> str:
    """Every setting that a command gave in place of the configuration's, in the order of the commands."""
    commands = list(_commands(folder / "provenance.jsonl"))
    if not commands:
        return "not recorded"
    words = [word for c in commands for before, word in pairwise(c[1:]) if before != "--out"]
    settings = dict.fromkeys(word for word in words if _SETTING.match(word))
    return ", ".join(f"`{setting}`" for setting in settings) or "none"


def _commands(path: Path) -> Iterator[list[str]]:
    """The words of each command; lines that are damaged or half written are left out."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            yield [str(word) for word in json.loads(line)["command"]]


def _part(name: str, rows: Sequence[tuple[Claim, Finding]]) -> str:
    lines = [f"**{name}**", "", *TABLE_HEAD]
    for claim, f in rows:
        cells = [claim.what, claim.published, f.ours, f"**{f.verdict}**", f.evidence]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def write_runs(results: Results, experiments: Sequence[str], folder: Path) -> list[Path]:
    """Write <folder>/<experiment>_runs.csv, the runs that the table uses, for every experiment with runs."""
    written = []
    for name in experiments:
        try:
            study = make_study(load(results.root / name), Definitions())
        except ResultsError:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        written.append(write_table(study, folder / f"{name}_runs.csv"))
    return written


def write_between(path: Path, text: str, title: str) -> Path:
    """Replace the text between the markers of a file, or create the file. It is written whole or not at all."""
    block = f"{BEGIN}\n{text}\n{END}"
    whole = _replaced(path, block) if path.exists() else f"# {title}\n\n{block}\n"
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(whole, encoding="utf-8")
    os.replace(partial, path)
    return path


def _replaced(path: Path, block: str) -> str:
    """A file without markers gets the block at its end."""
    old = path.read_text(encoding="utf-8")
    if BEGIN not in old and END not in old:
        return f"{old.rstrip()}\n\n{block}\n"
    if old.count(BEGIN) != 1 or old.count(END) != 1 or old.index(BEGIN) > old.index(END):
        raise MarkerError(
            f"{path}: expected '{BEGIN}' and '{END}' once each and in this order; "
            "mend them, or delete both, and the table comes at the end"
        )
    return old[: old.index(BEGIN)] + block + old[old.index(END) + len(END) :]
