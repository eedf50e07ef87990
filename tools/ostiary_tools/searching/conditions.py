"""Conditions on metadata as agents write them, as values of `vectors.filters`.

One form: `{"field": "year", "ge": 2020, "lt": 2025}`, `{"field": "lang", "in": ["de", "en"]}`,
`{"field": "tags", "contains": "x"}`, `{"field": "x", "null": true}`, `{"and": [..]}`, `{"or": [..]}`, `{"not": ..}`. What is
wrong is told by its place and never repeated, since it may be a value.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from ostiary_tools.errors import Refused
from ostiary_tools.vectors.filters import And, Compare, Comparison, Contains, Filter, IsNull, Not, OneOf, Or, Scalar

_DEEPEST = 8
_MOST = 200
"""Conditions and values of `in`, all together."""
_LONGEST = 1_000
"""Characters of a text."""
_FIELD = re.compile(r"[A-Za-z_][\w .-]{0,63}")
_ORDERS: tuple[Comparison, ...] = ("eq", "ne", "lt", "le", "gt", "ge")
_INTEGER = 1 << 63
_FORM = '{"field": "year", "ge": 2020}, also eq, ne, lt, le, gt, in, contains, null; {"and": [..]}, {"or": [..]}, {"not": ..}'


def storable(text: str) -> bool:
    """Whether every store can be asked for it: no NUL, and no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("it takes a text")  # noqa: TRY004  what pydantic collects
    if len(value) > _LONGEST:
        raise ValueError(f"a text has at most {_LONGEST} characters")
    if not storable(value):
        raise ValueError("a text cannot hold the character U+0000 or half a character")
    return value


def _scalar(value: Any) -> Scalar:
    match value:
        case bool():
            return value
        case int() | float():
            # Written so that what is no number is outside too.
            if not -_INTEGER <= value < _INTEGER and not (isinstance(value, float) and math.isfinite(value)):
                raise ValueError("it takes a finite number, and a whole one within 64 bits")
            return value
        case str():
            return _text(value)
        case _:
            raise ValueError("it takes a text, a number, true or false")


def _ordered(value: Any) -> Scalar:
    if isinstance(value, bool):
        raise ValueError("it takes a text or a number")  # noqa: TRY004  what pydantic collects
    return _scalar(value)


def _field(name: Any) -> str:
    if not isinstance(name, str) or not _FIELD.fullmatch(name):
        raise ValueError("it takes a letter or `_`, then at most 63 letters, digits, spaces and `_.-`")
    return name


def _part(value: Any) -> str:
    if value == "":
        raise ValueError("it takes a text that is not empty")
    return _text(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("it takes true or false")  # noqa: TRY004  what pydantic collects
    return value


_Scalar = Annotated[Scalar | None, PlainValidator(_scalar)]
_Ordered = Annotated[Scalar | None, PlainValidator(_ordered)]


class _Comparisons(BaseModel):
    """Of one field, all of which are to hold. `None` is what is not given, and cannot be given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    field: Annotated[str, PlainValidator(_field)]
    eq: _Scalar = None
    ne: _Scalar = None
    lt: _Ordered = None
    le: _Ordered = None
    gt: _Ordered = None
    ge: _Ordered = None
    one_of: Annotated[tuple[Annotated[Scalar, PlainValidator(_scalar)], ...], Field(alias="in", min_length=1)] = ()
    contains: Annotated[str, PlainValidator(_part)] = ""
    null: Annotated[bool | None, PlainValidator(_truth)] = None

    def parts(self) -> Iterator[Filter]:
        """Each by itself."""
        for op in _ORDERS:
            if (value := getattr(self, op)) is not None:
                yield Compare(self.field, op, value)
        if self.one_of:
            yield OneOf(self.field, self.one_of)
        if self.contains:
            yield Contains(self.field, self.contains)
        if self.null is not None:
            yield IsNull(self.field) if self.null else Not(IsNull(self.field))


class _Reading:
    """One condition while it is read; counts what it has met, over all of it."""

    def __init__(self) -> None:
        self._met = 0

    def read(self, given: Any, place: tuple[str, ...]) -> Filter:
        """Raises Refused."""
        if sum(not part.isdecimal() for part in place) > _DEEPEST:
            raise _wrong(place, f"conditions stand in at most {_DEEPEST} others")
        self._count(1, place)
        match given:
            case Mapping() if len(given) == 1 and (word := next(iter(given))) in ("and", "or"):
                of = tuple(self._each(given[word], (*place, word)))
                return And(of) if word == "and" else Or(of)
            case {"not": inner} if len(given) == 1:
                return Not(self.read(inner, (*place, "not")))
            case Mapping():
                return self._compared(given, place)
            case _:
                raise _wrong(place, "it takes a condition")

    def _each(self, given: Any, place: tuple[str, ...]) -> Iterator[Filter]:
        if not isinstance(given, list | tuple) or not given:
            raise _wrong(place, "it takes a list of conditions, one at least")
        for number, one in enumerate(given, 1):
            yield self.read(one, (*place, str(number)))

    def _compared(self, given: Mapping[str, Any], place: tuple[str, ...]) -> Filter:
        several = given.get("in")
        self._count(len(several) if isinstance(several, list | tuple) else 0, place)
        try:
            parts = tuple(_Comparisons.model_validate(given).parts())
        except ValidationError as error:
            [found, *_] = error.errors(include_url=False, include_context=False, include_input=False)
            said = found["msg"].removeprefix("Value error, ")
            raise _wrong((*place, *map(str, found["loc"][:2])), said[:1].lower() + said[1:]) from None
        if not parts:
            raise _wrong(place, "nothing is asked of the field")
        return parts[0] if len(parts) == 1 else And(parts)

    def _count(self, more: int, place: tuple[str, ...]) -> None:
        self._met += more
        if self._met > _MOST:
            raise _wrong(place, f"there are more than {_MOST} conditions and values")


def condition(given: Mapping[str, Any]) -> Filter:
    """The condition as a value. Raises Refused, which names the place and no value."""
    return _Reading().read(given, ())


def _wrong(place: tuple[str, ...], said: str) -> Refused:
    # A key that nobody knows may be anything, so it is told as far as it looks like one.
    known = [part if part.isidentifier() or part.isdecimal() else "…" for part in place]
    return Refused("filter", f"`{'.'.join(['filter', *(part[:40] for part in known)])}`: {said}", f"write {_FORM}")
