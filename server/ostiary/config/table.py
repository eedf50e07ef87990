"""The settings as a table, walked for the commented file, the reference page, the listing of `ostiary check` and error messages."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from ostiary.config.secrets import KeyLines, KeyText
from ostiary.config.section import Section
from ostiary.config.settings import Config


class Kind(StrEnum):
    """What a value looks like; the value is the word for it in messages and in the reference."""

    TEXT = "text"
    INTEGER = "a whole number"
    NUMBER = "a number"
    CHOICE = "one of its words"
    PATH = "a path"
    LIST = "a list of texts"
    MAPPING = "a table of lists"
    TABLE = "a table"
    SECRET = "a secret: `env:NAME`, `file:/path`, or a URL without a password"  # noqa: S105 words, no secret
    KEY = "a secret: `env:NAME` or `file:/path`"


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    section: tuple[str, ...]
    """`("limits",)`; `("datasources", "<name>")` for any name."""
    name: str
    kind: Kind
    choices: tuple[str, ...]
    required: bool
    default: Any
    """Also when `shown` replaces it in print."""
    shown: str
    unit: str
    example: Any
    help: str

    @property
    def key(self) -> tuple[str, ...]:
        """The path to it in the file."""
        return (*self.section, self.name)

    def matches(self, key: tuple[str, ...]) -> bool:
        """Whether `key` names this setting or, in a mapping, an entry of it."""
        own = self.key
        length = len(own) + (self.kind in (Kind.MAPPING, Kind.TABLE) and len(key) > len(own))
        return len(key) == length and all(a in (b, "<name>") for a, b in zip(own, key, strict=False))


def _sections() -> Iterator[tuple[tuple[str, ...], type[Section]]]:
    for name, field in Config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield (name,), field.annotation
        else:
            yield (name, "<name>"), get_args(field.annotation)[1]


SECTIONS: tuple[tuple[tuple[str, ...], type[Section]], ...] = tuple(_sections())
"""Each section's path and model, in the order of the file."""


def _kind(annotation: Any) -> Kind:
    origin = get_origin(annotation)
    if origin in (Union, UnionType, Annotated):
        return _kind(get_args(annotation)[0])
    if origin is Literal:
        return Kind.CHOICE
    if origin is tuple:
        return Kind.LIST
    if origin is not None:
        return Kind.MAPPING if get_origin(get_args(annotation)[1]) is tuple else Kind.TABLE
    kinds: dict[type, Kind] = {
        str: Kind.TEXT,
        int: Kind.INTEGER,
        float: Kind.NUMBER,
        Path: Kind.PATH,
        SecretStr: Kind.SECRET,
        KeyText: Kind.KEY,
        KeyLines: Kind.KEY,
    }
    return kinds[annotation]


def _row(section: tuple[str, ...], name: str, field: FieldInfo) -> Setting:
    extra: Any = field.json_schema_extra
    kind = _kind(field.annotation)
    return Setting(
        section=section,
        name=name,
        kind=kind,
        choices=get_args(field.annotation) if kind is Kind.CHOICE else (),
        required=field.is_required(),
        default=None if field.is_required() else field.default,
        help=field.description or "",
        **extra,
    )


TABLE: tuple[Setting, ...] = tuple(
    _row(path, name, field) for path, model in SECTIONS for name, field in model.model_fields.items()
)
"""Every setting, in the order of the file."""


def setting_of(key: tuple[str, ...]) -> Setting | None:
    """The setting that `key` names, or `None`."""
    return next((s for s in TABLE if s.matches(key)), None)
