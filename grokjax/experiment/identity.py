"""Hashes: the id of a run, and the name of the group of runs that share its program."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any

from grokjax.experiment.config import RunSettings
from grokjax.settings import Leaf, Role, Settings, leaves, role_of

_AS_TEXT = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_Roles = tuple[Role, ...]


def run_id(settings: RunSettings) -> str:
    """Hash of the hyper and shape settings: seeds resolved, new settings at their introductory default left out."""
    return run_id_of(identity_without_seeds(settings), settings.seeds())


def identity_without_seeds(settings: RunSettings) -> dict[str, Any]:
    """What a run's id is made of, but for the seeds: the same for all seeds of a point."""
    return _identity(settings, ("hyper", "shape"))


def run_id_of(identity: dict[str, Any], seeds: dict[str, int]) -> str:
    """The id of a run, from `identity_without_seeds` and its seeds."""
    return _hash(identity | seeds)


def group_hash(settings: RunSettings, derived: list[Any]) -> str:
    """Hash of the shape settings and of what else the program depends on."""
    return _hash([_identity(settings, ("shape",)), derived])


def _identity(settings: RunSettings, roles: _Roles) -> dict[str, Any]:
    """All settings of these roles by dotted name, but for the seeds."""
    values: dict[str, Any] = {}
    seeds = settings.seeds()
    for name, field in type(settings).model_fields.items():
        value, role = getattr(settings, name), role_of(field)
        if isinstance(value, Settings) and role is None:
            values |= {f"{name}.{inner}": v for inner, v in _section(value, roles)}  # type: ignore[arg-type]
        elif name not in seeds and name != "seed" and role is not None:
            leaf = Leaf(name, value, role, field)
            values |= {name: _as_data(value, roles)} if _counts(leaf, roles) else {}
    return values


@functools.lru_cache(maxsize=4096)
def _section(settings: Settings, roles: _Roles) -> tuple[tuple[str, Any], ...]:
    counting = (leaf for leaf in leaves(settings) if _counts(leaf, roles))
    return tuple((leaf.name, _as_data(leaf.value, roles)) for leaf in counting)


def _counts(leaf: Leaf, roles: _Roles) -> bool:
    return leaf.role in roles and leaf.identifies


def _as_data(value: Any, roles: _Roles) -> Any:
    if isinstance(value, Settings):
        return dict(_section(value, roles))  # type: ignore[arg-type]
    return value + 0.0 if isinstance(value, float) else value  # -0.0 is 0.0


def _hash(data: Any) -> str:
    return hashlib.sha256(_AS_TEXT(data).encode()).hexdigest()[:12]
