"""Where every setting was written, so that a message about it can name the line or the override."""

from __future__ import annotations

import dataclasses
from typing import Any

from grokjax.quoting import cut, cut_path, shown

Key = tuple[str, ...]
"""A setting's name in parts. An axis is ('axes', its whole name): names of axes contain dots."""


class ConfigError(Exception):
    """A mistake in the input. The message has one or more lines `place: setting: what is wrong`."""


@dataclasses.dataclass(frozen=True)
class Places:
    """The lines and overrides in which settings were written; for a point of a grid, also the axes."""

    path: str
    lines: dict[Key, int] = dataclasses.field(default_factory=dict)
    overrides: dict[Key, str] = dataclasses.field(default_factory=dict)
    axis_of: dict[Key, str] = dataclasses.field(default_factory=dict)
    """The axis that each varying setting takes its value from."""
    point: dict[str, Any] = dataclasses.field(default_factory=dict)
    """The values that they have."""
    claim: str = ""
    """The comment at the top of the file."""

    def place(self, key: Key) -> str:
        """'file:line' of the setting or of the nearest one around it, or the override that set it."""
        if key in self.overrides:
            return f"override {cut(self.overrides[key])}"
        if key in self.lines:
            return f"{cut_path(self.path)}:{self.lines[key]}"
        below = [word for name, word in self.overrides.items() if name[: len(key)] == key]
        if key and below:
            return f"override {cut(below[-1])}"
        return self.place(key[:-1]) if key else cut_path(self.path)

    def error(self, key: Key, message: str, because: tuple[str, ...] = ()) -> ConfigError:
        """A mistake in one setting. `because`: sections whose axes may have caused it."""
        return ConfigError(self.sentence(key, message, because))

    def sentence(self, key: Key, message: str, because: tuple[str, ...] = ()) -> str:
        """The message: at the axis, if the value came from one."""
        name, axis = cut(".".join(key)), self._axis(key)
        if axis is not None:
            named = message if key == tuple(axis.split(".")) else f"{name}: {message}"
            return f"{self.place(('axes', axis))}: axes.{cut(axis)}: {named}"
        causes = [n for n in self.point if n.split(".")[0] in because]
        if causes:
            values = ", ".join(f"axes.{cut(n)} is {_value(self.point[n])}" for n in causes)
            message += f" (where {values})"
        return f"{self.place(key)}: {name}: {message}"

    def _axis(self, key: Key) -> str | None:
        axes = [self.axis_of[key[:n]] for n in range(len(key), 0, -1) if key[:n] in self.axis_of]
        return axes[0] if axes else None

    def without(self, key: Key) -> Places:
        """The places after the value at `key` was replaced, without those of `key` and the settings inside it."""

        def kept(places: dict) -> dict:
            return {name: place for name, place in places.items() if name[: len(key)] != key}

        return dataclasses.replace(self, lines=kept(self.lines), overrides=kept(self.overrides))


def _value(value: Any) -> str:
    return cut(value) if isinstance(value, str) else shown(value)
