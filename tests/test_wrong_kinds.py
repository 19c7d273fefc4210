"""What whoever adds a kind can get wrong: each mistake is refused with a sentence that says what to write."""

from __future__ import annotations

import runpy
from typing import Any, Literal

import pytest
from pydantic import Field

from grokjax.experiment import config
from grokjax.models import MODELS, ModelSettings
from grokjax.probes.view import Probe
from grokjax.settings import Kind, Settings, check_kinds, hyper, leaves, shape


def told(wrong: Any) -> str:
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

    assert told(with_default) == (
        "Narrow.width has no role, so it would be in no run's id; write 'width: ... = shape(3)' if it changes the "
        "program, hyper(3) if it is a number that does not, or execution(3) in a measurement"
    )

    def without_default() -> None:
        class Narrow(base):  # type: ignore[valid-type,misc]
            widths: tuple[ModelSettings, ...]

    assert "write 'widths: ... = shape()'" in told(without_default)


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
    assert told(lambda: check_kinds("TOYS", {"toi": Kind(Toy, print)})) == (
        "TOYS has the word 'toi' for Toy, whose kind is 'toy'; write the same word in both"
    )
    assert told(lambda: check_kinds("TOYS", {"bare": Kind(Bare, print)})) == (
        'TOYS: Bare has no setting kind; write \'kind: Literal["bare"] = shape("bare")\' into it'
    )


def test_the_dictionaries_are_checked_when_they_are_imported(monkeypatch) -> None:
    """Else a wrong word would be a KeyError, somewhere later."""
    monkeypatch.setitem(MODELS, "transformed", MODELS["transformer"])
    sentence = (
        "MODELS has the word 'transformed' for TransformerSettings, whose kind is 'transformer'"
    )
    assert sentence in told(lambda: runpy.run_path(config.__file__))
