"""Words of sentences that list kinds, made from the dictionaries: a new kind must break no test."""

from __future__ import annotations

from collections.abc import Iterable

from grokjax.models import MODELS


def one_of(kinds: Iterable[str]) -> str:
    """The names of kinds, as a sentence lists them."""
    *most, last = kinds
    return f"{', '.join(most)} or {last}" if most else last


def readers_of(form: str) -> str:
    """The models that read rows of this form."""
    return one_of(name for name, kind in MODELS.items() if form in kind.reads)
