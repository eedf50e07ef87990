"""A row filter as a predicate on the columns of one relation.

Each condition is said twice: when it is true, and when it is false. Where Cedar would
fail, neither is TRUE in SQL, so that only AND and OR are put above a comparison, NULL
never widens and nothing has to be coalesced. A third predicate says when a condition
does not fail at all: it stands where Cedar asks one side before the other.

Operators and functions are qualified, and nothing in a predicate can raise an error:
whole numbers are computed as numeric and held against the range of a Long.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ostiary_policies.conditions import (
    Among,
    And,
    Arithmetic,
    Attribute,
    Comparison,
    Condition,
    Constant,
    Has,
    If,
    Like,
    Not,
    Or,
    RowFilter,
    Type,
    Value,
)
from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import Relation
from ostiary_tools.sql import row_values
from ostiary_tools.sql.row_values import Truth, all_of, any_of

_MOST_PARTS = 4_000
"""Comparisons of one filter; conditions that fail in many ways could be said in millions."""
_SQL = {"==": "=", "<": "<", "<=": "<="}
_OPPOSITE = {"=": "<>", "<": ">=", "<=": ">"}
_NOTHING: frozenset[str] = frozenset()

Present = frozenset[str]
"""Columns that are known to hold a value with a counterpart in Cedar."""


@dataclass(slots=True)
class _Target:
    """Where the predicate stands, and how much of it there is already."""

    columns: row_values.Columns
    parts: int = field(default=0)
    known: dict[tuple[int, bool | None], Present] = field(default_factory=dict)
    """What follows from a condition, by its identity; a chain asks for it once a link."""

    def facts(self, condition: Condition, *, truth: bool | None) -> Present:
        key = (id(condition), truth)
        if key not in self.known:
            self.known[key] = _facts(condition, self, truth=truth)
        return self.known[key]

    def counted(self, said: Truth) -> Truth:
        self.parts += not isinstance(said, bool)
        if self.parts > _MOST_PARTS:
            raise Refused("row_rule", "the row rules of a table are too long as a predicate", "say them in fewer alternatives")
        return said


def predicate(rows: RowFilter, relation: Relation, alias: str | None = None) -> Any:
    """A tree that is TRUE for the rows that are kept, over columns under that name. Raises Refused for what cannot be said."""
    target = _Target(row_values.Columns({c.name: c.kind for c in relation.columns}, alias))
    sure = frozenset(c.name for c in relation.columns if c.not_null and not row_values.is_partial(c.kind))
    allowed = any_of(_when(condition, sure, target, truth=True) for condition in rows.permits)
    refused = [_when(condition, sure, target, truth=False) for condition in rows.forbids]
    # One permit that allows a row did not fail on it; another may have.
    failing = [_defined(condition, sure, target) for condition in rows.permits] if len(rows.permits) > 1 else []
    return row_values.as_tree(all_of([allowed, *refused, *failing]))


def _when(condition: Condition, present: Present, target: _Target, *, truth: bool) -> Truth:
    """TRUE exactly when the condition is `truth`, and does not fail."""
    match condition:
        case Not():
            return _when(condition.condition, present, target, truth=not truth)
        case And() | Or():
            return _both(condition, present, target, truth=truth)
        case If():
            return _branches(condition, present, target, lambda one, known: _when(one, known, target, truth=truth))
        case Constant():
            return condition.value is truth
        case Has():
            return row_values.has(condition.attribute, present, target.columns, truth=truth)
    return target.counted(_asked(condition, present, target, truth=truth))


def _both(condition: And | Or, present: Present, target: _Target, *, truth: bool) -> Truth:
    left, right = condition.left, condition.right
    deciding = isinstance(condition, Or)
    """What the left side is when the right one is not asked."""
    first = _when(left, present, target, truth=truth)
    second = _when(right, present | target.facts(left, truth=not deciding), target, truth=truth)
    if truth is not deciding or second is False:
        return all_of([first, second]) if truth is not deciding else first
    return any_of([first, all_of([_defined(left, present, target), second])])


def _branches(condition: If, present: Present, target: _Target, say: "Callable[[Condition, Present], Truth]") -> Truth:
    """What is said of one branch where the condition is true, and of the other where it is false."""
    choice = condition.condition
    return any_of(
        all_of([_when(choice, present, target, truth=chosen), say(branch, present | target.facts(choice, truth=chosen))])
        for chosen, branch in ((True, condition.then), (False, condition.otherwise))
    )


def _asked(condition: Attribute | Comparison | Among | Like, present: Present, target: _Target, *, truth: bool) -> Truth:
    match condition:
        case Attribute():
            return row_values.flag(condition, target.columns, truth=truth)
        case Like():
            return row_values.like(condition, present, target.columns, truth=truth)
        case Among():
            return row_values.among(condition, present, target.columns, truth=truth)
        case Comparison() if _is_bool(condition.left):
            return _equal(condition.left, condition.right, present, target, truth=truth)
    operator = _SQL[condition.operator]
    return row_values.compare(
        operator if truth else _OPPOSITE[operator], _value(condition.left), _value(condition.right), present, target.columns
    )


def _equal(left: "Value | Condition", right: "Value | Condition", present: Present, target: _Target, *, truth: bool) -> Truth:
    """Two conditions that are both true or both false, or not so."""
    one, other = _condition(left), _condition(right)
    return any_of(
        all_of([_when(one, present, target, truth=value), _when(other, present, target, truth=value is truth)])
        for value in (True, False)
    )


def _defined(condition: Condition, present: Present, target: _Target) -> Truth:  # noqa: PLR0911  one case a form
    """TRUE exactly when the condition does not fail."""
    match condition:
        case Not():
            return _defined(condition.condition, present, target)
        case And() | Or():
            deciding = isinstance(condition, Or)
            behind = _defined(condition.right, present | target.facts(condition.left, truth=not deciding), target)
            decided = behind is True or _when(condition.left, present, target, truth=deciding)
            return all_of([_defined(condition.left, present, target), any_of([decided, behind])])
        case If():
            return _branches(condition, present, target, lambda one, known: _defined(one, known, target))
        case Constant():
            return True
        case Has():
            return row_values.told(condition.attribute, present, target.columns)
        case Comparison() if _is_bool(condition.left):
            sides = (_condition(condition.left), _condition(condition.right))
            return all_of(_defined(side, present, target) for side in sides)
    return target.counted(row_values.valued(_values(condition), present, target.columns))


def _facts(condition: Condition, target: _Target, *, truth: bool | None) -> Present:  # noqa: PLR0911  one case a form
    """Columns that hold a value when the condition was asked and is `truth`, or is either."""
    match condition:
        case Has():
            return frozenset({condition.attribute.name}) if truth else _NOTHING
        case Not():
            return target.facts(condition.condition, truth=None if truth is None else not truth)
        case And() | Or() if truth is isinstance(condition, And):
            return target.facts(condition.left, truth=truth) | target.facts(condition.right, truth=truth)
        case And() | Or():
            return target.facts(condition.left, truth=None)
        case If():
            return target.facts(condition.condition, truth=None)
        case Comparison() if _is_bool(condition.left):
            return target.facts(_condition(condition.left), truth=None) | target.facts(_condition(condition.right), truth=None)
        case Constant():
            return _NOTHING
    return frozenset(one.name for one in row_values.attributes(_values(condition)))


def _values(condition: Condition) -> "tuple[Value, ...]":
    """What an asking condition asks of the row."""
    match condition:
        case Attribute():
            return (condition,)
        case Like():
            return (condition.text,)
        case Among():
            return (condition.item,)
        case Comparison():
            return (_value(condition.left), _value(condition.right))
    return ()


def _is_bool(side: "Value | Condition") -> bool:
    return not isinstance(side, Arithmetic) and (not isinstance(side, Attribute | Constant) or side.type is Type.BOOL)


def _value(side: "Value | Condition") -> Value:
    if not isinstance(side, Attribute | Constant | Arithmetic):
        raise Refused("row_rule", "a row rule compares a condition with a value")
    return side


def _condition(side: "Value | Condition") -> Condition:
    if isinstance(side, Arithmetic):
        raise Refused("row_rule", "a row rule compares a condition with a number")
    return side
