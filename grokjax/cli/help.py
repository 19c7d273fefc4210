"""`--help`: every setting, its meaning, default and range, from the classes that declare them."""

from __future__ import annotations

import textwrap
import typing
from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from grokjax.experiment.config import Experiment
from grokjax.experiment.setting_names import alternatives
from grokjax.quoting import shown
from grokjax.settings import Settings, kind_of, role_of

WIDTH = 96

USAGE = """\
usage: python run.py CONFIG.yaml [setting=value ...] [--plan] [--out DIR] [--no-figures]
                     [--on ray | ray:ADDRESS | slurm | slurm:PARTITION] [--share I/N]
       python run.py --verify DIR
       python run.py --measure DIR ['measurements=[{kind: pruning}, ...]']

Trains the grid of CONFIG.yaml, or continues it, and writes tables, figures and the page
report.html into results/<name>; the page also while training.

  setting=value   replaces the value of a setting, a list or an axis: task.p=47
                  'axes.seed=[0, 1]'; axes.seed=null removes the axis
  --plan          estimate time and memory; train nothing
  --on WHERE      train on many machines. ray: a Ray cluster on this machine; ray:ADDRESS: one
                  that is there; slurm, slurm:PARTITION: jobs of Slurm. The results directory
                  must be on a file system that all machines share. execution.cluster has the
                  settings
  --share I/N     train the I-th (from 0) of N parts of every group in a directory of its own
                  below the results directory, for schedulers that number their jobs; the same
                  command without --share then collects all parts and draws the figures. The
                  workers of --on get the NAME of a share here
  --plan-to FILE  the estimate as JSON, for programs
  --out DIR       results directory (default results/<name>)
  --no-figures    train only, without a page; python -m analysis DIR writes all of them later
  --verify DIR    compare all files of a results directory with their checksums; say what is
                  damaged or lost (exit code 1). The next start trains those runs again
  --measure DIR   measure the saved weights of a results directory: the `measurements` of its
                  experiment, or those given here. Results are written to
                  DIR/groups/*/measured; the training is not changed

Exit code: 0 success, 1 --verify found damage, 2 a mistake in the input, or shares that could
not be trained, 75 interrupted (the same command continues).
SIGTERM, SIGINT (Ctrl-C) and SIGUSR1 end the program at once if nothing has to be saved. During
training it saves first; a second signal, at least a second later, ends it without saving.

Every setting has a role:
  hyper       a number that does not change the compiled program; part of the run's id
  shape       changes the compiled program; part of the run's id
  extendable  how long a run lasts and what is recorded of it; not part of the id. In a results
              directory train.steps can grow later; the others cannot change
  execution   how the work is done on this machine; not part of the id
A setting with the role hyper or shape can be an axis, under its dotted name:
  axes:
    split.train_fraction: {linspace: [0.3, 0.8, 6]}
    optimizer.weight_decay: {logspace: [0.01, 10, 4]}
    model.n_layers: [1, 2, 3]
    seed: {range: 4}
    model.d_model, model.d_mlp: [[64, 256], [128, 512]]     # change together
"""


def help_text() -> str:
    """The whole help page."""
    return USAGE + "\n" + "\n".join(_section("", Experiment)) + "\n"


def _section(prefix: str, settings: type[Settings], indent: str = "  ") -> Iterator[str]:
    """The settings of a class, then its sections."""
    fields = {n: f for n, f in settings.model_fields.items() if n != "kind"}
    sections = {n: f for n, f in fields.items() if role_of(f) is None}
    for name, field in fields.items():
        if name not in sections:
            yield from _entry(prefix + name, field, indent)
    for name, field in sections.items():
        yield from _kinds(prefix + name, field)


def _kinds(name: str, field: FieldInfo) -> Iterator[str]:
    """A section with each of its kinds."""
    yield f"\n{name}: {_line(field.description)}"
    for inner in _classes(field.annotation):
        kinds = "kind" in inner.model_fields
        if kinds:
            yield ""
            yield from _wrapped(f"  {name}.kind={kind_of(inner)}: {_line(inner.__doc__)}", 6)
        yield from _section(name + ".", inner, "    " if kinds else "  ")


def _entry(name: str, field: FieldInfo, indent: str) -> Iterator[str]:
    """A setting: its name, type, default and role, its meaning, and the settings inside its value."""
    default = "required" if field.is_required() else f"default {_value(field)}"
    facts = [_type(field.annotation), _limits(field.metadata), default, role_of(field) or ""]
    yield from _wrapped(f"{indent}{name}   {'; '.join(f for f in facts if f)}", len(indent) + 6)
    yield from _wrapped(f"{indent}    {_line(field.description)}", len(indent) + 4)
    for inner in _classes(field.annotation):
        yield from _inside(inner)


def _inside(settings: type[Settings]) -> Iterator[str]:
    """The settings inside a value that is a mapping, such as {max: 512, share: 0.5}."""
    if "kind" in settings.model_fields:
        yield from _wrapped(f"      kind: {kind_of(settings)} -- {_line(settings.__doc__)}", 10)
    for name, field in settings.model_fields.items():
        if name != "kind":
            default = "required" if field.is_required() else f"default {_value(field)}"
            facts = [_type(field.annotation), _limits(field.metadata), default]
            text = (
                f"        {name}: {_line(field.description)} [{'; '.join(f for f in facts if f)}]"
            )
            yield from _wrapped(text, 12)


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )


def _value(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if isinstance(value, tuple) and value and isinstance(value[0], Settings):
        return ", ".join(kind_of(type(v)) for v in value)
    return value if isinstance(value, str) else shown(value)


_SIGNS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def _limits(metadata: list[Any]) -> str:
    found = [(sign, getattr(m, sign, None)) for m in metadata for sign in _SIGNS]
    return ", ".join(f"{_SIGNS[sign]} {limit}" for sign, limit in found if limit is not None)


_WORDS = {int: "whole number", float: "number", bool: "true or false", str: "text"}


def _type(annotation: Any) -> str:
    """The values that a setting may have, in words."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " | ".join(map(str, args))
    if origin is typing.Annotated and len(alternatives(annotation)) == 1:
        limits = _limits([m for a in args[1:] for m in getattr(a, "metadata", [a])])
        return _type(args[0]) + (f" {limits}" if limits else "")
    if origin is tuple and any("kind" in c.model_fields for c in _classes(args[0])):
        return "list of {kind: ...}"
    if origin is tuple:
        return f"list of {_type(args[0])}"
    if origin is dict:
        return "mapping"
    if args:
        kinds = [a for a in args if a is not type(None)]
        return " | ".join([_type(a) for a in kinds] + ["null"] * (len(args) - len(kinds)))
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return _mapping(annotation)
    return _WORDS.get(annotation, str(annotation))


def _mapping(settings: type[Settings]) -> str:
    if "kind" in settings.model_fields:
        return f"{{kind: {kind_of(settings)}}}"
    return f"{{{', '.join(f'{name}: ...' for name in settings.model_fields)}}}"


def _classes(annotation: Any) -> list[type[Settings]]:
    """Settings classes inside an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [c for arg in typing.get_args(annotation) for c in _classes(arg)]


def _line(text: str | None) -> str:
    return " ".join((text or "").split())
