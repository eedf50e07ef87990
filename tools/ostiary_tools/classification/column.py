"""A column as it is looked at, and what was found of it."""

import re
from dataclasses import dataclass, field
from enum import Enum


class Family(Enum):
    """Kinds of types that are looked at alike."""

    TEXT = "text"
    NUMBER = "number"
    TIME = "time"
    NETWORK = "network"
    DOCUMENT = "document"
    """JSON, XML and arrays of texts: things may stand within them."""
    BYTES = "bytes"
    OTHER = "other"


_FAMILIES = {
    Family.TEXT: ("text", "varchar", "bpchar", "citext", "name"),
    Family.NUMBER: ("int2", "int4", "int8", "numeric", "float4", "float8", "money"),
    Family.TIME: ("date", "timestamp", "timestamptz"),
    Family.NETWORK: ("inet",),
    Family.DOCUMENT: ("json", "jsonb", "xml", "hstore", "_text", "_varchar", "_bpchar", "_citext"),
    Family.BYTES: ("bytea",),
}
_BY_TYPE = {name: family for family, names in _FAMILIES.items() for name in names}
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_BETWEEN = re.compile(r"[^0-9a-zß-öø-ÿ]+")


@dataclass(frozen=True, slots=True)
class Sampled:
    """A column with some of its values."""

    table: str
    name: str
    family: Family
    values: tuple[str, ...] = field(default=(), repr=False)
    """As the database prints them, cut to a width; no nulls and no blank ones."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a tag is proposed: counts, and never a value."""

    kind: str
    tag: str
    scheme: str = ""
    """Which of several forms the values have: `PESEL`, `GB`."""
    named: bool = False
    """The name tells it."""
    tested: bool = True
    """Whether there is a test of values."""
    matched: int = 0
    sampled: int = 0
    within: bool = False
    """The matches stand within longer texts."""

    def __str__(self) -> str:
        kind = f"{self.kind} ({self.scheme})" if self.scheme else self.kind
        counted = f"{self.matched} of {self.sampled} values"
        if not self.sampled or not self.tested:
            return f"{kind}: by name"
        return f"{kind}: {'within ' if self.within else ''}{counted}{', name' if self.named else ''}"


def family(type_name: str) -> Family:
    """The family of a type, by its name in `pg_type`."""
    return _BY_TYPE.get(type_name, Family.OTHER)


def snake(name: str) -> str:
    """`customerEMail`, `Customer E-Mail` and `CUSTOMER_EMAIL` alike."""
    return _BETWEEN.sub("_", _HUMP.sub("_", name).lower()).strip("_")
