"""Which rows train. A split is a set of strata; a run trains on the first k units of a random order of each.

A unit is one row, or a mirror pair. The host computes how many units of each stratum train, in exact arithmetic
(`Split.counts`); the device draws which ones (`draw_split`). So runs of one program can have different train fractions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from grokjax.keys import order_of
from grokjax.settings import Kind, SettingError, Settings, hyper, kind_of, leaves, shape
from grokjax.tasks import Sample, Table, TaskData


class SplitSettings(Settings):
    """Settings of every split. Each split declares `label_noise` itself, last, to keep the order of the settings.

    Messages about a split that leaves no row to train or to validate name its first setting behind `kind`.
    """

    if TYPE_CHECKING:
        label_noise: float


class RandomSplit(SplitSettings):
    """A random share of the rows is used for training, the others for validation."""

    kind: Literal["random"] = shape("random")
    train_fraction: float = hyper(0.5, gt=0, lt=1)
    """Share of the rows that are used for training."""
    rounding: Literal["floor", "round", "ceil"] = shape("floor")
    """How share x rows is rounded: floor (Nanda), round with halves to even (Power), ceil (sources 002 and 004)."""
    label_noise: float = hyper(0.0, ge=0, le=1)
    """Share of the training rows that get a wrong label."""


class PairSplit(SplitSettings):
    """Like random, but (x, y) and (y, x) are on the same side. Rows without a mirror row are split separately."""

    kind: Literal["pairs"] = shape("pairs")
    train_fraction: float = hyper(0.5, gt=0, lt=1)
    """Share of the mirror pairs, and of the rows without one, that are used for training."""
    rounding: Literal["floor", "round", "ceil"] = shape("floor")
    """How share x units is rounded."""
    label_noise: float = hyper(0.0, ge=0, le=1)
    """Share of the training rows that get a wrong label."""


class AnswerSplit(SplitSettings):
    """Rows with the smallest answers are used for validation, so these answers are never seen in training (source
    002, exp3)."""

    kind: Literal["by_answer"] = shape("by_answer")
    validation_below: int = shape(20, ge=1)
    """Rows with an answer below this number are used for validation."""
    label_noise: float = hyper(0.0, ge=0, le=1)
    """Share of the training rows that get a wrong label."""


class BlanksSplit(SplitSettings):
    """For tables that are written out: all entries train, and what is blank is left to be filled in."""

    kind: Literal["blanks"] = shape("blanks")
    label_noise: float = hyper(0.0, ge=0, le=1)
    """Share of the training rows that get a wrong label."""


class DrawnSplit(SplitSettings):
    """For tasks that draw their own training rows for each run."""

    kind: Literal["drawn"] = shape("drawn")
    label_noise: float = hyper(0.0, ge=0, le=1)
    """Share of the training rows that get a wrong label."""


@dataclasses.dataclass(frozen=True)
class Split:
    """Strata of units, and how many units of each train."""

    strata_UW: tuple[np.ndarray, ...]
    """Row numbers: U units of W rows each."""
    counts: tuple[int, ...]
    n_noisy: int
    """Training rows with a wrong label."""

    @property
    def n_train(self) -> int:
        return sum(k * s.shape[1] for k, s in zip(self.counts, self.strata_UW, strict=True))


_ROUND: dict[str, Callable[[Fraction], int]] = {
    "floor": math.floor,
    "round": round,
    "ceil": math.ceil,
}


def share_of(fraction: float, n: int, rounding: str) -> int:
    """`fraction` times n, rounded. It is computed exactly from the decimal number as it was written."""
    return _ROUND[rounding](Fraction(repr(fraction)) * n)


def _random(s: RandomSplit, table: Table) -> tuple[list[np.ndarray], list[int]]:
    rows = np.arange(table.n_rows, dtype=np.int32)[:, None]
    return [rows], [share_of(s.train_fraction, table.n_rows, s.rounding)]


def _pairs(s: PairSplit, table: Table) -> tuple[list[np.ndarray], list[int]]:
    mirror = table.mirror_N()
    rows = np.arange(table.n_rows, dtype=np.int32)
    single = rows[(mirror == rows) | (mirror < 0)][:, None]
    first = rows[mirror > rows]
    strata = [x for x in (single, np.stack([first, mirror[first]], 1)) if len(x)]
    return strata, [share_of(s.train_fraction, len(x), s.rounding) for x in strata]


def _by_answer(s: AnswerSplit, table: Table) -> tuple[list[np.ndarray], list[int]]:
    held_out = table.targets_NA[:, 0] < s.validation_below
    rows = np.arange(table.n_rows, dtype=np.int32)[:, None]
    return [rows[~held_out], rows[held_out]], [int((~held_out).sum()), 0]


def _blanks(s: BlanksSplit, table: Table) -> tuple[list[np.ndarray], list[int]]:
    assert table.known_N is not None, "asked for by _check_task"
    rows = np.arange(table.n_rows, dtype=np.int32)[:, None]
    return [rows[table.known_N], rows[~table.known_N]], [int(table.known_N.sum()), 0]


def _drawn(s: DrawnSplit, sample: Sample) -> tuple[list[np.ndarray], list[int]]:
    rows = np.arange(sample.n_rows, dtype=np.int32)[:, None]
    return [rows[: sample.n_drawn], rows[sample.n_drawn :]], [sample.n_train, 0]


SPLITS: dict[str, Kind] = {
    "random": Kind(RandomSplit, _random),
    "pairs": Kind(PairSplit, _pairs),
    "by_answer": Kind(AnswerSplit, _by_answer),
    "blanks": Kind(BlanksSplit, _blanks),
    "drawn": Kind(DrawnSplit, _drawn),
}


def _check_task(kind: str, table: TaskData) -> None:
    if table.drawn and kind != "drawn":
        raise SettingError(
            "kind",
            f"{kind} divides the rows of a table, but this task draws its own training rows; "
            "use drawn",
        )
    if not table.drawn and kind == "drawn":
        raise SettingError(
            "kind",
            "drawn needs a task that draws its own training rows, but this task is a table; "
            "use random",
        )
    has_blanks = getattr(table, "known_N", None) is not None
    if has_blanks != (kind == "blanks"):
        raise SettingError(
            "kind",
            f"{kind} would train on entries that are blank; use blanks"
            if has_blanks
            else "blanks needs a table with entries that are '?', but all answers of this task are known; use random",
        )


def _decides(settings: SplitSettings) -> tuple[str, Any]:
    """Name and value of the setting that decides how many rows train: the first one behind `kind`, or `kind`."""
    deciding = (
        (leaf.name, leaf.value)
        for leaf in leaves(settings)
        if leaf.name not in ("kind", "label_noise")
    )
    return next(deciding, ("kind", kind_of(type(settings))))


def make_split(settings: SplitSettings, table: TaskData) -> Split:
    """The split of a table. Raises SettingError if no row would train, or none would validate."""
    kind = kind_of(type(settings))
    _check_task(kind, table)
    strata, counts = SPLITS[kind].build(settings, table)
    n_train = sum(k * s.shape[1] for k, s in zip(counts, strata, strict=True))
    if not 0 < n_train < table.n_rows:
        side = "train" if n_train == 0 else "validate"
        name, value = _decides(settings)
        raise SettingError(
            name,
            f"{value} leaves no row of {table.n_rows} to {side}; "
            "at least 1 row must train and at least 1 must validate",
        )
    return Split(tuple(strata), tuple(counts), share_of(settings.label_noise, n_train, "floor"))


@struct.dataclass
@no_type_check
class Rows:
    """The rows of one run. B: rows of the bucket of training rows; N: table rows."""

    index_B: Int[Array, " B"]
    """Numbers of table rows: first the n_train training rows in table order, then padding."""
    train_N: Bool[Array, " N"]
    labels_NA: Int[Array, "N A"] | None
    """Labels used in training: the targets, except for the wrong labels. None for a stream, whose rows do not
    stay, and where the answers are vectors."""


def draw_split(
    key: Array, strata_UW: tuple[Array, ...], counts: Array | np.ndarray, n_rows: int
) -> Bool[Array, " N"]:
    """Mask over the table: which rows train. counts: number of units of each stratum that train."""
    train_N = jnp.zeros(n_rows, bool)
    for i, units_UW in enumerate(strata_UW):
        order = jax.random.permutation(jax.random.fold_in(key, i), len(units_UW))
        chosen = jnp.arange(len(units_UW)) < counts[i]
        train_N = train_N.at[units_UW[order]].set(chosen[:, None])
    return train_N


def add_label_noise(
    key: Array,
    targets_NA: Int[Array, "N A"],
    train_N: Bool[Array, " N"],
    n_noisy: ArrayLike,
    n_answers: int,
) -> Int[Array, "N A"]:
    """Give n_noisy training rows, drawn at random, an answer drawn uniformly from the wrong ones. A target that is no
    answer (an end token) stays."""
    which, what = jax.random.split(key)
    score = jnp.where(train_N, jax.random.uniform(which, train_N.shape), 2.0)
    rank = jnp.argsort(order_of(score))
    shift = jax.random.randint(what, targets_NA.shape, 1, max(n_answers, 2))
    wrong = (rank < n_noisy)[:, None] & (targets_NA < n_answers)
    return jnp.where(wrong, (targets_NA + shift) % n_answers, targets_NA)


def training_index(train_N: Bool[Array, " N"], bucket: int) -> Int[Array, " B"]:
    """The training rows in table order, then enough others to fill the bucket."""
    return jnp.argsort(~train_N, stable=True)[:bucket].astype(jnp.int32)


def bucket_of(n_train: int, n_rows: int) -> int:
    """Number of training rows with padding: n_train rounded up to four binary digits (from 8 rows on at most a ninth is
    padding), at least 8, at most n_rows."""
    step = 1 << max(0, n_train.bit_length() - 4)
    return min(max(8, -(-n_train // step) * step), n_rows)


def row_weights(n_train: ArrayLike, bucket: int) -> Float[Array, " B"]:
    """1 for the run's training rows, 0 for the padding of the bucket."""
    return (jnp.arange(bucket) < n_train).astype(jnp.float32)
