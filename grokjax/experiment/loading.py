"""From YAML and overrides to an Experiment. For every mistake there is one sentence that names its place."""

from __future__ import annotations

import dataclasses
import io
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from grokjax.experiment.axes import expand_axes
from grokjax.experiment.axis_names import split_names, tidy_name
from grokjax.experiment.config import Experiment, RunSettings
from grokjax.experiment.parsing import MAX_DEPTH, Unreadable, load_yaml, parse_yaml, plain
from grokjax.experiment.places import ConfigError, Key, Places
from grokjax.experiment.sentences import sentences
from grokjax.experiment.setting_names import is_required
from grokjax.quoting import cut, cut_path
from grokjax.settings import Settings

__all__ = [
    "ConfigError",
    "Places",
    "load_experiment",
    "load_with_places",
    "parse_yaml",
    "validate",
]

AnySettings = TypeVar("AnySettings", bound=Settings)


def load_experiment(path: str | Path, overrides: list[str] | None = None) -> Experiment:
    """Read a configuration file, apply overrides, validate."""
    return load_with_places(path, overrides or [])[0]


def load_with_places(path: str | Path, overrides: list[str]) -> tuple[Experiment, Places]:
    """As load_experiment, and also where each setting was written."""
    data, places = _read(Path(path))
    for word in overrides:
        key, value = _parse_override(word)
        places = places.without(key)
        if _put(data, key, value):
            places.overrides[key] = word
    return experiment_from(data, places), places


def experiment_from(data: dict[str, Any], places: Places) -> Experiment:
    """Plain data to an Experiment. Raises ConfigError.

    A setting with an axis keeps the value that is given besides the axis, or its default: runs that were trained before
    the axis was added have this value, and the results directory must say so. Without either, it gets the first value
    of its axis.
    """
    axes = data.get("axes")
    if not isinstance(axes, dict) or not axes:
        return validate(data, places, Experiment)
    first = {name: values[0] for name, values in expand_axes(axes, places).items()}
    lacking = {
        axis: value
        for axis, value in first.items()
        if not all(map(_has_base(data), split_names(axis)))
    }
    try:
        return Experiment.model_validate(at_point(data, lacking))
    except (
        ValidationError
    ):  # no run has this base: a point of the grid tells better what is wrong, if anything
        return validate(at_point(data, first), at_axes(places, first), Experiment)


def _has_base(data: dict[str, Any]) -> Callable[[str], bool]:
    """Whether a setting has a value without its axis: a given one or a default."""

    def has(name: str) -> bool:
        node: Any = data
        for part in name.split("."):
            if not isinstance(node, dict) or part not in node:
                return not is_required(name, RunSettings)
            node = node[part]
        return True

    return has


def at_axes(places: Places, point: dict[str, Any]) -> Places:
    """The places of a point's settings: those that vary come from their axes."""
    axis_of = {tuple(n.split(".")): axis for axis in point for n in split_names(axis)}
    return dataclasses.replace(places, axis_of=axis_of, point=point)


def at_point(data: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    """The settings with every axis at its value of the point (by the axis's name)."""
    for axis, value in point.items():
        names = split_names(axis)
        for name, part in zip(names, value if len(names) > 1 else [value], strict=True):
            data = _replace(data, name.split("."), part)
    return data


def _replace(data: dict, path: list[str], value: Any) -> dict:
    if len(path) == 1:
        return {**data, path[0]: value}
    inner = data.get(path[0])
    return {**data, path[0]: _replace(inner if isinstance(inner, dict) else {}, path[1:], value)}


def validate(data: dict[str, Any], places: Places, settings: type[AnySettings]) -> AnySettings:
    """Plain data to settings. Raises ConfigError."""
    try:
        return settings.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(sentences(error, places, settings))) from None


def _read(path: Path) -> tuple[dict[str, Any], Places]:
    told = cut_path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        document = load_yaml(text)
    except OSError as error:
        raise ConfigError(f"{told}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{told}: must be a text file in UTF-8") from None
    except Unreadable as error:
        raise ConfigError(f"{told}{error.place}: {error}") from None
    except ValueError:  # Python's word for such a path
        raise ConfigError(f"{told}: a path cannot contain a null byte; remove it") from None
    if not isinstance(document, dict):
        raise ConfigError(
            f"{told}: must be a mapping of settings; see configs/quickstart.yaml for an example"
        )
    data = plain(document)
    places = Places(str(path), dict(_lines(document, ())), claim=_claim(text))
    if isinstance(data.get("axes"), dict):
        data["axes"] = _tidy(data["axes"], places)
    return data, places


def _claim(text: str) -> str:
    """The comment at the top of a configuration, which says what it shows."""
    head = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    return "\n".join(line[1:].strip() for line in head)


def _tidy(axes: dict[str, Any], places: Places) -> dict[str, Any]:
    """Axes under their tidy names. Raises ConfigError."""
    tidy = {tidy_name(name): values for name, values in axes.items()}
    if len(tidy) < len(axes):
        names = [tidy_name(name) for name in axes]
        twice = next(name for name in tidy if names.count(name) > 1)
        raise places.error(("axes", twice), "is there twice; remove one of the two axes")
    return tidy


def _lines(node: Any, prefix: Key) -> Iterator[tuple[Key, int]]:
    if isinstance(node, CommentedMap):
        known = node.lc.data or {}
        children = [(str(k), v, known[k][0]) for k, v in node.items() if k in known]
    elif isinstance(node, CommentedSeq):
        children = [(str(i), v, node.lc.item(i)[0]) for i, v in enumerate(node)]
    else:
        return
    for name, value, line in children:
        key = (*prefix, tidy_name(name) if prefix == ("axes",) else name)
        yield key, line + 1
        yield from _lines(value, key)


def _parse_override(word: str) -> tuple[Key, Any]:
    name, equals, text = word.partition("=")
    start = f"override {cut(word)}"
    if not equals or not name.strip():
        raise ConfigError(f"{start}: has no '='; write setting=value, for example task.p=47")
    try:
        value = parse_yaml(text)
    except Unreadable as error:
        raise ConfigError(f"{start}: {cut(name)}: {_in_quotes(name, text) or error}") from None
    # Everything after `axes.` is one literal key: names of axes contain dots.
    key = ("axes", tidy_name(name[5:])) if name.startswith("axes.") else tuple(name.split("."))
    is_text = not any("\ud800" <= c <= "\udfff" for c in name)  # bytes that are no UTF-8
    if not all(key) or len(key) > MAX_DEPTH or not is_text:
        raise ConfigError(
            f"{start}: {cut(name)}: is not the name of a setting; write it like task.p=47"
        )
    if key == ("axes",) and isinstance(value, dict):
        value = _tidy(value, Places("", overrides={key: word}))
    return key, value


def _in_quotes(name: str, text: str) -> str | None:
    """How to write a text whose first character means something else in YAML; None if it is not that."""
    sign = text.lstrip()[:1]
    if not sign or sign not in "|>@`%*":
        return None
    return f"a text that begins with {sign} must be in quotes; write '{cut(name)}=\"{cut(text)}\"'"


def _put(data: dict[str, Any], key: Key, value: Any) -> bool:
    """Set the value at a key. False if this removed an axis."""
    for part in key[:-1]:
        if not isinstance(data.get(part), dict):
            data[part] = {}
        data = data[part]
    if value is None and key[0] == "axes":
        data.pop(key[-1], None)
        return False
    data[key[-1]] = value
    return True


def dump_yaml(data: Any) -> str:
    """Plain data as YAML 1.2 text."""
    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.width = 120
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(data, stream)
    return stream.getvalue()
