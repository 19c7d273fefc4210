"""From YAML and overrides to an Experiment, with every mistake told in one sentence that names its place."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from grokjax.axes import expand_axes, split_names, tidy_name
from grokjax.config import Experiment, RunSettings
from grokjax.mistakes import sentences
from grokjax.names import is_required
from grokjax.settings import Settings
from grokjax.source import ConfigError, Key, Source

__all__ = ["ConfigError", "Source", "load_experiment", "load_with_source", "validate"]

AnySettings = TypeVar("AnySettings", bound=Settings)


def load_experiment(path: str | Path, overrides: list[str] | None = None) -> Experiment:
    """Read a configuration file, apply overrides, validate."""
    return load_with_source(path, overrides or [])[0]


def load_with_source(path: str | Path, overrides: list[str]) -> tuple[Experiment, Source]:
    """As load_experiment, and where each setting came from."""
    data, lines = _read(Path(path))
    source = Source(str(path), lines)
    for word in overrides:
        key, value = _parse_override(word)
        source = source.without(key)
        if _put(data, key, value):
            source.overrides[key] = word
    return experiment_from(data, source), source


def experiment_from(data: dict[str, Any], source: Source) -> Experiment:
    """Plain data to an Experiment. Raises ConfigError.

    A setting that varies keeps the value that is given beside its axis, or its default: runs of a time before the axis
    have that one, and the results directory must say so. Where there is neither, it has the first value of its axis.
    """
    axes = data.get("axes")
    if not isinstance(axes, dict) or not axes:
        return validate(data, source, Experiment)
    first = {name: values[0] for name, values in expand_axes(axes, source).items()}
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
        return validate(at_point(data, first), at_axes(source, first), Experiment)


def _has_base(data: dict[str, Any]) -> Callable[[str], bool]:
    """Whether a setting has a value without its axis: one that is given, or a default."""

    def has(name: str) -> bool:
        node: Any = data
        for part in name.split("."):
            if not isinstance(node, dict) or part not in node:
                return not is_required(name, RunSettings)
            node = node[part]
        return True

    return has


def at_axes(source: Source, point: dict[str, Any]) -> Source:
    """The source of a point's settings: those that vary come from their axes."""
    axis_of = {tuple(n.split(".")): axis for axis in point for n in split_names(axis)}
    return dataclasses.replace(source, axis_of=axis_of, point=point)


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


def validate(data: dict[str, Any], source: Source, settings: type[AnySettings]) -> AnySettings:
    """Plain data to settings. Raises ConfigError."""
    try:
        return settings.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(sentences(error, source, settings))) from None


def parse_yaml(text: str) -> Any:
    """YAML 1.2: `1e-3` is a number, `off` is a string, duplicate keys are refused."""
    return _plain(YAML(typ="rt").load(text))


def _read(path: Path) -> tuple[dict[str, Any], dict[Key, int]]:
    try:
        document = YAML(typ="rt").load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not a text file in UTF-8") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigError(f"{where}: YAML syntax: {_problem(error)}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: is not a mapping of settings; see configs/quickstart.yaml")
    data, lines = _plain(document), dict(_lines(document, ()))
    if isinstance(data.get("axes"), dict):
        data["axes"] = {tidy_name(name): values for name, values in data["axes"].items()}
    return data, lines


def _problem(error: YAMLError) -> str:
    """What the parser says, without its advice on its own options."""
    told = [error.context, error.problem] if isinstance(error, MarkedYAMLError) else [error]
    return " ".join(" ".join(str(t) for t in told if t).split())


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


def _plain(node: Any) -> Any:
    """ruamel's round-trip types to plain Python."""
    if isinstance(node, dict):
        return {str(k): _plain(v) for k, v in node.items()}
    if isinstance(node, list):
        return [_plain(v) for v in node]
    if isinstance(node, ScalarBoolean):
        return bool(node)
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _parse_override(word: str) -> tuple[Key, Any]:
    name, equals, text = word.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"override {word}: has no '='; write setting=value, e.g. task.p=47")
    try:
        value = parse_yaml(text)
    except YAMLError as error:
        raise ConfigError(f"override {word}: {name}: YAML syntax: {_problem(error)}") from None
    # Everything after `axes.` is one literal key: names of axes contain dots.
    key = ("axes", tidy_name(name[5:])) if name.startswith("axes.") else tuple(name.split("."))
    if not all(key):
        raise ConfigError(
            f"override {word}: {name}: is no setting's name; write it as in task.p=47"
        )
    if key == ("axes",) and isinstance(value, dict):
        value = {tidy_name(axis): values for axis, values in value.items()}
    return key, value


def _put(data: dict[str, Any], key: Key, value: Any) -> bool:
    """Set the value at a key. False where that took an axis away."""
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
