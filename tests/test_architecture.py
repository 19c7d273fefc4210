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


def test_reading_results_needs_no_jax() -> None:
    """All in one process: the first module that pulls one of these in is told."""
    heavy = "{'jax', 'jaxlib', 'flax', 'optax', 'orbax'}"
    lines = [f"import {module}; told = told or ('{module}' if {heavy} & set(sys.modules) else '')"
             for module in WITHOUT_JAX]  # fmt: skip
    code = "\n".join(["import sys", "told = ''", *lines, "sys.exit(told or 0)"])
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stderr} imports JAX"


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


TYPED = (
    *("tasks", "splits", "models", "losses", "optim", "probes", "interventions", "measurements"),
    *("training", "engine"),
)
"""Rooms whose public functions say what they take and give."""


def is_named(annotation: ast.expr | None) -> bool:
    return annotation is not None and ast.unparse(annotation) not in ("Any", "typing.Any")


def unnamed(function: ast.FunctionDef | ast.AsyncFunctionDef, method: bool) -> list[str]:
    """Arguments (and 'return') without a type, or with one that says nothing. `dict[str, Any]` says something."""
    a = function.args
    bound = method and "staticmethod" not in [ast.unparse(d) for d in function.decorator_list]
    arguments = [*a.posonlyargs, *a.args][bound:] + a.kwonlyargs
    arguments += [x for x in (a.vararg, a.kwarg) if x is not None]
    found = [x.arg for x in arguments if not is_named(x.annotation)]
    constructs = method and function.name == "__init__"
    return found if constructs or is_named(function.returns) else [*found, "return"]


def untyped(body: list[ast.stmt], within: str = "") -> list[str]:
    """Public functions, methods of public classes (constructors too), and what they leave unsaid."""
    found = []
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            found += untyped(node.body, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            public = not node.name.startswith("_") or node.name in ("__init__", "__call__")
            missing = unnamed(node, bool(within)) if public else []
            found += [f"{within}{node.name}: {', '.join(missing)}"] if missing else []
    return found


@pytest.mark.parametrize("room", TYPED)
def test_public_functions_name_their_types(room: str) -> None:
    files = [f for f in ROOMS if name_of(f).split(".")[1] == room]
    assert files
    assert not [
        f"{name_of(f)}.{told}" for f in files for told in untyped(ast.parse(f.read_text()).body)
    ]


def test_what_counts_as_untyped() -> None:
    text = """
def f(a, b: Any, c: dict[str, Any], *d: Any, e: int = 0) -> Any: ...
def _private(a): ...
class Public:
    def __init__(self, x): ...
    def method(self, x: Callable[..., Any]) -> None: ...
    @staticmethod
    def static(x) -> None: ...
class _Private:
    def method(self, x): ...
"""
    assert untyped(ast.parse(text).body) == [
        "f: a, b, d, return",
        "Public.__init__: x",
        "Public.static: x",
    ]


RECORD = re.compile(r"dataclass|NamedTuple|Settings|BaseModel|TypedDict")
"""In a decorator or base: the class is a record, and its fields are what it is for."""


def classes() -> list[tuple[str, ast.ClassDef]]:
    found = [(f, n) for f in FILES for n in ast.walk(ast.parse(f.read_text()))]
    return [(f"{name_of(f)}.{n.name}", n) for f, n in found if isinstance(n, ast.ClassDef)]


def own_attributes(node: ast.ClassDef) -> set[str]:
    """What its methods assign to themselves."""
    return {
        n.attr
        for n in ast.walk(node)
        if isinstance(n, ast.Attribute)
        and isinstance(n.ctx, ast.Store)
        and ast.unparse(n.value) == "self"
    }


def test_no_class_is_longer_than_150_lines() -> None:
    lengths = {name: (c.end_lineno or 0) - c.lineno + 1 for name, c in classes()}
    assert not {name: n for name, n in lengths.items() if n > 150}


def test_no_class_keeps_more_than_twelve_things() -> None:
    many = {}
    for name, node in classes():
        told = " ".join(ast.unparse(x) for x in [*node.decorator_list, *node.bases])
        if not RECORD.search(told) and len(own_attributes(node)) > 12:
            many[name] = sorted(own_attributes(node))
    assert not many


def test_the_top_of_the_package_stays_small() -> None:
    assert len([f for f in FILES if f.parent == ROOT / "grokjax"]) <= 12
