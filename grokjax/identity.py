"""What a run is, as a hash: its id, and the name of the program it shares with other runs."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any

from grokjax.config import RunSettings
from grokjax.settings import Role, Settings, leaves

_Roles = tuple[Role, ...]


def run_id(settings: RunSettings) -> str:
    """Hash of the hyper and shape settings: seeds resolved, new settings at their introductory default left out."""
    return _hash(_identity(settings, ("hyper", "shape")) | settings.seeds())


def group_hash(settings: RunSettings, derived: list[Any]) -> str:
    """Hash of the shape settings and of what else the program depends on."""
    return _hash([_identity(settings, ("shape",)), derived])


def _identity(settings: RunSettings, roles: _Roles) -> dict[str, Any]:
    """All settings of these roles by dotted name, but for the seeds."""
    seeds = {"seed", *settings.seeds()}
    found: dict[str, Any] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Settings):
            found |= {f"{name}.{n}": v for n, v in _section(value, roles)}
    own = (leaf for leaf in leaves(settings) if "." not in leaf.name and leaf.name not in seeds)
    return found | {leaf.name: _as_data(leaf.value, roles) for leaf in own if _counts(leaf, roles)}


@functools.lru_cache(maxsize=4096)
def _section(settings: Settings, roles: _Roles) -> tuple[tuple[str, Any], ...]:
    counting = (leaf for leaf in leaves(settings) if _counts(leaf, roles))
    return tuple((leaf.name, _as_data(leaf.value, roles)) for leaf in counting)


def _counts(leaf: Any, roles: _Roles) -> bool:
    return leaf.role in roles and leaf.identifies


def _as_data(value: Any, roles: _Roles) -> Any:
    if isinstance(value, Settings):
        return dict(_section(value, roles))
    return value + 0.0 if isinstance(value, float) else value  # -0.0 is 0.0


def _hash(data: Any) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
