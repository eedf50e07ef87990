"""A value of JSON for a column, as PostgreSQL's input syntax; what the column clearly does not take is said before it is asked."""

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from typing import Any
from uuid import UUID

from ostiary_tools.snapshot import ColumnInfo, Name, TypeInfo

_INTEGERS = {"int2": 16, "int4": 32, "int8": 64}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?|[+-]?(NaN|Infinity)", re.ASCII)
_BOOLS = frozenset(("true", "false", "t", "f", "yes", "no", "on", "off", "1", "0"))
_LABELS = 12


def as_text(value: Any, column: ColumnInfo, types: Mapping[Name, TypeInfo]) -> str:
    """The value as text. Raises ValueError, which says what the column takes and not what was given."""
    kind = column.kind
    while kind is not None and kind in types and (base := types[kind].base) is not None:
        kind = base
    if kind is not None and kind in types and (labels := types[kind].labels):
        return _label(value, labels)
    name = kind[1] if kind is not None and kind[0] == "pg_catalog" else ""
    checked = _CHECKED[name](value, name) if name in _CHECKED else _plain(value)
    if "\0" in checked:
        raise ValueError("a text cannot hold the character U+0000")
    return checked


def _plain(value: Any) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case _:
            raise ValueError("it takes a text or a number, in PostgreSQL's own syntax")


def _label(value: Any, labels: tuple[str, ...]) -> str:
    if value not in labels:
        more = " …" if len(labels) > _LABELS else ""
        raise ValueError(f"it takes one of {', '.join(labels[:_LABELS])}{more}")
    return str(value)


def _bool(value: Any, _name: str) -> str:
    text = _plain(value).lower()
    if text not in _BOOLS:
        raise ValueError("it takes true or false")
    return text


def _integer(value: Any, name: str) -> str:
    bound = 1 << (_INTEGERS[name] - 1)
    try:
        number = int(value) if not isinstance(value, bool | float) or value == math.floor(value) else None
    except (ValueError, OverflowError, TypeError):
        number = None
    if number is None or isinstance(value, bool):
        raise ValueError("it takes a whole number")
    if not -bound <= number < bound:
        raise ValueError(f"it takes a whole number from {-bound} to {bound - 1}")
    return str(number)


def _number(value: Any, _name: str) -> str:
    text = "" if isinstance(value, bool | list | dict) else str(value).strip()
    if not _NUMBER.fullmatch("NaN" if text == "nan" else text):
        raise ValueError("it takes a number")
    return text


def _iso(read: Callable[[str], Any], form: str) -> Callable[[Any, str], str]:
    def checked(value: Any, _name: str) -> str:
        try:
            read(value)
        except (ValueError, TypeError):
            raise ValueError(f"it takes {form}") from None
        return str(value)

    return checked


def _json(value: Any, _name: str) -> str:
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    try:
        json.loads(value)
    except ValueError:
        raise ValueError("it takes JSON; a text of JSON stands in double quotes") from None
    return value


_CHECKED: Mapping[str, Callable[[Any, str], str]] = {
    "bool": _bool,
    **dict.fromkeys(_INTEGERS, _integer),
    **dict.fromkeys(("numeric", "float4", "float8"), _number),
    "date": _iso(date.fromisoformat, "a date such as 2026-01-31"),
    "time": _iso(time.fromisoformat, "a time such as 13:45:00"),
    **dict.fromkeys(("timestamp", "timestamptz"), _iso(datetime.fromisoformat, "a moment such as 2026-01-31T13:45:00+00:00")),
    "uuid": _iso(UUID, "a UUID"),
    **dict.fromkeys(("json", "jsonb"), _json),
}
