"""What a setting is: a typed field with a meaning, a range and one of four roles (docs/design.md, section 5).

Each kind (a task, a model, an optimiser, ...) declares its settings as a frozen subclass of `Settings` beside the
function that implements it. The role decides what a setting does to a run's id and to its compiled program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from grokjax.quoting import shown

Role = Literal["hyper", "shape", "extendable", "execution"]


MAX_INTEGER = 2**31
"""Whole numbers must be smaller, because devices count in int32."""


class SettingError(ValueError):
    """A setting has a value that it cannot have. Whoever knows the section turns this into a ConfigError."""

    def __init__(self, name: str, why: str):
        super().__init__(f"{name}: {why}")
        self.name = name
        """Name of the setting within its section."""
        self.why = why
        """One sentence that gives the value and says what to use instead."""


class Settings(BaseModel):
    """A frozen group of settings. Refuses unknown names and does not convert types.

    A class with a field that has no role is an error (ValueError) when it is made: the field would be in no run's id.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        for name, field in cls.model_fields.items():
            if role_of(field) is None and not _holds_settings(field.annotation):
                given = "" if field.default is PydanticUndefined else repr(field.default)
                raise ValueError(
                    f"{cls.__name__}.{name} has no role, so it would be in no run's id; write '{name}: ... = "
                    f"shape({given})' if it changes the program, hyper({given}) if it is a number that does not, or "
                    f"execution({given}) in a measurement"
                )

    @model_validator(mode="after")
    def _integers_fit(self) -> Settings:
        for name, value in self.__dict__.items():
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, int) and number >= MAX_INTEGER:
                    raise SettingError(name, f"must be below {MAX_INTEGER}, got {shown(number)}")
        return self


def _field(role: Role, default: Any, introduced: Any, limits: dict[str, Any]) -> Any:
    extra: dict[str, Any] = {"role": role}
    if introduced is not PydanticUndefined:
        extra["introduced"] = introduced
    return Field(default, json_schema_extra=extra, **limits)


def hyper(
    default: Any = PydanticUndefined, *, introduced: Any = PydanticUndefined, **limits: Any
) -> Any:
    """A number that does not change the compiled program. It is part of the run's id.

    `introduced` is the default of a setting that was added in a later release. A setting with this value is not part
    of the id, so that ids do not change with a new release.
    """
    return _field("hyper", default, introduced, limits)


def shape(
    default: Any = PydanticUndefined, *, introduced: Any = PydanticUndefined, **limits: Any
) -> Any:
    """A setting that changes the compiled program: part of the run's id and of its group."""
    return _field("shape", default, introduced, limits)


def extendable(default: Any = PydanticUndefined, **limits: Any) -> Any:
    """How long a run lasts, or what is recorded of it. It does not change the training and is not part of the id.

    In a results directory only train.steps can grow; the other settings with this role cannot change there.
    """
    return _field("extendable", default, PydanticUndefined, limits)


def execution(default: Any = PydanticUndefined, **limits: Any) -> Any:
    """How the work is done on this machine. It is not part of the id, but is recorded."""
    return _field("execution", default, PydanticUndefined, limits)


class Kind(NamedTuple):
    """One entry of a dictionary of kinds: its settings, and the function that implements it."""

    settings: type[Settings]
    build: Callable[..., Any]


class Leaf(NamedTuple):
    """One setting of a resolved experiment."""

    name: str
    value: Any
    role: Role
    field: FieldInfo

    @property
    def identifies(self) -> bool:
        """Whether the setting is part of the run's id."""
        extra = self.field.json_schema_extra
        assert isinstance(extra, dict)
        new = "introduced" in extra and extra["introduced"] == self.value
        return self.role in ("hyper", "shape") and not new


def role_of(field: FieldInfo) -> Role | None:
    """The role a field declares, or None for a field that holds further settings."""
    extra = field.json_schema_extra
    return extra["role"] if isinstance(extra, dict) and "role" in extra else None  # type: ignore[return-value]


def _holds_settings(annotation: Any) -> bool:
    """Whether a field holds further settings: a class of them, or a union of such classes and None."""
    if isinstance(annotation, type):
        return issubclass(annotation, Settings | NoneType)
    if hasattr(annotation, "__metadata__"):  # Annotated
        return _holds_settings(get_args(annotation)[0])
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()
    return any(map(_holds_settings, options)) and all(map(_holds_settings, options))


def leaves(settings: Settings, prefix: str = "") -> Iterator[Leaf]:
    """All settings in `settings`, also nested ones, by dotted name. Every `kind` is a shape setting."""
    for name, field in type(settings).model_fields.items():
        value, dotted, role = getattr(settings, name), prefix + name, role_of(field)
        if role is not None:
            yield Leaf(dotted, value, role, field)
        elif isinstance(value, Settings):
            yield from leaves(value, dotted + ".")


def kind_of(settings_class: type[Settings]) -> str:
    """The word that chooses this class in a configuration: the only value of its `kind` field."""
    return get_args(settings_class.model_fields["kind"].annotation)[0]


def check_kinds(dictionary: str, kinds: Mapping[str, Any]) -> None:
    """Raises ValueError if a dictionary of kinds has another word for a kind than its settings have."""
    for word, kind in kinds.items():
        name = kind.settings.__name__
        if "kind" not in kind.settings.model_fields:
            told = f'kind: Literal["{word}"] = shape("{word}")'
            raise ValueError(f"{dictionary}: {name} has no setting kind; write '{told}' into it")
        if kind_of(kind.settings) != word:
            told = f"has the word '{word}' for {name}, whose kind is '{kind_of(kind.settings)}'"
            raise ValueError(f"{dictionary} {told}; write the same word in both")
