"""Whether what a chunk carries fulfils a filter: the meaning of `filters`, for stores whose own filters say less."""

from collections.abc import Mapping
from typing import Literal

from ostiary_tools.vectors.filters import And, Compare, Contains, Filter, IsNull, Not, OneOf, Or, Value

Kind = Literal["text", "number", "truth", "list"]


def kind_of(value: Value) -> Kind:
    """Values compare with those of their kind alone."""
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, str):
        return "text"
    return "number" if isinstance(value, int | float) else "list"


def holds(condition: Filter, metadata: Mapping[str, Value]) -> bool:
    """It is so; what is neither so nor not so does not hold."""
    return _truth(condition, metadata) is True


def _truth(condition: Filter, metadata: Mapping[str, Value]) -> bool | None:
    """`None` where it asks for a field that is null."""
    match condition:
        case And(of):
            return _all([_truth(one, metadata) for one in of])
        case Or(of):
            return _not(_all([_not(_truth(one, metadata)) for one in of]))
        case Not(of):
            return _not(_truth(of, metadata))
        case IsNull(field):
            return field not in metadata
        case _:
            return None if condition.field not in metadata else _compared(condition, metadata[condition.field])


def _all(truths: list[bool | None]) -> bool | None:
    if False in truths:
        return False
    return None if None in truths else True


def _not(truth: bool | None) -> bool | None:
    return None if truth is None else not truth


def _compared(condition: Compare | OneOf | Contains, value: Value) -> bool:
    """A field of another kind than what it is compared with compares false."""
    kind = kind_of(value)
    match condition:
        case Compare(_, op, other):
            return kind == kind_of(other) and ordered(op, value, other)
        case OneOf(_, values):
            return any(value == other for other in values if kind_of(other) == kind)
        case Contains(_, part):
            return isinstance(value, str | tuple) and part in value


def ordered(op: str, value: Value, other: Value) -> bool:
    """Two values of one kind; texts by their code points."""
    match op:
        case "eq":
            return value == other
        case "ne":
            return value != other
        case "lt":
            return value < other  # type: ignore[operator]  # both are of one kind
        case "le":
            return value <= other  # type: ignore[operator]  # likewise
        case "gt":
            return value > other  # type: ignore[operator]  # likewise
        case _:
            return value >= other  # type: ignore[operator]  # likewise
