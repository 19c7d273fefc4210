"""Pydantic's errors as sentences: the key as the user wrote it, what was given, and what to use instead."""

from __future__ import annotations

import difflib
import itertools
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import PydanticUndefined

from grokjax.experiment.places import Key, Places
from grokjax.experiment.setting_names import alternatives, closest, is_class, unknown_setting
from grokjax.quoting import cut, shown
from grokjax.settings import SettingError, Settings, kind_of

MOST = 10
"""Largest number of mistakes that are reported together."""
_COMPARED = 100
"""Number of unknown names that are compared with the names of missing settings."""


class _Traced(NamedTuple):
    """Where an error's location leads, without the tags that pydantic puts in for unions."""

    key: Key
    node: Any
    """Annotation at the key; of its last settings class where the key is unknown to it."""
    union: Key | None
    """Key of the union without kinds that was passed, e.g. `int | Epochs`."""


def sentences(error: ValidationError, places: Places, root: type[Settings]) -> list[str]:
    """One sentence for each wrong setting; after the first ten, only how many more there are."""
    wrong = _wrong_settings(error, root)
    messages = [
        places.sentence(*_sentence(detail, root))
        for detail in itertools.islice(wrong.values(), MOST)
    ]
    return messages + ([f"and {len(wrong) - MOST:,} more"] if len(wrong) > MOST else [])


def _wrong_settings(error: ValidationError, root: type[Settings]) -> dict[Key, Any]:
    """The first error of each setting that the user has to change, by key."""
    details = [
        (_trace(d["loc"], root).key, d)
        for d in _one_alternative(error.errors(include_url=False), root)
    ]
    unknown = [key for key, d in details if d["type"] == "extra_forbidden"]
    # A typo in a required setting makes it both unknown and missing: one sentence is enough.
    guessed = {(*key[:-1], closest(key[-1], key[:-1], root)) for key in unknown[:_COMPARED]}
    # For a list with a wrong entry pydantic also reports that it is too short.
    outer = {key[:n] for key, _ in details for n in range(len(key))}
    first: dict[Key, Any] = {}
    for key, detail in details:
        if key not in outer and (detail["type"] != "missing" or key not in guessed):
            first.setdefault(key, detail)
    return first


# -- locations ---------------------------------------------------------------------------------------------------------


def _trace(loc: tuple[int | str, ...], root: type[Settings]) -> _Traced:
    key: Key = ()
    node: Any = root
    union: Key | None = None
    for part in loc:
        options = alternatives(node)
        if len(options) > 1:  # the part is a tag
            node = next((o for o in options if is_class(o) and _tag(o) == part), None)
            union = union if node is not None and "kind" in node.model_fields else key
            continue
        key, node = (*key, str(part)), _inner(options[0] if options else None, part)
    return _Traced(key, node, union)


def _tag(settings: type[Settings]) -> str:
    return kind_of(settings) if "kind" in settings.model_fields else settings.__name__


def _inner(node: Any, part: int | str) -> Any:
    if is_class(node):
        return node.model_fields[part].annotation if part in node.model_fields else node
    args = typing.get_args(node)
    return args[0] if args and isinstance(part, int) else None


def _one_alternative(details: list[Any], root: type[Settings]) -> Iterator[Any]:
    """For a union, the errors of the alternative that was probably meant, or else one error for all of them."""
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
        return (*key, "kind"), _kind(detail, node), ()
    if detail["type"] != "value_error":
        because = key[:1] if detail["type"] == "extra_forbidden" else ()
        return key, _message(detail, key, node, root), because
    error = detail["ctx"]["error"]
    if isinstance(error, SettingError):
        key, error = (*key, error.name), error.why
    return key, cut(error, 300), key[:1]


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
    "string": "text",
    "tuple": "a list",
    "dict": "a mapping",
}


def _message(detail: Any, key: Key, node: Any, root: type[Settings]) -> str:
    kind, value, kinds = detail["type"], detail["input"], _choice_of_kinds(node)
    got = f"got {shown(value)}"
    if kind == "extra_forbidden":
        return unknown_setting(key, root, node)
    if kind == "missing":
        return "is missing and has no default; " + (
            f"give it a mapping{kinds}" if kinds else "give it a value"
        )
    if kind in _LIMITS:
        limit, words = _LIMITS[kind]
        return f"must be {words} {_plain(detail['ctx'][limit])}, {got}"
    if kind == "finite_number":
        return f"must be finite, {got}"
    if kind == "string_pattern_mismatch":
        return f"may contain letters, digits, '.', '_' and '-' and must begin with a letter or digit, {got}"
    if kind.endswith("too_long"):
        most = detail["ctx"]["max_length"]
        return f"must have at most {most} {'characters' if kind == 'string_too_long' else 'entries'}, {got}"
    if kind.endswith("too_short"):
        return f"must not be empty, {got}"
    return f"needs {_needs(kind, node)}, {got}{_hint(kind, value, node)}"


def _plain(limit: int | float) -> str:
    return str(int(limit)) if limit == int(limit) else str(limit)


def _needs(error: str, node: Any) -> str:
    if error.split("_")[0] in _NEEDS and error != "no_alternative":
        return _NEEDS[error.split("_")[0]]
    choices = alternatives(node)
    if len(choices) > 1 and all(is_class(a) for a in choices):
        return f"a mapping{_choice_of_kinds(node)}"
    return _listed([word for a in choices for word in _in_words(a)] or ["another value"])


def _listed(words: list[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def _in_words(node: Any) -> list[str]:
    if typing.get_origin(node) is typing.Literal:
        words = [str(word) for word in typing.get_args(node)]
        # Names with a comma or a blank inside would not be told apart.
        return [shown(w) for w in words] if any("," in w or " " in w for w in words) else words
    if typing.get_origin(node) is tuple:
        return ["a list"]
    if is_class(node) and len(node.model_fields) > 3:
        return ["a mapping of settings"]
    if is_class(node):
        return [f"{{{', '.join(f'{n}: {_example(f)}' for n, f in node.model_fields.items())}}}"]
    return [{int: "a whole number", float: "a number", str: "text"}.get(node, "another value")]


def _example(field: Any) -> Any:
    return "n" if field.default is PydanticUndefined else shown(field.default)


def _hint(error: str, value: Any, node: Any) -> str:
    if isinstance(value, str) and error.startswith(("int", "float")) and _is_number(value):
        return ", which is text; write it without quotes"
    if error != "literal_error":
        return ""
    choices = [
        w
        for a in alternatives(node)
        if typing.get_origin(a) is typing.Literal
        for w in typing.get_args(a)
    ]
    guess = difflib.get_close_matches(shown(value).strip("'"), [str(w) for w in choices], 1)
    return f" (did you mean '{guess[0]}'?)" if guess else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _kind(detail: Any, node: Any) -> str:
    kinds = [kind_of(c) for c in alternatives(node)]
    if detail["type"] == "union_tag_not_found":
        return f"is missing; use {_listed(kinds)}"
    tag = detail["ctx"]["tag"]
    guess = difflib.get_close_matches(cut(tag), kinds, 1)
    meant = f" (did you mean '{guess[0]}'?)" if guess else ""
    return f"unknown kind '{cut(tag)}'; use {_listed(kinds)}{meant}"


def _choice_of_kinds(node: Any) -> str:
    classes = [a for a in alternatives(node) if is_class(a) and "kind" in a.model_fields]
    return f" whose kind is {_listed([kind_of(c) for c in classes])}" if classes else ""
