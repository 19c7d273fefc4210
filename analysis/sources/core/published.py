"""What a source published, from its claims.yaml: configurations, and rows of numbers with how ours are held to them.

A key of a row that is a list makes as many rows of the table; lists of a row are as long as each other. All is looked
up on load, so that a wrong word is one sentence and no row of a table.
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
"""Keys that may be lists; arguments of `read` and `check` may be, too."""


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
    """From the text of a claims.yaml, with quantities and checks that only this source has. Raises PublishedError."""
    lookup = Lookup(source, {}, QUANTITIES | dict(quantities or {}), CHECKS | dict(checks or {}))
    tree = _tree(text, lookup)
    lookup = replace(lookup, sets=read_sets(tree, lookup))
    claims = [claim for part in tree["parts"] for claim in _part(part, lookup)]
    names = [(claim.part, claim.what) for claim in claims]
    for part, what in names:
        if names.count((part, what)) > 1:
            lookup.wrong(f"part '{part}' has the row '{what}' twice; two names would be right")
    return Published(tree["title"], lookup.sets, tuple(claims))


def _tree(text: str, lookup: Lookup) -> dict[str, Any]:
    try:
        tree = parse_yaml(text)
    except Unreadable as error:
        lookup.wrong(f"{error.place.removeprefix(':')} {error}".strip())
    kinds = {"title": str, "configurations": dict, "parts": list}
    for key, kind in kinds.items():
        if not isinstance(tree, dict) or not isinstance(tree.get(key), kind):
            lookup.wrong(f"'{key}' is missing or no {kind.__name__}; {', '.join(kinds)} would be right")  # fmt: skip
    return tree


def _part(part: Any, lookup: Lookup) -> Iterator[Claim]:
    """What stands beside `rows` holds for all rows of the part that do not say otherwise."""
    if not isinstance(part, dict) or "part" not in part or not isinstance(part.get("rows"), list):
        lookup.wrong("a part without a name or rows; {part: ..., rows: [...]} would be right")
    name, defaults = part["part"], {k: v for k, v in part.items() if k not in ("part", "rows")}
    for own in part["rows"]:
        if not isinstance(own, dict):
            lookup.wrong(f"part '{name}', row {own!r}; {{what: ..., check: ...}} would be right")
        row = defaults | own
        here = lookup.at(f"part '{name}', row '{row.get('what', 'without what')}'")
        for key in row:
            here.known("key", key, KEYS)
        yield from (_claim(name, one, here) for one in _spread(row, here))


def _spread(row: Mapping[str, Any], lookup: Lookup) -> Iterator[dict[str, Any]]:
    """The row once for each place of its lists, with `read` and `check` as (name, arguments)."""
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
    """All configurations that are named, or the only one."""
    named = of if isinstance(of, list) else [of]
    found = [one for name in named for one in lookup.configurations(name)]
    return found if len(found) != 1 or isinstance(of, list) else found[0]


def _length(lists: Mapping[str, list], lookup: Lookup) -> int:
    """Of all lists of a row, each of which must be as long; 1 where it has none."""
    lengths = {key: len(values) for key, values in lists.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        told = ", ".join(f"{key} has {n}" for key, n in lengths.items())
        lookup.wrong(f"lists differ in length: {told}; as many of each would be right")
    return max(lengths.values(), default=1)


def _call(key: str, given: Any, lookup: Lookup) -> tuple[str, list[Any]]:
    """A name, or {name: arguments}; a row may have no `read`."""
    if isinstance(given, dict) and len(given) == 1:
        ((name, arguments),) = given.items()
        return name, arguments if isinstance(arguments, list) else [arguments]
    if not isinstance(given, str | None) or (key == "check" and given is None):
        lookup.wrong(f"{key} is {given!r}; a name, or {{name: arguments}}, would be right")
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
    """Every key that the check needs is there, and numbers are numbers."""
    there = {key for key in given if given[key] != ("", [])} | (
        {"within"} if "around" in given else set()
    )
    one = () if {"group"} & {*check.needs, *given} else ("of",)
    needs = ("what", *one, *check.needs)
    if absent := [key for key in needs if key not in there]:
        lookup.wrong(f"'{absent[0]}' is missing; {', '.join(needs)} would be right for this check")
    for key in ("published", "other"):
        if not is_number(given.get(key, 0)):
            lookup.wrong(f"{key}: {given[key]!r}; a number would be right")
    for key in ("within", "around"):
        pair = given.get(key, [0, 0])
        if not isinstance(pair, list) or len(pair) != 2 or not all(map(is_number, pair)):
            lookup.wrong(f"{key}: {pair!r}; two numbers would be right")
    if "within" in given and given["within"][0] > given["within"][1]:
        lookup.wrong(f"within: {given['within']!r}; the smaller number first would be right")
    if not isinstance(given.get("approx", False), bool):
        lookup.wrong(f"approx: {given['approx']!r}; true or false would be right")


def _reading(given: Mapping[str, Any], lookup: Lookup) -> tuple[Callable[..., Any], dict[str, Any]]:
    """A function of runs, and its other arguments by name."""
    name, arguments = given["read"]
    show = FORMATS[lookup.known("show", given.get("show", "plain"), FORMATS)]
    if not name:
        return _nothing, {}
    quantity = lookup.quantities[lookup.known("reading", name, lookup.quantities)]
    fields = lookup.arguments("reading", name, quantity, arguments, 1)
    # A share can be published of a quantity that is none, such as a ratio.
    shown = "show" in inspect.signature(quantity).parameters
    whole = partial(quantity, show=show) if shown else quantity
    return partial(whole, **fields), fields


def _nothing(runs: Any) -> NoReturn:
    raise AssertionError("a check that needs no reading has asked for one")


def _row(given: Mapping[str, Any], read: Callable[..., Any], lookup: Lookup) -> Row:
    chosen = _chosen(given["group"], lookup) if "group" in given else [given["of"]]
    if not isinstance(chosen, list) or ("group" in given and len(chosen) < 2):
        lookup.wrong(f"group: {given['group']!r}; two or more configurations would be right")
    own = {key: given[key] for key in ("measured", "note", "approx") if key in given}
    own |= {key: float(given[key]) for key in ("published", "other") if key in given}
    if "within" in given:
        own["within"] = tuple(map(float, given["within"]))
    if "around" in given:
        middle, margin = given["around"]
        own["within"] = round(middle - margin, 12), round(middle + margin, 12)
    return Row(tuple(chosen), read, **own)


def _fields(given: Mapping[str, Any], row: Row) -> dict[str, Any]:
    """What `what` and `told` may name in braces beside arguments."""
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
            lookup.wrong("nothing is published; published, within, around or told would be right")
        choices = ", ".join(f"{{{name}}}" for name in fields)
        lookup.wrong(f"{key}: '{template}' names what the row has not; {choices} would be right")
