"""Names of axes: one setting, or several that move together, separated by commas."""

from __future__ import annotations


def split_names(axis: str) -> list[str]:
    """The settings that one axis moves together."""
    return [name.strip() for name in axis.split(",")]


def tidy_name(axis: str) -> str:
    """The one way in which the program writes an axis's name."""
    return ", ".join(split_names(axis))
