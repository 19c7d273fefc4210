"""The house of docs/design.md, section 4, held up by parsing the code."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(
    [*(ROOT / "grokjax").rglob("*.py"), *(ROOT / "analysis").rglob("*.py"), ROOT / "run.py"]
)

LAYERS = [
    {"quoting"},
    {"settings", "interruption"},
    {
        "tasks",
        "store",
        "schedule",
        "outcomes",
        "search",
        "provenance",
        "cadence",
        "source",
        "parsing",
        "locks",
        "measured",
    },
    {"splits"},
    {"models", "losses", "optim"},
    {"probes", "interventions"},
    {"measurements"},
    {"config"},
    {"names", "mistakes", "axes", "loading"},
    {"identity", "durations", "grid"},
    {"plan", "results", "help", "columns", "shelves", "group_names", "remaining"},
    {"runstate"},
    {"passes"},
    {"training"},
    {"devices", "lifted", "engine", "probe_cost"},
    {"checkpoint", "capacity", "pace", "tally"},
    {"batch", "resume", "recorder", "programs"},
    {"trainer", "measure", "progress"},
    {"session", "cluster"},
    {"estimate"},
    {"commands"},
]
"""A module imports from its own layer and those above it in this list, never from below."""

WITHOUT_JAX = [
    "grokjax",
    "grokjax.store",
    "grokjax.schedule",
    "grokjax.outcomes",
    "grokjax.provenance",
    "grokjax.interruption",
    "grokjax.parsing",
    "analysis",
]


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_typing_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def statements(tree: ast.AST, lazy: bool) -> Iterator[ast.AST]:
    """All nodes that run on import; with `lazy`, also those inside functions."""
    for node in ast.iter_child_nodes(tree):
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if is_typing_only(node) or (inside and not lazy):
            continue
        yield node
        yield from statements(node, lazy)


def imports(file: Path, lazy: bool = True) -> set[str]:
    """Modules that a file imports, `from package import module` resolved."""
    found = set()
    for node in statements(ast.parse(file.read_text()), lazy):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute here"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layer_of(module: str) -> int:
    room = module.split(".")[1]
    found = [i for i, rooms in enumerate(LAYERS) if room in rooms]
    assert found, (
        f"grokjax.{room} has no layer: put it into LAYERS, where design section 4 wants it"
    )
    return found[0]


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


ROOMS = [f for f in FILES if name_of(f).startswith("grokjax.")]


@pytest.mark.parametrize("file", ROOMS, ids=name_of)
def test_imports_point_one_way(file: Path) -> None:
    own = layer_of(name_of(file))
    for module in imports(file):
        if module.startswith("grokjax.") and is_module(module):
            assert layer_of(module) <= own, (
                f"{name_of(file)} imports {module}, which stands above it"
            )


def test_rooms_do_not_import_each_other_in_circles() -> None:
    rooms = {name_of(f).split(".")[1] for f in ROOMS}
    needs = {
        room: {
            m.split(".")[1]
            for f in ROOMS
            if name_of(f).split(".")[1] == room
            for m in imports(f, lazy=False)
            if m.startswith("grokjax.") and is_module(m)
        }
        - {room}
        for room in rooms
    }
    while ready := {room for room, others in needs.items() if not others & needs.keys()}:
        needs = {room: others for room, others in needs.items() if room not in ready}
    assert not needs, f"a circle among {sorted(needs)}"


def test_the_analysis_reads_the_store_only() -> None:
    allowed = {
        f"grokjax.{name}"
        for name in ("store", "outcomes", "cadence", "interruption", "parsing", "quoting")
    }
    for file in FILES:
        if name_of(file).startswith("analysis"):
            used = {m for m in imports(file) if m.startswith("grokjax.") and is_module(m)}
            assert used <= allowed, (name_of(file), used - allowed)


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
            "grokjax.engine",
            "grokjax.lifted",
            "grokjax.trainer",
            "grokjax.store",
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


def test_this_test_sees_imports_that_point_the_wrong_way(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text(
        "from grokjax import trainer\ndef f():\n    import grokjax.engine\nif TYPE_CHECKING:\n    import a\n"
    )
    assert {"grokjax.trainer", "grokjax.engine"} <= imports(file) and "a" not in imports(file)
    assert "grokjax.engine" not in imports(file, lazy=False)
    assert layer_of("grokjax.trainer") > layer_of("grokjax.tasks.modular")
    assert importlib.util.find_spec("grokjax.trainer") is not None and is_module("grokjax.trainer")
