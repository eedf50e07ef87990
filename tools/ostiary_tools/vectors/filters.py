"""Conditions on the metadata of what is searched, in one form for every store.

A field that a chunk does not have is null: `IsNull` finds it, and no comparison does, `Not` of one
included, as in SQL. Values compare with values of their own kind: texts with texts, numbers with
numbers, booleans with booleans; a field of another kind than the value asked for does not match,
and `Not` of that does.
"""

from dataclasses import dataclass
from typing import Literal

Scalar = str | int | float | bool
Value = Scalar | tuple[str, ...]
"""What a field of metadata may hold."""
Comparison = Literal["eq", "ne", "lt", "le", "gt", "ge"]


@dataclass(frozen=True, slots=True)
class Compare:
    """`field op value`."""

    field: str
    op: Comparison
    value: Scalar


@dataclass(frozen=True, slots=True)
class OneOf:
    """Equals one of the values."""

    field: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Contains:
    """A text holds the part, letter for letter; a list of texts holds it as a member."""

    field: str
    part: str


@dataclass(frozen=True, slots=True)
class IsNull:
    """The chunk has no such field."""

    field: str


@dataclass(frozen=True, slots=True)
class And:
    """All of them; true when there is none."""

    of: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One of them at least; false when there is none."""

    of: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Not so. Of what is neither so nor not so, because a field is null, nothing."""

    of: "Filter"


Filter = Compare | OneOf | Contains | IsNull | And | Or | Not


def fields_of(condition: Filter) -> frozenset[str]:
    """The names of all fields that it asks for."""
    match condition:
        case And() | Or():
            return frozenset().union(*map(fields_of, condition.of))
        case Not():
            return fields_of(condition.of)
        case _:
            return frozenset((condition.field,))
