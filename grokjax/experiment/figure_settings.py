"""Figures that an experiment asks for, besides those that every experiment gets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from grokjax.settings import Settings, execution

Side = Annotated[float, Field(ge=0.5, le=100)]


class FigureSettings(Settings):
    """One figure; `python -m analysis figure` takes the same words."""

    draw: Literal["time", "median_time", "phases", "curves", "probes"] = execution()
    """Its kind."""
    name: str | None = execution(None, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Its file, without the ending, in the folder figures; null: its kind and its number."""
    x: str | None = execution(None)
    """Axis across; null: the first."""
    y: str | None = execution(None)
    """Axis up, of median_time and phases; null: the second."""
    hue: str | None = execution(None)
    """Axis with a line and a colour for each value; null: the second; none: one line."""
    panel: tuple[str, ...] | None = execution(None, strict=False)
    """Axes with a panel for each combination of values, while axes that are not named are pooled; null: all other axes
    have panels."""
    values: tuple[str, ...] | None = execution(None, strict=False)
    """Values to draw, of probes; null: all."""
    where: tuple[str, ...] = execution((), strict=False)
    """Conditions that the runs must meet, such as optimizer.weight_decay=1."""
    level: float | None = execution(None, gt=0, le=1)
    """Validation accuracy that counts as grokked; null: that of the stop rule, else 0.99."""
    style: Literal["screen", "paper", "slide"] = execution("screen")
    """Size and font: as large as needed, one column of a paper, or a slide."""
    size: tuple[Side, Side] | None = execution(None, strict=False)
    """Width and height in inches; null: those of the style."""
    font: float | None = execution(None, ge=3, le=72)
    """Size of the text in points; null: that of the style."""
    title: str | None = execution(None, max_length=200)
    """A text above the figure; none: no titles of panels either."""
    format: tuple[Literal["pdf", "png", "svg", "pgf"], ...] = execution(
        ("png", "pdf"), strict=False
    )
    """Formats of the files; pgf needs xelatex."""
