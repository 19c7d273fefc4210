"""What a kind of model consists of, and the words for what it can offer to probes and measurements."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jaxtyping import PyTree

from grokjax.models.counting import Forward
from grokjax.settings import Settings, hyper

ModelPlan = PyTree
"""Arrays that say which distinct rows a kind of model computes. Only the functions of that kind use what is in them."""
ModelTables = PyTree
"""Arrays in which rows are looked up. Only the functions of one kind of model use what is in them."""

OF_MODELS = {
    "attention": "a model with attention",
    "pre_norm": "a transformer without norms, or with norms before its sublayers",
    "token_mlp": "an MLP on token embeddings",
    "embedding": "a model with an embedding",
    "features": "a model whose features can be read",
    "hidden_layer": "a transformer or one hidden layer",
    "neurons": "a model whose neurons can be read",
}
"""What a model can offer (`ModelKind.offers`), in words. docs/extending.md says what each word obliges to."""
OF_TASKS = {
    "modular": "a task of kind modular, whose tokens are numbers modulo p",
    "commutative": "a commutative operation",
    "table": "a task whose rows are a table",
    "classes": "a task whose answers are classes",
    "vectors": "a task whose answers are vectors",
    "permutations": "a task of kind permutation, whose elements are permutations",
    "additive": "the operation x+y or x-y of a task of kind modular, which is cyclic",
}
"""What a task can offer: `commutative` and `additive` if its operation is, `modular` if it is `cyclic`, `table` if it
is a Table, `classes` or `vectors` as its answers are, and `permutations` if that says which ones they are."""
MEANING = {**OF_MODELS, **OF_TASKS}


class ModelSettings(Settings):
    """Settings of every model. The first five kinds declare both themselves, last: in this order they stand in the
    experiment.yaml of directories that exist. A new kind extends this class; no id depends on the order."""

    init_scale: float = hyper(1.0, gt=0)
    """Factor on every weight matrix and embedding at initialisation."""
    readout_scale: float = hyper(1.0, gt=0)
    """Factor on the logits."""


@dataclasses.dataclass(frozen=True)
class ModelKind:
    """How to make one kind of model, what it offers and what it costs. Raises ValueError if that cannot be kept.

    Only `settings` and `module` are required. The other fields make the model faster, or allow more to be measured.
    The settings extend ModelSettings. The module must have `dense(rows, answer_positions)`, which returns logits N A C.
    The matrix that makes the logits must be its parameter W_U, unless the model is `tied`.
    """

    settings: type[Settings]
    module: Callable[[Any, Any], nn.Module]
    shared: Shared | None = None
    """Forward pass that computes only once what examples share; None: every row goes through `dense`."""
    reads: tuple[str, ...] = ("tokens",)
    """Forms of the rows that the model reads: values of Table.form or Sample.form."""
    count: Callable[[Any, Any, int], Forward] | None = None
    """Costs of a forward pass over n rows of a task; None: they are counted on the traced program."""
    offers: Callable[[Any], frozenset[str]] = lambda settings: frozenset()
    """What the model offers to probes and measurements: words of OF_MODELS."""
    hidden: Callable[[Any], tuple[str | None, str, str]] | None = None
    """Where the weights into and out of the last hidden layer are: section of the parameters (None: no section), and
    two names in it."""
    token_maps: Callable[[Any, Any, PyTree], jax.Array | None] | None = None
    """(settings, table, parameters) -> linear maps M V F from tokens to the input of the last hidden layer, one for
    each path between them; None if there are none."""
    gathers: bool = False
    """Whether Shared.read_rows also takes Nonzeros in place of rows of numbers, for a Sample with `most_nonzero`."""
    tied: Callable[[Any], bool] = lambda settings: False
    """Whether the first n_classes rows of the parameter W_E are the output matrix."""

    def __post_init__(self) -> None:
        for name in ModelSettings.model_fields:
            if name not in self.settings.model_fields:
                told = f"{self.settings.__name__} has no setting {name}"
                raise ValueError(f"{told}; let it extend ModelSettings")
        # Other settings can offer other words: `unkept` is asked again when an experiment is read.
        wrong = self.unkept(self.settings()) if has_defaults(self.settings) else None
        if wrong:
            raise ValueError(f"{self.settings.__name__} {wrong}")

    def unkept(self, settings: Settings) -> str | None:
        """What the kind offers with these settings although it lacks what this needs, in words; None if nothing."""
        offered = self.offers(settings)
        if unknown := unknown_word(offered, OF_MODELS):
            return f"offers {unknown}"
        if "features" in offered and self.shared is None:
            return (
                "offers 'features', but ModelKind.shared is missing, which reads them; "
                "give both or neither"
            )
        if "hidden_layer" in offered and self.hidden is None:
            return (
                "offers 'hidden_layer', but ModelKind.hidden is missing, which names its weights; "
                "give both or neither"
            )
        return None


class Shared(NamedTuple):
    """Parts of a forward pass for models whose examples share activations. `module` is a bound module.

    plan           (settings, table, n) -> the plan for n executed table rows
    tables         (module, plan) -> what examples share
    read_rows      (module, plan, tables, row numbers or None for all rows) -> logits N A C
    read_features  from the same arguments: features N A D, which the output matrix is multiplied with
    """

    plan: Callable[[Any, Any, int], ModelPlan]
    tables: Callable[[Any, ModelPlan], ModelTables]
    read_rows: Callable[[Any, ModelPlan, ModelTables, jax.Array | None], jax.Array]
    read_features: Callable[[Any, ModelPlan, ModelTables, jax.Array | None], jax.Array]


def has_defaults(settings: type[Settings]) -> bool:
    """Whether every setting has a default, so that the class can be made without arguments."""
    return not any(field.is_required() for field in settings.model_fields.values())


def unknown_word(words: Collection[str], known: Collection[str]) -> str | None:
    """The first word that is not known, and which to use instead, as a part of a sentence; None if all are known."""
    unknown = sorted(set(words) - set(known))
    if not unknown:
        return None
    guess = difflib.get_close_matches(unknown[0], known, 1)
    meant = f" (did you mean '{guess[0]}'?)" if guess else ""
    return f"'{unknown[0]}', which is not a known word; use {', '.join(sorted(known))}{meant}"


def check_words(owner: str, requires: Collection[str], known: Collection[str]) -> None:
    """Raises ValueError if a class requires a word that is not known: nothing would ever check or keep it."""
    if unknown := unknown_word(requires, known):
        raise ValueError(f"{owner} requires {unknown}")
