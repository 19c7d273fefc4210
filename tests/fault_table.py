"""python -m tests.fault_table REPORT.xml OUT.md: what `make faults` tried, as a table. The report is pytest's."""

from __future__ import annotations

import datetime
import os
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from benchmarks.report import machine

OUTCOMES = {"failure": "FAILED", "error": "FAILED", "skipped": "not tried"}


def rows(report: ET.Element) -> list[str]:
    """A line for each test: what it tries, what came of it, seconds."""
    lines = []
    for case in report.iter("testcase"):
        came = next(
            (word for tag, word in OUTCOMES.items() if case.find(tag) is not None), "as said"
        )
        skipped = case.find("skipped")
        why = "" if skipped is None else f": {skipped.get('message', '')}"
        what = case.get("name", "").removeprefix("test_").replace("_", " ")
        file = case.get("classname", "").rpartition(".")[2]
        lines.append(f"| {what} | `{file}.py` | {came}{why} | {float(case.get('time', 0)):.0f} |")
    return lines


def page(report: ET.Element, kills: str) -> str:
    """The whole page."""
    facts = ", ".join(f"{name} {value}" for name, value in machine().items())
    return "\n".join(
        [
            "# Faults that were tried",
            "",
            f"By `make faults` on {datetime.date.today()}, with {kills} random kills; what has to happen in each "
            "is in `docs/faults.md`,",
            "and *as said* means that it did, with results bit for bit those of an undisturbed training.",
            "",
            f"Machine: {facts}.",
            "",
            "| what is tried | in | what came of it | seconds |",
            "|---|---|---|---|",
            *rows(report),
            "",
        ]
    )


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(
        page(ET.parse(sys.argv[1]).getroot(), os.environ.get("GROKJAX_KILLS", "10"))
    )
