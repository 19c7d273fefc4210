"""Where numbers came from: versions, commit, machine. One line for each start."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "zarr")


def versions() -> dict[str, str]:
    """Installed versions of what computes and stores."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def commit() -> str | None:
    """Commit of the source tree, with '+' where it has uncommitted changes; None outside a checkout."""
    root = Path(__file__).parent.parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        head = git("rev-parse", "HEAD")
        return (head + ("+" if git("status", "--porcelain", "-uno") else "")) or None
    except (OSError, subprocess.SubprocessError):
        return None


def record(path: Path, **facts: Any) -> None:
    """Append a line to provenance.jsonl."""
    line = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "python": platform.python_version(),
        "host": platform.node(),
        "commit": commit(),
        "versions": versions(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        **facts,
    }
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def differences(path: Path) -> list[str]:
    """A sentence for each group whose runs were trained by different programs or on different devices, by the lines of
    provenance.jsonl: their results can differ in the last bits."""
    try:
        lines = (path / "provenance.jsonl").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    found: dict[str, dict[tuple[str, ...], str]] = {}
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            facts = json.loads(line)
            how = tuple(str(facts[name]) for name in ("executable", "devices", "tile"))
            found.setdefault(facts["group"], {}).setdefault(how, str(facts["host"]))
    return [
        f"group {group}: its runs were trained in {len(ways)} ways (executable, devices or tile), for example "
        f"on {' and '.join(list(ways.values())[:2])}; they can differ in the last bits"
        for group, ways in found.items()
        if len(ways) > 1
    ]
