"""`--help`: every setting, its meaning, default and range, from the classes that declare them."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from grokjax.config import Experiment
from grokjax.settings import Settings, kind_of, role_of

USAGE = """usage: python run.py CONFIG.yaml [setting=value ...] [--plan] [--out DIR] [--no-figures]

Trains the grid of CONFIG.yaml, or continues it, and draws its figures into results/<name>.
  setting=value   replaces a setting, lists and axes included: task.p=47 'axes.seed=[0, 1]' (axes.seed=null removes it)
  --plan          say what it would take, train nothing
  --out DIR       results directory (default results/<name>)
  --no-figures    train only; python -m analysis DIR draws later

Settings. Any hyper or shape setting can be an axis. hyper: traced, part of a run's id. shape: changes the program,
part of the id. extendable: can grow later. execution: how it is done here, never part of the id.
"""


def help_text() -> str:
    """The whole help page."""
    return USAGE + "\n" + "\n".join(_section("", Experiment)) + "\n"


def _section(prefix: str, settings: type[Settings]) -> Iterator[str]:
    for name, field in settings.model_fields.items():
        inner = [c for c in _classes(field.annotation) if c.model_fields]
        if name != "kind":
            yield from _entry(prefix + name, field, bool(inner) and role_of(field) is None)
        for kind in inner:
            if "kind" in kind.model_fields:
                yield f"\n  {prefix}{name}: {{kind: {kind_of(kind)}}}   {_line(kind.__doc__)}"
            yield from _section(f"{prefix}{name}.", kind)


def _entry(name: str, field: FieldInfo, section: bool) -> Iterator[str]:
    if section:
        yield f"\n{name}: {_line(field.description)}"
        return
    default = "required" if field.is_required() else f"default {_value(field)}"
    limits = _limits(field)
    what = "; ".join(x for x in (_type(field.annotation), limits, default, role_of(field) or "") if x)
    yield f"  {name}: {_line(field.description)} [{what}]"


def _value(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if isinstance(value, tuple) and value and isinstance(value[0], Settings):
        return ", ".join(v.kind for v in value)  # type: ignore[attr-defined]
    return "null" if value is None else str(value)


_SIGNS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def _limits(field: FieldInfo) -> str:
    found = [(sign, getattr(m, sign)) for m in field.metadata for sign in _SIGNS if hasattr(m, sign)]
    return ", ".join(f"{_SIGNS[sign]} {limit}" for sign, limit in found if limit is not None)


def _type(annotation: Any) -> str:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " | ".join(map(str, args))
    if origin is typing.Annotated:
        return _type(args[0])
    if args and origin is not dict:
        inner = [_type(a) for a in args if a is not Ellipsis]
        return "list of " + inner[0] if origin is tuple else " | ".join(inner)
    if annotation is type(None):
        return "null"
    return getattr(annotation, "__name__", str(annotation))


def _classes(annotation: Any) -> list[type[Settings]]:
    """Settings classes inside an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [c for arg in typing.get_args(annotation) for c in _classes(arg)]


def _line(text: str | None) -> str:
    return " ".join((text or "").split()) if text is not PydanticUndefined else ""
