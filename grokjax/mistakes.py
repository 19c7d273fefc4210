"""Pydantic's errors as sentences: the key as the user wrote it, what came, what would be right."""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import PydanticUndefined

from grokjax.settings import Settings, kind_of
from grokjax.source import Key, Source


class _Traced(NamedTuple):
    """Where an error's location leads, without the tags that pydantic puts in for unions."""

    key: Key
    node: Any
    """Annotation at the key; of its last settings class where the key is unknown to it."""
    union: Key | None
    """Key of the union without kinds that was passed, e.g. `int | Epochs`."""


def sentences(error: ValidationError, source: Source, root: type[Settings]) -> list[str]:
    """One sentence for each setting that is wrong."""
    details = _one_alternative(error.errors(include_url=False), root)
    unknown = [_trace(d["loc"], root).key for d in details if d["type"] == "extra_forbidden"]
    # A typo in a required setting makes it both unknown and missing: one sentence is enough.
    guessed = {(*key[:-1], _closest(key[-1], key[:-1], root)) for key in unknown}
    told: dict[Key, str] = {}
    for detail in details:
        key, message, because = _sentence(detail, root)
        if detail["type"] != "missing" or key not in guessed:
            told.setdefault(key, source.sentence(key, message, because))
    return list(told.values())


def unknown_setting(key: Key, root: type[Settings], node: Any = None) -> str:
    """The sentence for a name that no setting has, with the one that was perhaps meant."""
    others = [c for c in _classes_at(key[:-1], root) if key[-1] in c.model_fields]
    if isinstance(node, type) and others and "kind" in node.model_fields:
        named = ", ".join(kind_of(c) for c in others)
        return f"is a setting of {named}, not of {kind_of(node)}"
    guess = _closest(key[-1], key[:-1], root) or _elsewhere(key[-1], root)
    return "unknown setting" + (f" (did you mean '{guess}'?)" if guess else "; see --help")


# -- locations ---------------------------------------------------------------------------------------------------------


def alternatives(annotation: Any) -> list[Any]:
    """The types that an annotation allows, null left out."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return alternatives(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [a for arg in typing.get_args(annotation) for a in alternatives(arg)]
    return [] if annotation is type(None) else [annotation]


def _is_class(node: Any) -> bool:
    return isinstance(node, type) and issubclass(node, Settings)


def _trace(loc: tuple[int | str, ...], root: type[Settings]) -> _Traced:
    key: Key = ()
    node: Any = root
    union: Key | None = None
    for part in loc:
        options = alternatives(node)
        if len(options) > 1:  # the part is a tag
            node = next((o for o in options if _is_class(o) and _tag(o) == part), None)
            union = union if node is not None and "kind" in node.model_fields else key
            continue
        key, node = (*key, str(part)), _inner(options[0] if options else None, part)
    return _Traced(key, node, union)


def _tag(settings: type[Settings]) -> str:
    return kind_of(settings) if "kind" in settings.model_fields else settings.__name__


def _inner(node: Any, part: int | str) -> Any:
    if _is_class(node):
        return node.model_fields[part].annotation if part in node.model_fields else node
    args = typing.get_args(node)
    return args[0] if args and isinstance(part, int) else None


def _one_alternative(details: list[Any], root: type[Settings]) -> Iterator[Any]:
    """Of the errors of a union's alternatives, those of the one that was meant; else one for all."""
    groups: dict[Key, list[Any]] = {}
    for detail in details:
        union = _trace(detail["loc"], root).union
        if union is None:
            yield detail
        else:
            groups.setdefault(union, []).append(detail)
    for union, group in groups.items():
        yield from _meant(union, group, root)


def _meant(union: Key, group: list[Any], root: type[Settings]) -> list[Any]:
    deeper = [d for d in group if len(_trace(d["loc"], root).key) > len(union)]
    in_range = [d for d in group if d["type"] in _LIMITS]
    if deeper or in_range:
        return deeper or in_range
    loc = group[0]["loc"][:-1]
    return [{"type": "no_alternative", "loc": loc, "input": group[0]["input"]}]


# -- sentences ---------------------------------------------------------------------------------------------------------


def _sentence(detail: Any, root: type[Settings]) -> tuple[Key, str, tuple[str, ...]]:
    """Key, message, and the sections whose axes may be the cause."""
    key, node, _ = _trace(detail["loc"], root)
    if detail["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return (*key, "kind"), _kind(detail), ()
    if detail["type"] != "value_error":
        return key, _message(detail, key, node, root), ()
    message = str(detail["ctx"]["error"])
    name, colon, rest = message.partition(": ")
    if colon and name.isidentifier():
        key, message = (*key, name), rest
    return key, message, key[:1]


_LIMITS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "above"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "below"),
}
_NEEDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "a text",
    "tuple": "a list",
    "dict": "a mapping",
}


def _message(detail: Any, key: Key, node: Any, root: type[Settings]) -> str:
    kind, value = detail["type"], detail["input"]
    got = f"got {shown(value)}"
    if kind == "extra_forbidden":
        return unknown_setting(key, root, node)
    if kind == "missing":
        return "is missing and has no default" + _choice_of_kinds(node)
    if kind in _LIMITS:
        limit, words = _LIMITS[kind]
        return f"must be {words} {detail['ctx'][limit]}, {got}"
    if kind == "finite_number":
        return f"must be finite, {got}"
    if kind == "string_pattern_mismatch":
        return f"must be letters, digits, '.', '_' and '-', beginning with a letter or digit, {got}"
    if kind.endswith("too_short"):
        return f"must not be empty, {got}"
    return f"needs {_needs(kind, node)}, {got}{_hint(kind, value, node)}"


def _needs(error: str, node: Any) -> str:
    if error.split("_")[0] in _NEEDS and error != "no_alternative":
        return _NEEDS[error.split("_")[0]]
    words = [_in_words(a) for a in alternatives(node)]
    if len(words) > 1 and all(_is_class(a) for a in alternatives(node)):
        return f"a mapping{_choice_of_kinds(node)}"
    return " or ".join(", ".join(words).rsplit(", ", 1)) if words else "another value"


def _in_words(node: Any) -> str:
    if typing.get_origin(node) is typing.Literal:
        return " or ".join(", ".join(map(str, typing.get_args(node))).rsplit(", ", 1))
    if _is_class(node) and len(node.model_fields) > 3:
        return "a mapping of settings"
    if _is_class(node):
        return f"{{{', '.join(f'{n}: {_example(f)}' for n, f in node.model_fields.items())}}}"
    return {int: "a whole number", float: "a number", str: "a text"}.get(node, "another value")


def _example(field: Any) -> Any:
    return "n" if field.default is PydanticUndefined else shown(field.default)


def _hint(error: str, value: Any, node: Any) -> str:
    if isinstance(value, str) and error.startswith(("int", "float")) and _is_number(value):
        return ", which is a text; write it without quotes"
    choices = [w for a in alternatives(node) if typing.get_origin(a) is typing.Literal for w in typing.get_args(a)]
    guess = difflib.get_close_matches(str(value), [str(w) for w in choices], 1)
    return f" (did you mean '{guess[0]}'?)" if guess and error == "literal_error" else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _kind(detail: Any) -> str:
    tags = detail["ctx"].get("expected_tags", "").replace("'", "") if "ctx" in detail else ""
    if detail["type"] == "union_tag_not_found":
        return "is missing" + (f"; one of {tags}" if tags else "")
    tag = detail["ctx"]["tag"]
    guess = difflib.get_close_matches(tag, tags.split(", "), 1)
    return f"unknown kind '{tag}'; one of {tags}" + (f" (did you mean '{guess[0]}'?)" if guess else "")


def _choice_of_kinds(node: Any) -> str:
    classes = [a for a in alternatives(node) if _is_class(a) and "kind" in a.model_fields]
    return f" whose kind is one of {', '.join(kind_of(c) for c in classes)}" if classes else ""


def shown(value: Any) -> str:
    """A value as it stands in YAML, shortened."""
    if isinstance(value, str):
        return f"'{value}'"
    try:
        text = json.dumps(value)
    except TypeError:
        text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


# -- names -------------------------------------------------------------------------------------------------------------


def _classes_at(key: Key, root: type[Settings]) -> list[type[Settings]]:
    """The settings classes, of every kind, that can stand at a key."""
    found = [root]
    for part in key:
        inner = [a for c in found if part in c.model_fields for a in alternatives(c.model_fields[part].annotation)]
        items = [a for i in inner for arg in typing.get_args(i) for a in alternatives(arg)] if part != "axes" else []
        found = [c for c in (*inner, *items) if _is_class(c)] or (found if part.isdigit() else [])
    return found


def _closest(name: str, section: Key, root: type[Settings]) -> str:
    names = sorted({n for c in _classes_at(section, root) for n in c.model_fields})
    return next(iter(difflib.get_close_matches(name, names, 1)), "")


def _elsewhere(name: str, root: type[Settings]) -> str:
    """The dotted name of a setting of this name in another section."""
    return next((n for n in dotted_names(root) if n.rpartition(".")[2] == name), "")


def dotted_names(root: type[Settings], prefix: str = "") -> Iterator[str]:
    """Names of all settings of all kinds."""
    for name, field in root.model_fields.items():
        yield prefix + name
        for inner in alternatives(field.annotation):
            if _is_class(inner):
                yield from dotted_names(inner, f"{prefix}{name}.")
