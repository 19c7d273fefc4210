"""The house of docs/design.md, held up by parsing the code. The order of imports is a contract in pyproject.toml."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(
    [*(ROOT / "grokjax").rglob("*.py"), *(ROOT / "analysis").rglob("*.py"), ROOT / "run.py"]
)

WITHOUT_JAX = [
    "grokjax",
    "grokjax.results.store",
    "grokjax.engine.slots",
    "analysis.outcomes",
    "grokjax.results.provenance",
    "grokjax.signals",
    "grokjax.experiment.parsing",
    "analysis",
]


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


ROOMS = [f for f in FILES if name_of(f).startswith("grokjax.")]


@pytest.mark.parametrize("module", WITHOUT_JAX)
def test_reading_results_needs_no_jax(module: str) -> None:
    heavy = "{'jax', 'jaxlib', 'flax', 'optax', 'orbax'}"
    code = f"import {module}, sys; sys.exit(' '.join({heavy} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{module} imports {done.stderr}"


def test_no_function_is_longer_than_sixty_lines() -> None:
    long = []
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                long += [f"{file.name}:{node.lineno} {node.name}: {length}"] if length > 60 else []
    assert not long


RUN_AXIS = re.compile(r"[a-z]\w*_R[A-Z]*$")


def test_the_run_axis_stays_where_runs_are_batched() -> None:
    """A name with the suffix _R... is an array over runs."""
    for file in FILES:
        if name_of(file) in (
            "grokjax.engine.program",
            "grokjax.engine.lifted",
            "grokjax.driver.trainer",
            "grokjax.results.store",
        ):
            continue
        tree = ast.parse(file.read_text())
        names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        names |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
        names |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        assert not {n for n in names if RUN_AXIS.match(n)}, name_of(file)


@pytest.mark.parametrize(
    "room", ["tasks", "models", "losses", "optim", "probes", "training", "interventions"]
)
def test_what_is_written_for_one_run_does_not_know_the_engine(room: str) -> None:
    for file in ROOMS:
        if name_of(file).split(".")[1] == room:
            text = file.read_text()
            assert not re.search(r"shard_map|NamedSharding|\bMesh\b", text), name_of(file)


def test_the_package_never_prints() -> None:
    for file in FILES:
        if name_of(file).startswith("grokjax"):
            calls = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call)]
            assert not [n for n in calls if ast.unparse(n.func) == "print"], name_of(file)
