"""The list of results directories with their progress, as a page that renews itself."""

from __future__ import annotations

import html
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from analysis.report.writing import FOLDER, PAGE
from grokjax.results.experiment_file import NAME, claim, read_data
from grokjax.results.locks import holder
from grokjax.results.sealed import Damaged
from grokjax.results.status import DONE
from grokjax.results.store import group_stores

SECONDS = 10
"""Between two looks."""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="{seconds}">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 24px auto; padding: 0 16px; }}
table {{ border-collapse: collapse; }} th, td {{ text-align: left; padding: 4px 14px 4px 0; vertical-align: top; }}
td small {{ opacity: 0.75; }} progress {{ width: 160px; }}
</style></head><body><h1>{title}</h1>
<table><thead><tr><th>experiment</th><th>progress</th><th>runs</th><th>state</th></tr></thead>
<tbody>{rows}</tbody></table></body></html>
"""


def directories(root: Path) -> list[Path]:
    """The results directories in a folder; the folder itself if it is one."""
    if (root / NAME).exists():
        return [root]
    return sorted(path for path in root.iterdir() if path.is_dir() and (path / NAME).exists())


def index_page(root: Path) -> str:
    """The list, with links to the pages."""
    rows = "".join(_row(path, root) for path in directories(root))
    return _PAGE.format(seconds=SECONDS, title=html.escape(root.resolve().name), rows=rows)


def _row(path: Path, root: Path) -> str:
    try:
        total, statuses = _progress(path)
    except (Damaged, OSError, ValueError) as error:
        return f"<tr><td>{html.escape(path.name)}</td><td colspan=3>{html.escape(str(error))}</td></tr>"
    done = sum(statuses[status] for status in DONE)
    told = ", ".join(f"{n} {status}" for status, n in statuses.items() if n)
    return (
        f"<tr><td>{_link(path, root)}<br><small>{html.escape(claim(path)[:160])}</small></td>"
        f'<td><progress max="{total}" value="{done}"></progress> {100 * done // max(total, 1)} %</td>'
        f"<td>{done} of {total} done<br><small>{html.escape(told)}</small></td>"
        f"<td>{html.escape(_state(path, done, total))}</td></tr>"
    )


def _link(path: Path, root: Path) -> str:
    name = html.escape(path.resolve().name)
    if not (path / PAGE).exists():
        return f"{name} (no page yet)"
    below = "" if path == root else quote(path.name) + "/"
    return f'<a href="/{below}{PAGE}">{name}</a>'


def _progress(path: Path) -> tuple[int, Counter[str]]:
    """(runs that the experiment asks for, how many have which status)."""
    settings = read_data(path)
    total = math.prod(len(values) for values in (settings.get("axes") or {}).values())
    statuses: Counter[str] = Counter()
    for _, store in group_stores(path):
        statuses.update(store.progress(run).status for run in store.runs)
    return total, statuses


def _state(path: Path, done: int, total: int) -> str:
    if holder(path) is not None:
        left = _told(path).get("seconds_left")
        return "training" if left is None else f"training, at most {_duration(left)} left"
    return "all runs have ended" if done >= total else "not complete, and nobody trains it"


def _told(path: Path) -> dict[str, Any]:
    """What the training last told of itself."""
    try:
        text = (path / FOLDER / "version.js").read_text(encoding="utf-8")
        return json.loads(text[text.index("(") + 1 : text.rindex(")")]).get("progress") or {}
    except (OSError, ValueError):
        return {}


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
