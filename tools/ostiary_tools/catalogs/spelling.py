"""How `information_schema` spells names and types: three parts for a name, words and measures for a type."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ostiary_tools.catalogs.sight import PG_CATALOG, Sight
from ostiary_tools.details import Name

Row = Mapping[str, Any]

NO_TYPMOD = -1
_HEADER = 4
"""PostgreSQL adds it to the lengths in a type modifier."""
_NO_PRECISION = 0xFFFF
INTEGERS = {"int2": 16, "int4": 32, "int8": 64}
_FLOATS = {"float4": 24, "float8": 53}
_TIMES = frozenset({"time", "timetz", "timestamp", "timestamptz"})


def database(sight: Sight) -> str:
    """The catalog of the standard: the database's name."""
    return sight.view.snapshot.details.database.name


def named(sight: Sight, prefix: str, name: Name) -> Row:
    """A name in its three parts."""
    return {f"{prefix}_catalog": database(sight), f"{prefix}_schema": name[0], f"{prefix}_name": name[1]}


@dataclass(frozen=True, slots=True)
class Type:
    """A type that is no domain, with its modifier and words where they are known."""

    name: Name
    typmod: int
    words: str


def resolved(sight: Sight, name: Name, typmod: int, words: str) -> Type:
    """The type itself, or what the domain stands for."""
    detail = sight.view.snapshot.details.types.get(name)
    return Type(detail.base, detail.typmod, "") if detail is not None and detail.base is not None else Type(name, typmod, words)


def domain_of(sight: Sight, name: Name) -> Row:
    """The domain, where the type is one."""
    detail = sight.view.snapshot.details.types.get(name)
    return named(sight, "domain", name) if detail is not None and detail.base is not None else {}


def typed(sight: Sight, kind: Type, prefix: str = "udt") -> dict[str, Any]:
    """How the standard's views spell a type."""
    schema, name = kind.name
    builtin = sight.builtin.get(name) if schema == PG_CATALOG else None
    found: dict[str, Any] = {}
    if builtin is None and ("type", schema, name) not in sight.numbers:
        # Hidden from this caller.
        schema, name = PG_CATALOG, "record"
    if (schema, name) in sight.elements:
        found["data_type"] = "ARRAY"
    elif builtin is not None:
        found |= {"data_type": builtin.words, **_measures(sight, kind)}
    else:
        found["data_type"] = "USER-DEFINED"
    return {**named(sight, prefix, (schema, name)), **found}


def _measures(sight: Sight, kind: Type) -> Row:  # noqa: PLR0911 -- one return a family of types
    """Length, precision and scale of a built-in type."""
    name, typmod = kind.name[1], kind.typmod
    width = 4 if sight.view.snapshot.details.database.encoding_name == "UTF8" else 1
    if name in ("varchar", "bpchar"):
        length = None if typmod == NO_TYPMOD else typmod - _HEADER
        return {"character_maximum_length": length, "character_octet_length": 2**30 if length is None else length * width}
    if name == "text":
        return {"character_octet_length": 2**30}
    if name in ("bit", "varbit"):
        return {"character_maximum_length": None if typmod == NO_TYPMOD else typmod}
    if name in INTEGERS or name in _FLOATS:
        precision = INTEGERS.get(name) or _FLOATS.get(name)
        return {"numeric_precision": precision, "numeric_precision_radix": 2, "numeric_scale": 0 if name in INTEGERS else None}
    if name == "numeric":
        return {"numeric_precision_radix": 10, **_decimal(typmod)}
    if name == "date":
        return {"datetime_precision": 0}
    if name in _TIMES:
        return {"datetime_precision": 6 if typmod == NO_TYPMOD else typmod}
    if name == "interval":
        low = typmod & _NO_PRECISION
        fields = re.fullmatch(r"interval ([a-z ]+?)(?:\(\d\))?", kind.words)
        return {
            "datetime_precision": 6 if typmod == NO_TYPMOD or low == _NO_PRECISION else low,
            "interval_type": fields[1].upper() if fields else None,
        }
    return {}


def _decimal(typmod: int) -> Row:
    if typmod == NO_TYPMOD:
        return {}
    packed = typmod - _HEADER
    return {"numeric_precision": packed >> 16 & 0xFFFF, "numeric_scale": packed & 0xFFFF}
