"""The page as text: our scripts and styles, the vendored uPlot, and the data, in one file."""

from __future__ import annotations

import functools
import html
import json
from pathlib import Path
from typing import Any

STATIC = Path(__file__).parent / "static"
NUMBERS = ("unpack.js", "numbers.js", "formats.js", "query.js")
"""Scripts that need no page: a test runs them by themselves."""
SCRIPTS = (
    *NUMBERS, "state.js", "elements.js", "pen.js", "scales.js", "measures.js", "diagram.js", "tooltip.js",
    "charts.js", "curves.js", "survival.js", "run.js", "table.js", "head.js", "download.js", "compare.js",
    "live.js", "main.js",
)  # fmt: skip


def page(data: dict[str, Any]) -> str:
    """The whole page."""
    parts = {
        "title": html.escape(str(data["name"])),
        "style": _static("vendor/uPlot.min.css") + "\n" + _static("page.css"),
        "vendor": f"/* {_static('vendor/uPlot-LICENSE.txt')} */\n{_static('vendor/uPlot.iife.min.js')}",
        "script": code(SCRIPTS),
        "data": as_json(data),
    }
    text = _static("page.html")
    # In one pass over the template: what was put in is not searched again.
    pieces = text.split("{{")
    return pieces[0] + "".join(
        parts[name] + rest for name, rest in (piece.split("}}", 1) for piece in pieces[1:])
    )


def code(names: tuple[str, ...]) -> str:
    """Scripts one after another, in a scope of their own."""
    return "\n".join(_static(name) for name in names)


def as_json(data: Any) -> str:
    """JSON that may stand in a script element: no text in it can end the element, or begin another."""
    text = json.dumps(_plain(data), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def as_script(function: str, *arguments: Any) -> str:
    """A side file, which calls a function of the page."""
    return f"{function}({','.join(as_json(argument) for argument in arguments)});\n"


def _plain(value: Any) -> Any:
    """What is not finite becomes null; numbers of NumPy become Python's."""
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value


@functools.cache
def _static(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")
