"""The recipes of docs/extending.md, applied to a copy of the project as a newcomer would apply them.

A block of Python begins with `# file`, a new one, or with `# file, above NAME`. A block of changes (diff) begins with
` # file`; its lines with '+' follow the line before them, which the file has, and at first the imports.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.harness import ROOT

PAGE = ROOT / "docs" / "extending.md"
_BLOCK = re.compile(r"^```(python|diff)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FIRST = "from __future__ import annotations"


def blocks(language: str) -> list[tuple[str, str]]:
    """(first line, other lines) of each block in a language. Blocks that name no file are no recipes."""
    found = [
        text.split("\n", 1) for name, text in _BLOCK.findall(PAGE.read_text()) if name == language
    ]
    return [(first.strip()[2:], rest) for first, rest in found if first.strip().startswith("# ")]


def apply_recipes(tree: Path) -> Path:
    """A copy of the package and of the analysis at `tree`, with everything of the page added."""
    for name in ("grokjax", "analysis"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "run.py", tree)
    for place, code in blocks("python"):
        name, _, dictionary = place.partition(", above ")
        if dictionary:
            _insert_above(tree / name, dictionary, code)
        else:
            assert not (tree / name).exists(), f"{name} is not new"
            (tree / name).write_text(code)
    for name, changes in blocks("diff"):
        _change(tree / name, changes)
    return tree


def add_tests(tree: Path) -> Path:
    """The tests of the project beside a copy of its package, with what they read."""
    for name in ("tests", "configs"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "docs").mkdir()
    for name in ("pyproject.toml", "README.md", "docs/design.md", "docs/extending.md"):
        shutil.copy(ROOT / name, tree / name)
    return tree


def _insert_above(file: Path, dictionary: str, code: str) -> None:
    lines = file.read_text().splitlines()
    (at,) = (i for i, line in enumerate(lines) if line.startswith(f"{dictionary}:"))
    file.write_text("\n".join([*lines[:at], code, "", *lines[at:]]) + "\n")


def _change(file: Path, changes: str) -> None:
    lines = file.read_text().splitlines()
    at = lines.index(_FIRST) + 1 if _FIRST in lines else 1
    for change in changes.splitlines():
        if change.startswith("+"):
            lines.insert(at, change[1:])
            at += 1
        else:
            assert lines.count(change[1:]) == 1, f"{file.name} has no line {change[1:]!r}"
            at = lines.index(change[1:]) + 1
    file.write_text("\n".join(lines) + "\n")
