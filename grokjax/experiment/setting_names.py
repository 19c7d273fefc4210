"""The names of settings, and the name that was probably meant."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator
from typing import Any

from grokjax.experiment.places import Key
from grokjax.quoting import VALUE
from grokjax.settings import Settings, kind_of


def alternatives(annotation: Any) -> list[Any]:
    """The types that an annotation allows, null left out."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return alternatives(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [a for arg in typing.get_args(annotation) for a in alternatives(arg)]
    return [] if annotation is type(None) else [annotation]


def is_class(node: Any) -> bool:
    """Whether an annotation is a class of settings."""
    return isinstance(node, type) and issubclass(node, Settings)


def unknown_setting(key: Key, root: type[Settings], node: Any = None) -> str:
    """The message for an unknown name, with the name that was probably meant."""
    others = [c for c in _classes_at(key[:-1], root) if key[-1] in c.model_fields]
    if is_class(node) and others and "kind" in node.model_fields:
        named = " or ".join(kind_of(c) for c in others)
        return f"kind {kind_of(node)} does not have this setting, only kind {named}; remove it or change the kind"
    guess = closest(key[-1], key[:-1], root) or _elsewhere(key[-1], root)
    return "unknown setting" + (
        f" (did you mean '{guess}'?)" if guess else "; --help lists all settings"
    )


def _classes_at(key: Key, root: type[Settings]) -> list[type[Settings]]:
    """The settings classes, of every kind, that can stand at a key."""
    classes = [root]
    for part in key:
        inner = [
            a
            for c in classes
            if part in c.model_fields
            for a in alternatives(c.model_fields[part].annotation)
        ]
        items = (
            [a for i in inner for arg in typing.get_args(i) for a in alternatives(arg)]
            if part != "axes"
            else []
        )
        classes = [c for c in (*inner, *items) if is_class(c)] or (
            classes if part.isdigit() else []
        )
    return classes


def is_required(name: str, root: type[Settings]) -> bool:
    """Whether a setting is required in some kind that has it. `kind` is required if there are several."""
    *section, last = name.split(".")
    classes = [c for c in _classes_at(tuple(section), root) if last in c.model_fields]
    several = last == "kind" and len(classes) > 1
    return several or any(c.model_fields[last].is_required() for c in classes)


def closest(name: str, section: Key, root: type[Settings]) -> str:
    """The most similar name in a section, over all its kinds; empty if none is similar."""
    if len(name) > VALUE:  # near no name, and looking would take long
        return ""
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
            if is_class(inner):
                yield from dotted_names(inner, f"{prefix}{name}.")
