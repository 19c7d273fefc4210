"""Names for the groups of an experiment, from the settings in which they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from grokjax.experiment.grid import Group, Run
from grokjax.settings import Settings, leaves

ABSENT = "none"

WORDS: dict[str, Callable[[Any], str]] = {
    "task.kind": lambda kind: kind.replace("_", " "),
    "task.operation": str,
    "task.group": str,
    "task.p": lambda p: f"p {p}",
    "model.kind": str,
    "model.n_layers": lambda n: f"{n} layer" + "s" * (n != 1),
    "model.d_model": lambda d: f"d_model {d}",
    "model.d_mlp": lambda d: f"d_mlp {d}",
    "model.n_heads": lambda n: f"{n} head" + "s" * (n != 1),
    "model.hidden": lambda widths: "hidden " + "-".join(map(str, widths)),
    "optimizer.kind": str,
    "train.loss": lambda loss: loss.replace("_", " "),
    "train.precision": str,
    "train.batch_size": lambda size: _batch(size),
    "train.eval_every": lambda every: f"evaluated every {_plain(every)}",
    "intervention.kind": lambda kind: "no action" if kind == ABSENT else kind.replace("_", " "),
}
"""Short words for common settings; others become '<last word of the name> <value>'."""


def group_names(groups: Sequence[Group]) -> dict[str, str]:
    """Short name of each group by hash, without what all groups have in common. If nothing differs: the model's
    kind."""
    known = [group for group in groups if group.runs]
    facts = {group.hash: _shape(group.first) for group in known}
    differing = _differing(list(facts.values()))
    words = {h: [_words(n, fact[n]) for n in differing if n in fact] for h, fact in facts.items()}
    for more in (_rows, _batches, _moments):
        counts = Counter(map(tuple, words.values()))
        if max(counts.values(), default=1) > 1:  # two groups of one name
            told = {group.hash: more(group) for group in known}
            if len(set(told.values())) > 1:
                words = {h: [*parts, told[h]] for h, parts in words.items()}
    names = {h: ", ".join(parts) or facts[h]["model.kind"] for h, parts in words.items()}
    counts = Counter(names.values())
    names = {h: name if counts[name] == 1 else f"{name} {h[:6]}" for h, name in names.items()}
    return {group.hash: names.get(group.hash, group.hash[:6]) for group in groups}


def _shape(run: Run) -> dict[str, Any]:
    """The shape settings of a run by dotted name, and whether there is an intervention."""
    shape = {leaf.name: leaf.value for leaf in leaves(run.settings) if leaf.role == "shape"}
    return {"intervention.kind": ABSENT, **shape}


def _differing(facts: list[dict[str, Any]]) -> list[str]:
    """Settings in which groups differ, and not only because their section is of another kind."""
    names = dict.fromkeys(name for fact in facts for name in fact)
    sections = ["task", "model", *dict.fromkeys(name.split(".")[0] for name in names)]
    differing = [name for name in names if _differs(name, facts)]
    return sorted(
        differing, key=lambda n: (sections.index(n.split(".")[0]), not n.endswith(".kind"))
    )


def _differs(name: str, facts: list[dict[str, Any]]) -> bool:
    kind = "" if name.endswith(".kind") else name.split(".")[0] + ".kind"
    found: dict[str, set[str]] = {}
    for fact in facts:
        if name in fact:
            found.setdefault(str(fact.get(kind)), set()).add(repr(fact[name]))
    return any(len(values) > 1 for values in found.values())


def _words(name: str, value: Any) -> str:
    if name in WORDS:
        return WORDS[name](value)
    label = name.rpartition(".")[2].replace("_", " ")
    if isinstance(value, bool):
        return label if value else f"not {label}"
    return f"{label} {_plain(value)}"


def _plain(value: Any) -> str:
    if isinstance(value, Settings):
        return " ".join(f"{name} {inner}" for name, inner in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _batch(size: Any) -> str:
    return "full batch" if size == "full" else f"batch {_plain(size)}"


def _rows(group: Group) -> str:
    rows = sorted({run.n_train for run in group.runs})
    return f"{rows[0]} train rows" if len(rows) == 1 else f"{rows[0]} to {rows[-1]} train rows"


def _batches(group: Group) -> str:
    run = group.first
    return "full batch" if run.batch_size is None else f"batches of {run.batch_size}"


def _moments(group: Group) -> str:
    return f"evaluated every {group.first.cadence.every} steps"
