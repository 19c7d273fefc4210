"""What the rows of a claims.yaml may name, and the messages for a wrong name or value, one sentence each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NoReturn, get_args, get_origin, get_type_hints

from analysis.sources.core.checks import CHECKS, Check
from analysis.sources.core.configuration import Configuration
from analysis.sources.core.quantities import QUANTITIES, Quantity

Sets = Mapping[str, tuple[Configuration, ...]]


class PublishedError(ValueError):
    """A claims.yaml that cannot be used. The message is one sentence with the place and what must be there."""


@dataclass(frozen=True)
class Lookup:
    """`place`: the source, then the part and the row, as messages name them."""

    place: str
    sets: Sets = field(default_factory=dict)
    quantities: Mapping[str, Quantity] = field(default_factory=lambda: QUANTITIES)
    checks: Mapping[str, Check] = field(default_factory=lambda: CHECKS)

    def wrong(self, why: str) -> NoReturn:
        raise PublishedError(f"{self.place}: {why}")

    def at(self, place: str) -> Lookup:
        """The same for a place further inside the file."""
        return replace(self, place=f"{self.place}, {place}")

    def known(self, kind: str, name: Any, names: Iterable[str]) -> str:
        """The name. If it is not one of `names`, raises PublishedError with these."""
        choices = list(dict.fromkeys(names))
        if name not in choices:
            self.wrong(f"{kind} must be {_any_of(choices)}; '{name}' is unknown")
        return name

    def configurations(self, name: Any) -> tuple[Configuration, ...]:
        """A set by its name, or one configuration by its own name ('set/name' if several sets have that name)."""
        if isinstance(name, str) and name in self.sets:
            return self.sets[name]
        # Groups repeat configurations. The first set that has one is the set that defines it.
        homes = {one: home for home, chosen in [*self.sets.items()][::-1] for one in chosen}
        matches = [one for one, home in homes.items() if name in (one.name, f"{home}/{one.name}")]
        if len(matches) > 1:
            choices = [f"{homes[one]}/{one.name}" for one in matches]
            self.wrong(f"configuration must be {_any_of(choices)}; '{name}' is in several sets")
        if not matches:
            self.known("configuration", name, [*self.sets, *(one.name for one in homes)])
        return (matches[0],)

    def arguments(
        self, kind: str, name: str, function: Callable[..., Any], given: Sequence[Any], first: int
    ) -> dict[str, Any]:
        """The given arguments by name. The YAML does not give the first `first` parameters and `show`."""
        hints = get_type_hints(function)
        wanted = [p for p in inspect.signature(function).parameters.values() if p.name != "show"]
        wanted = wanted[first:]
        least = sum(p.default is inspect.Parameter.empty for p in wanted)
        if not least <= len(given) <= len(wanted):
            right = ", ".join(p.name for p in wanted) or "none"
            self.wrong(f"arguments of {kind} '{name}' must be {right}; {len(given)} are given")
        for parameter, value in zip(wanted, given, strict=False):
            if right := _not_a(hints.get(parameter.name), value):
                self.wrong(f"{kind} '{name}': {parameter.name} must be {right}; got {value!r}")
        # YAML has a level of 1 as an int.
        return {
            p.name: float(value) if hints.get(p.name) is float else value
            for p, value in zip(wanted, given, strict=False)
        }


def read_sets(tree: Mapping[str, Any], lookup: Lookup) -> Sets:
    """Configurations by the name of their set, and then groups of them. A group may name the groups before it."""
    sets = {name: tuple(_set(name, s, lookup)) for name, s in tree["configurations"].items()}
    for name, members in tree.get("groups", {}).items():
        known = replace(lookup, sets=sets).at(f"group '{name}'")
        sets[name] = tuple(one for member in members for one in known.configurations(member))
    return sets


def _set(name: str, given: Any, lookup: Lookup) -> Iterator[Configuration]:
    """Configurations of one experiment: all its runs, or those with a value on the axis, or with several settings."""
    if not isinstance(given, dict) or not {"experiment"} <= {*given} <= {
        "experiment",
        "axis",
        "runs",
    }:
        right = "an experiment, and if needed an axis and runs"
        lookup.wrong(f"configuration '{name}' must have {right}; got {given!r}")
    experiment, axis = given["experiment"], given.get("axis")
    if "runs" not in given:
        yield Configuration(name, experiment)
    if not isinstance(given.get("runs", {}), dict):
        lookup.wrong(f"configuration '{name}': runs must be {{name: value}}; got {given['runs']!r}")
    for own, value in given.get("runs", {}).items():
        settings = {axis: value} if axis else value
        if not isinstance(settings, dict):
            right = "{setting: value}, or the set must have an axis"
            lookup.wrong(f"configuration '{own}' must be {right}; got {value!r}")
        yield Configuration(own, experiment, tuple(settings.items()))


def is_number(x: Any) -> bool:
    """Whether it is a number, and not true or false."""
    return isinstance(x, int | float) and not isinstance(x, bool)


def _not_a(kind: Any, value: Any) -> str:
    """What a value must be instead; empty if the value is allowed."""
    if get_origin(kind) is Literal:
        return "" if value in get_args(kind) else _any_of(get_args(kind))
    if kind is float:
        return "" if is_number(value) else "a number"
    return "a text" if kind is str and not isinstance(value, str) else ""


def _any_of(names: Sequence[str]) -> str:
    choices = ", ".join(f"'{name}'" for name in names)
    return f"one of {choices}" if len(names) > 1 else choices
