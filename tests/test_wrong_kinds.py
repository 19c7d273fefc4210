"""What whoever adds a kind can get wrong: each mistake is refused with a sentence that says what to write."""

from __future__ import annotations

# ruff: noqa: E501 - a sentence is read as a whole
import runpy
from collections.abc import Callable
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import Field

from grokjax.experiment import config
from grokjax.experiment.grid import make_groups, make_runs
from grokjax.experiment.loading import load_experiment
from grokjax.experiment.rows import table_of
from grokjax.models import MODELS, ModelSettings
from grokjax.probes import DEFAULT_PROBES, PROBES, measure, unmet
from grokjax.probes.norms import WeightSquares
from grokjax.probes.view import Probe, View
from grokjax.settings import Kind, Settings, check_kinds, hyper, leaves, shape
from grokjax.tasks.modular import OPERATIONS, Modular, Operation, check_operations, modular_table
from grokjax.training.probe_values import check_values
from tests import test_bad_input
from tests.harness import ROOT

told = test_bad_input.told


def refused(wrong: Any) -> str:
    """What is said of a mistake."""
    with pytest.raises(ValueError) as error:
        wrong()
    return str(error.value)


# Settings -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [Settings, ModelSettings, Probe])
def test_a_setting_without_a_role_is_refused_when_its_class_is_made(base: type[Settings]) -> None:
    """It would be in no id: runs that differ in it would be the same run."""

    def with_default() -> None:
        class Narrow(base):  # type: ignore[valid-type,misc]
            width: int = 3

    assert refused(with_default) == (
        "Narrow.width has no role, so it would be in no run's id; write 'width: ... = shape(3)' if it changes the "
        "program, hyper(3) if it is a number that does not, or execution(3) in a measurement"
    )

    def without_default() -> None:
        class Narrow(base):  # type: ignore[valid-type,misc]
            widths: tuple[ModelSettings, ...]

    assert "write 'widths: ... = shape()'" in refused(without_default)


def test_a_field_that_holds_settings_needs_no_role() -> None:
    class Inner(Settings):
        width: int = hyper(3)

    class Outer(Settings):
        inner: Inner = Field(default_factory=Inner)
        perhaps: Inner | None = None

    assert [leaf.name for leaf in leaves(Outer())] == ["inner.width"]


def test_a_word_that_differs_from_the_kind_of_its_settings_is_refused() -> None:
    class Toy(Settings):
        kind: Literal["toy"] = shape("toy")

    class Bare(Settings):
        width: int = shape(3)

    check_kinds("TOYS", {"toy": Kind(Toy, print)})
    assert refused(lambda: check_kinds("TOYS", {"toi": Kind(Toy, print)})) == (
        "TOYS has the word 'toi' for Toy, whose kind is 'toy'; write the same word in both"
    )
    assert refused(lambda: check_kinds("TOYS", {"bare": Kind(Bare, print)})) == (
        'TOYS: Bare has no setting kind; write \'kind: Literal["bare"] = shape("bare")\' into it'
    )


def test_the_dictionaries_are_checked_when_they_are_imported(monkeypatch) -> None:
    """Else a wrong word would be a KeyError, somewhere later."""
    monkeypatch.setitem(MODELS, "transformed", MODELS["transformer"])
    sentence = (
        "MODELS has the word 'transformed' for TransformerSettings, whose kind is 'transformer'"
    )
    assert sentence in refused(lambda: runpy.run_path(config.__file__))


# Probes ---------------------------------------------------------------------------------------------------------------

WORD = "probes=[{kind: norms}, {kind: weight_squares, every: 2}]"


@pytest.fixture
def probing(told, monkeypatch: pytest.MonkeyPatch):
    """What is said, before anything is written, of a probe that returns this."""

    def said(returned: Callable[[View], Any], *words: str) -> str:
        kind = Kind(WeightSquares, lambda s, view: returned(view))
        monkeypatch.setitem(PROBES, "weight_squares", kind)
        return told(WORD, *words).removeprefix(f"override {WORD}: probes: weight_squares ")

    return said


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        (lambda view: {"val_loss": view.mean_loss}, "returns val_loss, which is already a value of metrics; give it another name"),
        (lambda view: {"intervened_at": 1}, "returns intervened_at, which is already a value of the intervention; give it another name"),
        (lambda view: {"mean_logit": view.logits_NAC.mean(0)}, "returns mean_logit of the shape (1, 14); return numbers or vectors"),
        (lambda view: [view.mean_loss], "returns list, not a dictionary; return values by their names"),
        (lambda view: None, "returns NoneType, not a dictionary; return values by their names"),
    ],
)  # fmt: skip
def test_a_probe_whose_values_cannot_be_recorded_is_refused(probing, returned, sentence) -> None:
    assert probing(returned) == sentence
    assert probing(returned, "--plan") == sentence


def test_a_probe_may_return_numbers_and_vectors_of_any_type(monkeypatch) -> None:
    given = {"whole": 1, "half": 0.5, "vector": np.arange(2), "truth": jnp.array(True)}
    monkeypatch.setitem(PROBES, "weight_squares", Kind(WeightSquares, lambda s, view: given))
    measured = measure((WeightSquares(),), View.__new__(View))
    found = {name: float(value) for name, value in measured.items()}
    assert found == {"whole": 1, "half": 0.5, "vector/0": 0, "vector/1": 1, "truth": 1}
    assert {value.dtype for value in measured.values()} == {jnp.dtype("float32")}


def test_a_probe_that_is_there_twice_is_refused(told) -> None:
    word = "probes=[{kind: norms}, {kind: norms, every: 2}]"
    assert told(word) == f"override {word}: probes: norms is there twice; remove one of the two"


@pytest.mark.parametrize("model", ["transformer", "mlp"])
def test_the_probes_of_the_project_have_names_of_their_own(model: str) -> None:
    """All that fit the model together; the default ones are therefore not compared at each start."""
    path, words = ROOT / "configs" / "quickstart.yaml", ["axes={}", f"model={{kind: {model}}}"]
    (run,) = make_runs(load_experiment(path, words))
    fitting = [
        p for n in PROBES if not unmet(p := PROBES[n].settings(), run.settings.model, run.table)
    ]
    assert len(fitting) > 12 and {*DEFAULT_PROBES} <= {*fitting}
    names = ", ".join(f"{{kind: {p.kind}}}" for p in fitting)
    check_values(make_groups(make_runs(load_experiment(path, [*words, f"probes=[{names}]"]))))


# Operations -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def operating(told, monkeypatch: pytest.MonkeyPatch):
    """What is said of x*y if it is this operation."""

    def said(*given: Any, **fields: bool) -> str:
        monkeypatch.setitem(OPERATIONS, "x*y", Operation(*given, **fields))
        table_of.cache_clear()
        word = "task={kind: modular, p: 7, operation: x*y}"
        return told(word).removeprefix(f"override {word}: task.operation: 'x*y' ")

    yield said
    monkeypatch.undo()
    table_of.cache_clear()


def test_an_operation_whose_answers_are_not_whole_numbers_is_refused(operating) -> None:
    """They were cut off to whole numbers without a word."""
    assert operating(lambda x, y, _: x**2 * y / 2) == (
        "returns numbers of the type float64, but answers must be whole numbers; "
        "use // in place of /, or an inverse modulo p (divides=True)"
    )


def test_an_operation_with_a_wrong_number_of_answers_is_refused(operating) -> None:
    assert operating(lambda x, y, _: 3) == (
        "returns an array of the shape () for operands of the shape (49,); return one answer for each row"
    )


@pytest.mark.parametrize(
    ("answer", "fields"),
    [(lambda x, y, _: 2 * x + y, {}), (lambda x, y, _: x + y, {"skips_zero": True})],
)
def test_an_operation_that_is_not_additive_cannot_say_so(operating, answer, fields) -> None:
    assert operating(answer, additive=True, **fields) == (
        "has additive=True, but its answers are neither x+y nor x-y of all pairs; remove additive=True"
    )


def test_an_operation_says_itself_what_it_offers(monkeypatch) -> None:
    """A new one, too: by its name nothing is known of it."""

    def offered(*given: Any, **fields: bool) -> tuple[bool, bool]:
        monkeypatch.setitem(OPERATIONS, "x*y", Operation(*given, **fields))
        table = modular_table(Modular(p=7, operation="x*y"))
        return table.additive, table.cyclic

    assert offered(lambda x, y, _: y - x + 2 * x) == (False, True)
    assert offered(lambda x, y, _: y - x + 2 * x, additive=True) == (True, True)
    assert offered(lambda x, y, _: x * y, cyclic=False) == (False, False)
    assert all(OPERATIONS[name].additive for name in ("x+y", "x-y"))


def test_a_bare_function_is_no_operation() -> None:
    check_operations(OPERATIONS)
    assert refused(lambda: check_operations({"x^2-y^2": lambda x, y, _: x**2 - y**2})) == (
        "OPERATIONS: 'x^2-y^2' is a function; write Operation(...) around it"
    )
