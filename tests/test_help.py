"""`--help` is complete and readable."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import pytest

from grokjax.cli.commands import main
from grokjax.cli.help import WIDTH, help_text
from grokjax.experiment.config import Experiment
from grokjax.settings import Settings, kind_of, role_of


def classes_in(annotation: Any) -> list[type[Settings]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [c for arg in typing.get_args(annotation) for c in classes_in(arg)]


def every_setting(
    prefix: str, settings: type[Settings]
) -> Iterator[tuple[type[Settings], str, str, Any]]:
    """(class, dotted name, name, field) of every setting of every kind."""
    for name, field in settings.model_fields.items():
        if name != "kind":
            yield settings, prefix + name, name, field
        for inner in classes_in(field.annotation):
            yield from every_setting(f"{prefix}{name}.", inner)


EVERY = list(every_setting("", Experiment))
TEXT = help_text()
WORDS = " ".join(TEXT.split())


def test_the_walk_finds_settings_of_all_depths() -> None:
    names = {dotted for _, dotted, _, _ in EVERY}
    assert {
        "seed",
        "optimizer.l2",
        "train.stop.hold",
        "train.batch_size.share",
        "probes.every",
        "execution.out",
    } <= names


@pytest.mark.parametrize(
    ("settings", "dotted", "name", "field"),
    EVERY,
    ids=[f"{s.__name__}.{n}" for s, _, n, _ in EVERY],
)
def test_every_setting_is_there_with_meaning_default_and_range(
    settings, dotted: str, name: str, field
) -> None:
    meaning = " ".join((field.description or "").split())
    assert meaning, f"{settings.__name__}.{name} needs a docstring that says what it means"
    assert meaning in WORDS
    inside = role_of(field) is not None and f"  {dotted}   " not in TEXT
    if role_of(field) is None:
        assert f"\n{dotted}: {meaning}" in TEXT
        return
    entry = f"{name}: {meaning} [" if inside else f"{dotted} "
    facts = [
        part.split("]")[0] if inside else part.split(meaning)[0] for part in WORDS.split(entry)[1:]
    ]
    limits = [str(m.ge) for m in field.metadata if getattr(m, "ge", None) is not None]
    wanted = [
        "required" if field.is_required() else "default ",
        *limits,
        "" if inside else str(role_of(field)),
    ]
    assert any(all(word in fact for word in wanted) for fact in facts), (wanted, facts)


def test_every_kind_is_there() -> None:
    kinds = {
        c for s, _, _, f in EVERY for c in classes_in(f.annotation) if "kind" in c.model_fields
    }
    assert len(kinds) >= 16
    for settings in kinds:
        assert f".kind={kind_of(settings)}: " in TEXT or f"kind: {kind_of(settings)} -- " in TEXT
        assert " ".join((settings.__doc__ or "").split()) in WORDS


def test_it_fits_a_terminal_and_shows_no_internals() -> None:
    assert max(map(len, TEXT.splitlines())) <= WIDTH < 100
    for internal in (
        "NoneType",
        "Annotated",
        "PydanticUndefined",
        "FieldInfo",
        "None",
        "typing",
        "<class",
    ):
        assert internal not in TEXT


def test_help_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["x.yaml", "--help"]) == 0
    assert capsys.readouterr().out == TEXT
    assert main([]) == 2
