"""JSON that is exactly a value of ours, and bytes of it: whatever else it is, it is refused."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ostiary_tools.errors import Damaged

T = TypeVar("T")


def encode(value: Any, format_: int) -> bytes:
    """A dataclass, for people to read, too."""
    return json.dumps({"format": format_} | asdict(value), indent=1, default=_as_text).encode() + b"\n"


def decode(what: str, data: bytes, shape: type[T], format_: int) -> T:
    """Raises Damaged, naming `what`: also for a field too many, a type that is almost right, a name that comes twice."""
    hashable: Any = shape
    try:
        found = json.loads(data, object_pairs_hook=_each_once)
        if not isinstance(found, dict):
            raise ValueError("no object")  # noqa: TRY004, TRY301 -- any ValueError says that it is none
    except (ValueError, RecursionError):
        raise none_of_ours(what) from None
    if found.pop("format", None) != format_:
        raise Damaged(what, f"`{what}` has another format", "use the version of Ostiary that made it")
    try:
        # As JSON again, for only there is a list a tuple and a text a time while all else is strict.
        value: T = _adapter(hashable).validate_json(json.dumps(found), strict=True, extra="forbid")
    except (ValidationError, ValueError, RecursionError):
        raise none_of_ours(what) from None
    return value


def none_of_ours(what: str) -> Damaged:
    """That it has no form that we would have written."""
    return Damaged(what, f"`{what}` is none of ours", "do not restore from it")


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    """Built once: it takes some milliseconds."""
    return TypeAdapter(shape)


def _each_once(pairs: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """A name that comes twice is read differently by different readers."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)
