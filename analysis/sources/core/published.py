"""What a source published, from its claims.yaml: configurations, and rows of numbers with the checks of ours.

If the value of a key is a list, each entry makes one row of the table. All lists of a row must be equally long. All
names are looked up on load, so that a wrong name gives an error message and not a row of the table.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NoReturn

from analysis.sources.core import estimates, wording
from analysis.sources.core.checks import CHECKS, Check
from analysis.sources.core.claims import Claim
from analysis.sources.core.configuration import Configuration
from analysis.sources.core.lookup import Lookup, Sets, is_number, read_sets
from analysis.sources.core.quantities import QUANTITIES, Quantity
from analysis.sources.core.row import Row
from grokjax.experiment.parsing import Unreadable, parse_yaml

FORMATS = {
    "plain": estimates.plain,
    "percent": estimates.percent,
    "percent_exactly": estimates.percent_exactly,
}
KEYS = ("what", "of", "group", "measured", "read", "show", "check", "published", "other", "within", "around", "approx",
        "digits", "told", "note", "cite")  # fmt: skip
SPREAD = ("of", "published", "other")
"""Keys whose values may be lists. Arguments of `read` and `check` may also be lists."""


@dataclass(frozen=True)
class Published:
    """Title, configurations by the name of their set or group, and the rows of the table."""

    title: str
    sets: Sets
    claims: tuple[Claim, ...]

    @property
    def experiments(self) -> tuple[str, ...]:
        """Names of the experiments in the order of the configurations."""
        return tuple(dict.fromkeys(one.experiment for s in self.sets.values() for one in s))


def load(
    text: str,
    source: str,
    quantities: Mapping[str, Quantity] | None = None,
    checks: Mapping[str, Check] | None = None,
) -> Published:
    """Read the text of a claims.yaml. `quantities`, `checks`: those only this source has. Raises PublishedError."""
    lookup = Lookup(source, {}, QUANTITIES | dict(quantities or {}), CHECKS | dict(checks or {}))
    tree = _tree(text, lookup)
    lookup = replace(lookup, sets=read_sets(tree, lookup))
    claims = [claim for part in tree["parts"] for claim in _part(part, lookup)]
    names = [(claim.part, claim.what) for claim in claims]
    for part, what in names:
        if names.count((part, what)) > 1:
            lookup.wrong(
                f"rows must have different names; part '{part}' has the row '{what}' twice"
            )
    return Published(tree["title"], lookup.sets, tuple(claims))


def _tree(text: str, lookup: Lookup) -> dict[str, Any]:
    try:
        tree = parse_yaml(text)
    except Unreadable as error:
        lookup.wrong(f"{error.place.removeprefix(':')} {error}".strip())
    kinds = {"title": str, "configurations": dict, "parts": list}
    for key, kind in kinds.items():
        if not isinstance(tree, dict) or not isinstance(tree.get(key), kind):
            lookup.wrong(
                f"the file must have {', '.join(kinds)}; '{key}' is missing or no {kind.__name__}"
            )
    return tree


def _part(part: Any, lookup: Lookup) -> Iterator[Claim]:
    """The claims of a part. Its other keys are defaults for all its rows."""
    if not isinstance(part, dict) or "part" not in part or not isinstance(part.get("rows"), list):
        lookup.wrong("a part must be {part: ..., rows: [...]}; this one has no name or no rows")
    name, defaults = part["part"], {k: v for k, v in part.items() if k not in ("part", "rows")}
    for own in part["rows"]:
        if not isinstance(own, dict):
            lookup.wrong(f"part '{name}': a row must be {{what: ..., check: ...}}; got {own!r}")
        row = defaults | own
        here = lookup.at(f"part '{name}', row '{row.get('what', 'without what')}'")
        for key in row:
            here.known("key", key, KEYS)
        yield from (_claim(name, one, here) for one in _spread(row, here))


def _spread(row: Mapping[str, Any], lookup: Lookup) -> Iterator[dict[str, Any]]:
    """The row once for each entry of its lists, with `read` and `check` as (name, arguments)."""
    calls = {key: _call(key, row.get(key), lookup) for key in ("read", "check")}
    row = {key: value for key, value in row.items() if key != "of" or "group" not in row}
    if "of" in row:
        row["of"] = _chosen(row["of"], lookup)
    lists = {key: row[key] for key in SPREAD if isinstance(row.get(key), list)}
    for name, arguments in calls.values():
        lists |= {f"the argument of {name}": a for a in arguments if isinstance(a, list)}
    for i in range(_length(lists, lookup)):
        one = {key: lists[key][i] if key in lists else value for key, value in row.items()}
        for key, (name, arguments) in calls.items():
            one[key] = name, [a[i] if isinstance(a, list) else a for a in arguments]
        yield one


def _chosen(of: Any, lookup: Lookup) -> list[Configuration] | Configuration:
    """The configurations that `of` names; without a list around it, if `of` is the name of a single one."""
    named = of if isinstance(of, list) else [of]
    chosen = [one for name in named for one in lookup.configurations(name)]
    return chosen if len(chosen) != 1 or isinstance(of, list) else chosen[0]


def _length(lists: Mapping[str, list], lookup: Lookup) -> int:
    """The length of the lists of a row, which must be equal; 1 if it has no lists."""
    lengths = {key: len(values) for key, values in lists.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        told = ", ".join(f"{key} has {n}" for key, n in lengths.items())
        lookup.wrong(f"lists of a row must be equally long and not empty; {told}")
    return max(lengths.values(), default=1)


def _call(key: str, given: Any, lookup: Lookup) -> tuple[str, list[Any]]:
    """A name, or {name: arguments}; a row may have no `read`."""
    if isinstance(given, dict) and len(given) == 1:
        ((name, arguments),) = given.items()
        return name, arguments if isinstance(arguments, list) else [arguments]
    if not isinstance(given, str | None) or (key == "check" and given is None):
        lookup.wrong(f"{key} must be a name, or {{name: arguments}}; got {given!r}")
    return given or "", []


def _claim(part: str, given: Mapping[str, Any], lookup: Lookup) -> Claim:
    name, arguments = given["check"]
    check = lookup.checks[lookup.known("check", name, lookup.checks)]
    _refuse_wrong_values(given, check, lookup)
    read, fields = _reading(given, lookup)
    own = lookup.arguments("check", name, check.judge, arguments, 2)
    row = _row(given, read, lookup)
    fields |= own | _fields(given, row)
    what = _filled("what", given["what"], fields, lookup)
    published = _filled("told", given.get("told", check.wording), fields, lookup)
    return Claim(part, what, published, lambda results: check.judge(row, results, **own))


def _refuse_wrong_values(given: Mapping[str, Any], check: Check, lookup: Lookup) -> None:
    """Raises PublishedError if a key that the check needs is missing, or if a value has the wrong type."""
    there = {key for key in given if given[key] != ("", [])} | (
        {"within"} if "around" in given else set()
    )
    one = () if {"group"} & {*check.needs, *given} else ("of",)
    needs = ("what", *one, *check.needs)
    if absent := [key for key in needs if key not in there]:
        lookup.wrong(
            f"for this check the row must have {', '.join(needs)}; '{absent[0]}' is missing"
        )
    for key in ("published", "other"):
        if not is_number(given.get(key, 0)):
            lookup.wrong(f"{key} must be a number; got {given[key]!r}")
    for key in ("within", "around"):
        pair = given.get(key, [0, 0])
        if not isinstance(pair, list) or len(pair) != 2 or not all(map(is_number, pair)):
            lookup.wrong(f"{key} must be two numbers; got {pair!r}")
    if "within" in given and given["within"][0] > given["within"][1]:
        lookup.wrong(f"within must have the smaller number first; got {given['within']!r}")
    if not isinstance(given.get("approx", False), bool):
        lookup.wrong(f"approx must be true or false; got {given['approx']!r}")


def _reading(given: Mapping[str, Any], lookup: Lookup) -> tuple[Callable[..., Any], dict[str, Any]]:
    """A function of runs, and its other arguments by name."""
    name, arguments = given["read"]
    show = FORMATS[lookup.known("show", given.get("show", "plain"), FORMATS)]
    if not name:
        return _nothing, {}
    quantity = lookup.quantities[lookup.known("reading", name, lookup.quantities)]
    fields = lookup.arguments("reading", name, quantity, arguments, 1)
    # Some quantities, such as a ratio, have no `show`. Then the format is only that of the published number.
    shown = "show" in inspect.signature(quantity).parameters
    whole = partial(quantity, show=show) if shown else quantity
    return partial(whole, **fields), fields


def _nothing(runs: Any) -> NoReturn:
    raise AssertionError("a check that needs no reading has asked for one")


def _row(given: Mapping[str, Any], read: Callable[..., Any], lookup: Lookup) -> Row:
    chosen = _chosen(given["group"], lookup) if "group" in given else [given["of"]]
    if not isinstance(chosen, list) or ("group" in given and len(chosen) < 2):
        lookup.wrong(f"group must be two or more configurations; got {given['group']!r}")
    own = {key: given[key] for key in ("measured", "note", "approx") if key in given}
    own |= {key: float(given[key]) for key in ("published", "other") if key in given}
    if "within" in given:
        own["within"] = tuple(map(float, given["within"]))
    if "around" in given:
        middle, margin = given["around"]
        own["within"] = round(middle - margin, 12), round(middle + margin, 12)
    return Row(tuple(chosen), read, **own)


def _fields(given: Mapping[str, Any], row: Row) -> dict[str, Any]:
    """What `what` and `told` may name in braces, in addition to the arguments."""
    style = str(given.get("show")).startswith("percent"), given.get("digits", 10), row.approx
    names = [one.name for one in row.configurations]
    low, high = row.within
    fields = {"of": names[0], "low": low, "high": high, "other": row.other}
    fields["order"] = " < ".join(reversed(names) if given["check"][1] == ["falling"] else names)
    if "published" in given:
        fields["published"] = wording.number_text(row.published, *style)
    if "within" in given:
        fields["published"] = wording.range_text(low, high, *style)
    if "around" in given:
        middle, margin = given["around"]
        fields["published"] = wording.margin_text(middle, margin, *style)
    return fields


def _filled(key: str, template: Any, fields: Mapping[str, Any], lookup: Lookup) -> str:
    try:
        return wording.filled(str(template), fields)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        if error.args == ("published",):
            lookup.wrong(
                "the row must have published, within, around or told; nothing is published"
            )
        choices = ", ".join(f"{{{name}}}" for name in fields)
        lookup.wrong(f"{key} must name only {choices}; '{template}' names something else")
