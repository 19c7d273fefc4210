"""Whether a kind of model fits a task, keeps what it offers, and offers what is required. All in words."""

from __future__ import annotations

from collections.abc import Iterator

import jax

from grokjax.models import MODELS, Model, Params
from grokjax.models.kind import MEANING, OF_MODELS, OF_TASKS, has_defaults
from grokjax.settings import SettingError, Settings, kind_of
from grokjax.tasks import Table, TaskData

METHODS = {
    "attention": ("patterns", "tokens_NT"),
    "neurons": ("neurons", "tokens_NT, answer_positions"),
}
"""For each word that obliges to a method of the module: its name and what it takes."""


def lacking(requires: frozenset[str], model: Settings, table: TaskData) -> str | None:
    """One word of MEANING that is required, but offered by neither the model nor the task; None if there is none."""
    offered = {*MODELS[kind_of(type(model))].offers(model)}
    offered |= {"modular"} if table.cyclic else set()
    offered |= {"commutative"} if table.commutative else set()
    offered |= {"additive"} if table.additive else set()
    offered.add(table.answers)
    offered |= {"table"} if isinstance(table, Table) else set()
    offered |= {"permutations"} if getattr(table, "permutations", None) is not None else set()
    return min(requires & MEANING.keys() - offered, default=None)


def not_offered(word: str, model: Settings) -> str:
    """That a word of MEANING is not offered, in words; for a model also where its kind would say that it offers it."""
    if word in OF_TASKS:
        return MEANING[word]
    kind = kind_of(type(model))
    return f"{MEANING[word]}, but kind {kind} with these settings does not offer '{word}' (ModelKind.offers)"


def offering(requires: frozenset[str]) -> list[str]:
    """Kinds of models that with their default settings offer what is required; none if no model is asked for.

    A kind with a setting that has no default is left out, because what it offers can depend on this setting.
    """
    wanted = requires & OF_MODELS.keys()
    return [
        name
        for name, kind in MODELS.items()
        if wanted and has_defaults(kind.settings) and wanted <= kind.offers(kind.settings())
    ]


def misfit(kind: str, task: TaskData) -> str | None:
    """Why this kind of model cannot learn a task, in words; None if it can."""
    reads = MODELS[kind].reads
    if task.form in reads:
        return None
    *most, last = (name for name, k in MODELS.items() if task.form in k.reads)
    fitting = f"{', '.join(most)} or {last}" if most else last
    return f"{kind} reads {' or '.join(reads)}, but the rows of this task are {task.form}; use {fitting}"


def fault(settings: Settings, table: TaskData) -> SettingError | None:
    """An error that says what a kind of model lacks, although its settings or its offers need it; None if nothing.

    Traces the module. No array is made, and JAX starts no device.
    """
    try:
        model = Model(settings, table)
    except SettingError as error:  # these settings do not fit the task
        return error
    logits, params = model.traced(_TRACED_ROWS)
    lacks = (
        model.kind.unkept(settings)
        or _lost_matrix(model, params)
        or _lost_method(model)
        or _wrong_logits(model, logits)
    )
    return SettingError("kind", f"{kind_of(type(settings))} {lacks}") if lacks else None


_TRACED_ROWS = 3
"""More than one, so that rows are not taken for answers."""


def _wrong_logits(model: Model, logits: jax.ShapeDtypeStruct) -> str | None:
    """That the logits are not N A C, in words: JAX would stretch them to the answers, and train on that."""
    n_answers = len(model.table.answer_positions)
    expected = (_TRACED_ROWS, n_answers, model.table.n_classes)
    if logits.shape == expected:
        return None
    told = f"returns logits of the shape {logits.shape} for {_TRACED_ROWS} rows, where {expected} must be: "
    told += "rows, answers, classes"
    if logits.shape == (_TRACED_ROWS, 1, model.table.n_classes):
        most = "a task with one answer, or another model"
        return f"{told}; this task has {n_answers} answers: use {most}, or write its dense for all of answer_positions"
    return f"{told}; mend its dense"


def _lost_method(model: Model) -> str | None:
    offered = model.kind.offers(model.settings)
    for word, (name, takes) in METHODS.items():
        if word in offered and not hasattr(model.module, name):
            return f"offers '{word}', but its module has no method {name}({takes}); write it, or do not offer it"
    return None


def _lost_matrix(model: Model, params: Params) -> str | None:
    """The first missing matrix that probes, measurements or interventions look up by its name, in words."""
    has = f"(its parameters are {', '.join(params)})" if params else "(it has no parameters)"
    if not _is_matrix(params, model.output_name):
        if model.output_name == "W_E":
            return f"is tied, but has no matrix W_E {has}; give its embedding this name"
        return (
            f"has no matrix W_U {has}; give the matrix that makes the logits this name, "
            "or set ModelKind.tied if it is the embedding W_E"
        )
    for word, section, names in _looked_up(model):
        inner = params if section is None else params.get(section, {})
        lost = [name for name in names if not _is_matrix(inner, name)]
        if lost:
            return f"offers '{word}', but has no matrix {lost[0]} {has}; name it so, or do not offer the word"
    return None


def _looked_up(model: Model) -> Iterator[tuple[str, str | None, tuple[str, ...]]]:
    """For each offered word that needs matrices of certain names: their section (None: no section) and names."""
    offered = model.kind.offers(model.settings)
    if "embedding" in offered:
        yield "embedding", None, ("W_E",)
    if "token_mlp" in offered:
        yield "token_mlp", None, ("W_E", "W_0")
    if "hidden_layer" in offered and model.kind.hidden is not None:
        section, *names = model.kind.hidden(model.settings)
        yield "hidden_layer", section, tuple(names)


def _is_matrix(params: Params, name: str) -> bool:
    # A section of parameters is a dictionary, which has no ndim.
    return getattr(params.get(name), "ndim", 0) == 2
