"""Filters as SQL over the column `metadata` of a chunk: every name and value is bound, none is text of the statement.

What is null stays null through comparisons, so that `not` works as the language says; a field of another kind compares false.
"""

import json

from ostiary_tools.vectors.filters import And, Compare, Contains, Filter, IsNull, Not, OneOf, Or, Scalar

_OPERATORS = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_FIELD = "(c.metadata -> {name}::text)"
_TEXT = "(c.metadata ->> {name}::text)"
# CASE has the kind looked at before the cast, which would fail on another kind. Texts compare by code points.
_COMPARE = (
    "(case when jsonb_typeof(" + _FIELD + ") = '{kind}' then {left} {operator} {right} "
    "when " + _FIELD + " is not null then false end)"
)
_SIDES = {
    "string": ('{text} collate "C"', '{value}::text collate "C"'),
    "number": ("{text}::numeric", "{value}::text::numeric"),
    "boolean": ("{text}::boolean", "{value}::text::boolean"),
}
_ONE_OF = "(case when " + _FIELD + " is not null then " + _FIELD + " = any ({values}::text[]::jsonb[]) end)"
_CONTAINS = (
    "(case jsonb_typeof(" + _FIELD + ") when 'string' then strpos(" + _TEXT + ' collate "C", {part}::text collate "C") > 0 '
    "when 'array' then " + _FIELD + " ? {part}::text "
    "when 'number' then false when 'boolean' then false end)"
)
_FEW = 20
"""Values of which each may ask the index by itself."""


class Bound:
    """The values of one statement, in the order of their numbers."""

    def __init__(self, *values: object) -> None:
        self.values: list[object] = list(values)

    def add(self, value: object) -> str:
        """How the statement refers to it."""
        self.values.append(value)
        return f"${len(self.values)}"


def where(condition: Filter | None, bound: Bound) -> str:
    """A condition on the chunk `c`; true for none. What it is compared with is added to `bound`.

    Where it need only be told what is true from all else, equality is told by containment, which has an index.
    """
    match condition:
        case None:
            return "true"
        case And(of):
            return "(" + " and ".join(["true", *(where(one, bound) for one in of)]) + ")"
        case Compare(field, "eq", value):
            return _holds(field, value, bound)
        case OneOf(field, values) if 0 < len(values) <= _FEW:
            return "(" + " or ".join(_holds(field, value, bound) for value in values) + ")"
        case _:
            return _sql_of(condition, bound)


def _holds(field: str, value: Scalar, bound: Bound) -> str:
    return f"(c.metadata @> {bound.add(json.dumps({field: value}, ensure_ascii=False))}::text::jsonb)"


def _sql_of(condition: Filter, bound: Bound) -> str:
    match condition:
        case And(of):
            return "(" + " and ".join(["true", *(_sql_of(one, bound) for one in of)]) + ")"
        case Or(of):
            return "(" + " or ".join(["false", *(_sql_of(one, bound) for one in of)]) + ")"
        case Not(one):
            return f"(not {_sql_of(one, bound)})"
        case _:
            return _leaf(condition, bound.add(condition.field), bound)


def _leaf(condition: Compare | OneOf | Contains | IsNull, name: str, bound: Bound) -> str:
    match condition:
        case IsNull():
            return f"({_FIELD.format(name=name)} is null)"
        case Contains(_, part):
            return _CONTAINS.format(name=name, part=bound.add(part))
        case OneOf(_, values):
            return _ONE_OF.format(name=name, values=bound.add([json.dumps(value) for value in values]))
        case Compare(_, op, value):
            return _comparison(name, _OPERATORS[op], value, bound)


def _comparison(name: str, operator: str, value: Scalar, bound: Bound) -> str:
    kind = "string" if isinstance(value, str) else "boolean" if isinstance(value, bool) else "number"
    left, right = _SIDES[kind]
    right = right.format(value=bound.add(value if kind == "string" else json.dumps(value)))
    return _COMPARE.format(name=name, kind=kind, operator=operator, left=left.format(text=_TEXT.format(name=name)), right=right)
