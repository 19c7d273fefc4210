"""A table that is written out in the configuration, with blanks that nobody knows the answer of."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from grokjax.quoting import cut
from grokjax.settings import SettingError, Settings, shape
from grokjax.tasks.equations import equation_table
from grokjax.tasks.table import Table

BLANK = "?"
_Row = Annotated[tuple[str, ...], Field(strict=False, max_length=100)]


class Written(Settings):
    """A square table of letters: the entry in row x and column y is the answer to (x, y). Entries that are '?' do not
    train; `measurements: [{kind: predictions}]` says what each run puts there."""

    kind: Literal["written"] = shape("written")
    cells: Annotated[tuple[_Row, ...], Field(strict=False, min_length=2, max_length=100)] = shape(
        strict=False
    )
    """Rows of letters, such as [[a, b, "?"], [b, "?", a], ["?", a, b]]. Quote the '?'."""
    letters: Annotated[tuple[str, ...], Field(strict=False)] | None = shape(None)
    """Names of rows and columns, in order; null: a, b, c, ..."""
    format: Literal["a op b =", "a b =", "a b"] = shape("a op b =")
    """Tokens of a row, as in the task `modular`."""
    classes: Literal["letters", "vocabulary"] = shape("vocabulary")
    """Number of logits. Those beyond the letters are never the right answer, but are part of the loss."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of rows and columns."""
        return self.letters or tuple(default_names(len(self.cells)))

    @model_validator(mode="after")
    def _is_a_table(self) -> Written:
        n, names = len(self.cells), self.names
        if self.letters is not None and (len(names) != n or len(set(names)) != n or BLANK in names):
            raise SettingError(
                "letters",
                f"{cut(list(names))} must be {n} different names, one for each row of cells, and none of them '?'",
            )
        for i, row in enumerate(self.cells):
            if len(row) != n:
                raise SettingError(
                    "cells",
                    f"has {n} rows, but row {i + 1} has {len(row)} entries; give it {n}, so that the table is square",
                )
            for entry in row:
                if entry != BLANK and entry not in names:
                    raise SettingError(
                        "cells",
                        f"{cut(entry)} in row {i + 1} is no letter of this table; use {cut(', '.join(names))} or '?'",
                    )
        blanks = sum(row.count(BLANK) for row in self.cells)
        if blanks in (0, n * n):
            has = "no entry is '?'" if blanks == 0 else "all entries are '?'"
            raise SettingError(
                "cells",
                f"{has}, so that nothing is left to {'fill in' if blanks == 0 else 'learn from'}; "
                "use some letters and some '?'",
            )
        return self


def default_names(n: int) -> list[str]:
    """a .. z, then a1 .. z1, a2 ..."""
    return [chr(97 + i % 26) + (str(i // 26) if i >= 26 else "") for i in range(n)]


def written_table(settings: Written) -> Table:
    """Rows in row-major order of the table. A blank has the answer 0, which nothing reads."""
    n, number = len(settings.cells), {name: i for i, name in enumerate(settings.names)}
    answers_N = np.array([number.get(entry, 0) for row in settings.cells for entry in row])
    known_N = np.array([entry != BLANK for row in settings.cells for entry in row])
    operands_N2 = np.stack(np.divmod(np.arange(n * n), n), 1)
    n_classes = n if settings.classes == "letters" else None
    table = equation_table(operands_N2, answers_N, n, settings.format, n_classes)
    return dataclasses.replace(table, known_N=known_N, commutative=False)
