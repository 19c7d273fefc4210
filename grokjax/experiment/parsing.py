"""From YAML text to data, or one sentence that says why it cannot be read. Imports no JAX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.scalarbool import ScalarBoolean

from grokjax.experiment.places import Key
from grokjax.quoting import cut, shown

MAX_DEPTH = 30
"""Largest depth of nested lists and mappings; settings need about six."""
MAX_VALUES = 2_000_000
"""Largest number of values, where each alias counts: nine lines with aliases can stand for 10^9 values."""
MAX_DIGITS = 300
"""Largest number of digits of a whole number; float64 has no larger numbers."""
_BEYOND = 10**MAX_DIGITS

_TOO_DEEP = (
    f"lists and mappings are nested more than {MAX_DEPTH} levels deep; "
    "settings need only a few levels"
)


class Unreadable(ValueError):
    """A text from which no settings can be read. The message is one sentence."""

    def __init__(self, why: str, key: Key = (), mark: Any = None):
        super().__init__(f"{cut('.'.join(key))}: {why}" if key else why)
        self.place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        """':line:column', as it follows a file's name; empty where it is not known."""


def load_yaml(text: str) -> Any:
    """The document of a YAML 1.2 text with its lines, if it is not too large. Raises Unreadable."""
    try:
        if "&" in text and "*" in text:
            _refuse_rings(YAML(typ="rt").compose(text), (), set(), set())
        document = YAML(typ="rt").load(text)
    except Unreadable:
        raise
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise Unreadable(f"YAML syntax: {cut(_problem(error), 200)}", (), mark) from None
    except RecursionError:
        raise Unreadable(_TOO_DEEP) from None
    except Exception:  # ruamel lets through whatever Python raises on 2020-13-45 or !!int x
        raise _wrong_scalar(text) from None
    _measure(document, (), {})
    return document


def parse_yaml(text: str) -> Any:
    """Plain data: `1e-3` is a number, `off` is a string, duplicate keys are refused. Raises Unreadable."""
    return plain(load_yaml(text))


def plain(node: Any) -> Any:
    """ruamel's round-trip types to plain Python."""
    if isinstance(node, dict):
        return {str(k): plain(v) for k, v in node.items()}
    if isinstance(node, list):
        return [plain(v) for v in node]
    if isinstance(node, ScalarBoolean):
        return bool(node)
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _problem(error: YAMLError) -> str:
    """The parser's message, without advice about its own options."""
    parts = [error.context, error.problem] if isinstance(error, MarkedYAMLError) else [error]
    problem = " ".join(" ".join(str(p) for p in parts if p).split())
    if "block scalar" in problem:
        problem += "; a text that begins with | or > must be in quotes"
    return problem


# -- values that YAML allows and Python does not -----------------------------------------------------------------------

_MEANT = {"int": "a whole number", "float": "a number", "timestamp": "a date", "bool": "a truth"}


def _wrong_scalar(text: str) -> Unreadable:
    """An error for the first value that cannot be read."""
    yaml = YAML(typ="rt")
    for key, node in _scalars(yaml.compose(text), (), set()):
        try:
            yaml.constructor.construct_object(node)
        except Exception:
            kind = _MEANT.get(str(node.tag).rpartition(":")[2], "the type of its tag")
            told = f"{cut(node.value)} cannot be read as {kind}"
            return Unreadable(
                f"{told}; write a number of at most {MAX_DIGITS} digits, or a text in quotes",
                key,
                node.start_mark,
            )
    return Unreadable("a value does not fit its tag; remove the tags (!!)")


def _scalars(node: Any, key: Key, seen: set[int]) -> Iterator[tuple[Key, ScalarNode]]:
    """All scalars of a composed document by their keys, each once."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, ScalarNode):
        yield key, node
    for name, inner in _inner(node):
        yield from _scalars(inner, (*key, name), seen)


def _inner(node: Any) -> list[tuple[str, Any]]:
    """The nodes in a composed list or mapping, with their names."""
    if isinstance(node, SequenceNode):
        return [(str(i), inner) for i, inner in enumerate(node.value)]
    if isinstance(node, MappingNode):
        names = [(str(name.value), name) for name, _ in node.value]
        return names + [(str(name.value), inner) for name, inner in node.value]
    return []


def _refuse_rings(node: Any, key: Key, around: set[int], done: set[int]) -> None:
    """Refuse a node that contains itself: the loader would replace it by null or never end."""
    if id(node) in around:
        raise Unreadable(
            "contains itself; write its value out instead of the alias (*)", key, node.start_mark
        )
    if id(node) not in done:
        around.add(id(node))
        for name, inner in _inner(node):
            _refuse_rings(inner, (*key, name), around, done)
        around.discard(id(node))
        done.add(id(node))


# -- how much a document holds -----------------------------------------------------------------------------------------


def _measure(node: Any, key: Key, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Number of values and levels in a node. Aliases share nodes, so the counts of each node are kept."""
    if isinstance(node, int) and abs(node) >= _BEYOND:
        raise Unreadable(f"got {shown(node)}; use at most {MAX_DIGITS} digits", key)
    if not isinstance(node, dict | list):
        return 1, 0
    if len(key) > MAX_DEPTH:
        raise Unreadable(_TOO_DEEP, key)
    if id(node) not in known:
        inner = [_measure(v, (*key, k), known) for k, v in _children(node, key)]
        values, levels = 1 + sum(n for n, _ in inner), 1 + max((d for _, d in inner), default=0)
        known[id(node)] = values, levels
    values, levels = known[id(node)]
    if levels > MAX_DEPTH:
        raise Unreadable(_TOO_DEEP, key)
    if values > MAX_VALUES:
        raise Unreadable(f"has {values:,} values; use at most {MAX_VALUES:,}", key)
    return values, levels


def _children(node: Any, key: Key) -> list[tuple[str, Any]]:
    if isinstance(node, list):
        return [(str(i), value) for i, value in enumerate(node)]
    children = {str(name): value for name, value in node.items()}
    if len(children) < len(node):  # 1 and '1'
        twice = next(n for n in children if sum(str(k) == n for k in node) > 1)
        raise Unreadable(f"has the name {cut(twice)} twice; remove one of them", key)
    return list(children.items())
