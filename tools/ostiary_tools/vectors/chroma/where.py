"""A filter as Chroma's `where`.

What Chroma finds by it is all that fulfils the filter and may be more: Chroma orders no texts, finds no parts of them,
and keeps numbers as floats. Whoever asks looks at what is found once more, by `holding`. Fields are never keys of Chroma
by their own name: each stands as `kind:name`, and the list `fields` names those that a chunk has, so that null and the
kinds of values are told apart, which Chroma's own `$ne` does not.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from ostiary_tools.vectors.filters import And, Compare, Contains, Filter, IsNull, Not, OneOf, Or, Scalar
from ostiary_tools.vectors.holding import Kind, kind_of, ordered

Where = Mapping[str, Any] | bool
"""A condition of Chroma; `True` where all are asked for and `False` where none is."""
FIELDS = "fields"
MOST_VALUES = 5_000
"""Of one list: its database takes 32,766 parameters in one statement."""
_EXACT = 2**53
"""Up to here each whole number is a float of its own."""
_NEGATED = {"eq": "ne", "ne": "eq", "lt": "ge", "ge": "lt", "gt": "le", "le": "gt"}
_LOOSE = {"$lt": "$lte", "$gt": "$gte"}
_KINDS: tuple[Kind, ...] = ("text", "number", "truth", "list")


def where(condition: Filter, *, so: bool = True) -> Where:
    """What finds at least all for which it is `so`."""
    match condition:
        case And(of):
            return both([where(one, so=so) for one in of]) if so else either([where(one, so=so) for one in of])
        case Or(of):
            return either([where(one, so=so) for one in of]) if so else both([where(one, so=so) for one in of])
        case Not(of):
            return where(of, so=not so)
        case IsNull(field):
            kinds = [_has(kind, field, so=not so) for kind in _KINDS]
            return both(kinds) if so else either(kinds)
        case _:
            found, kinds_asked = _asked(condition, so=so)
            return found if so else either([found, *(_has(kind, condition.field) for kind in _KINDS if kind not in kinds_asked)])


def _asked(condition: Compare | OneOf | Contains, *, so: bool) -> tuple[Where, AbstractSet[Kind]]:
    """Among fields of the kinds that it is about; those of other kinds compare false."""
    match condition:
        case Compare(field, op, value):
            return _comparison(field, op if so else _NEGATED[op], value), {kind_of(value)}
        case OneOf(field, values):
            return _among(field, values, so=so)
        case Contains(field, part):
            member: Where = {f"list:{field}": {"$contains" if so else "$not_contains": part}}
            return either([both([_has("list", field), member]), _has("text", field)]), {"list", "text"}


def both(conditions: Sequence[Where]) -> Where:
    """All of them, in the fewest words: Chroma takes no `$and` of less than two."""
    wanted = [one for one in conditions if one is not True]
    if False in wanted:
        return False
    return True if not wanted else wanted[0] if len(wanted) == 1 else {"$and": wanted}


def either(conditions: Sequence[Where]) -> Where:
    """One of them at least."""
    wanted = [one for one in conditions if one is not False]
    if True in wanted:
        return True
    return False if not wanted else wanted[0] if len(wanted) == 1 else {"$or": wanted}


def _has(kind: Kind, field: str, *, so: bool = True) -> Where:
    return {FIELDS: {"$contains" if so else "$not_contains": f"{kind}:{field}"}}


def _comparison(field: str, op: str, value: Scalar) -> Where:
    if isinstance(value, bool):
        return either([{f"truth:{field}": one} for one in (False, True) if ordered(op, one, value)])
    if isinstance(value, str):
        return _text(field, op, value)
    return _number(field, op, value)


def _text(field: str, op: str, value: str) -> Where:
    if op == "eq":
        return {f"text:{field}": value}
    if op == "ne":
        return both([_has("text", field), {f"text:{field}": {"$ne": value}}])
    return _has("text", field)


def _number(field: str, op: str, value: float) -> Where:
    exact = _is_exact(value)
    if op == "ne" and not exact:
        return _has("number", field)
    if op == "ne":
        return both([_has("number", field), {f"number:{field}": {"$ne": float(value)}}])
    written = {"eq": "$eq", "lt": "$lt", "le": "$lte", "gt": "$gt", "ge": "$gte"}[op]
    return {f"number:{field}": {written if exact else _LOOSE.get(written, written): float(value)}}


def _is_exact(value: object) -> bool:
    return isinstance(value, int | float) and -_EXACT < value < _EXACT


def _among(field: str, values: tuple[Scalar, ...], *, so: bool) -> tuple[Where, AbstractSet[Kind]]:
    kinds: dict[Kind, list[Scalar]] = {}
    for value in values:
        kinds.setdefault(kind_of(value), []).append(value)
    return either([_listed(field, kind, alike, so=so) for kind, alike in kinds.items()]), kinds.keys()


def _listed(field: str, kind: Kind, values: list[Scalar], *, so: bool) -> Where:
    plain = len(values) <= MOST_VALUES and (kind != "number" or all(_is_exact(one) for one in values))
    if not plain:
        return _has(kind, field)
    listed = list(map(float, values)) if kind == "number" else values
    among = {f"{kind}:{field}": {"$in" if so else "$nin": listed}}
    return among if so else both([_has(kind, field), among])
