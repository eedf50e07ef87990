"""Conditions on a row: what is left of a policy once the agent is known.

Plain frozen values that mean what the same words mean in Cedar, errors included: an
attribute that is missing and a `Long` that overflows make the condition neither true
nor false. What a row is, and how a condition is asked of one, is not known here.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class Type(StrEnum):
    """What an attribute of a row is; the value is Cedar's word for it."""

    STRING = "String"
    LONG = "Long"
    BOOL = "Bool"
    DECIMAL = "decimal"
    DATETIME = "datetime"


@dataclass(frozen=True, slots=True)
class Attribute:
    """The value of a column."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that does not depend on the row. A datetime is milliseconds since 1970 in UTC."""

    type: Type
    value: str | int | bool | Decimal


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`+`, `-` or `*` of two Longs; an error when the result is none."""

    operator: str
    left: "Value"
    right: "Value"


Value = Attribute | Constant | Arithmetic


@dataclass(frozen=True, slots=True)
class Comparison:
    """`==`, `<` or `<=` of two values of one type; of Bool only `==`."""

    operator: str
    left: "Value | Condition"
    right: "Value | Condition"


@dataclass(frozen=True, slots=True)
class Among:
    """Whether a set holds the value."""

    item: Value
    members: tuple[Constant, ...]


@dataclass(frozen=True, slots=True)
class Like:
    """Whether the text is of that form; `None` stands for any run of characters."""

    text: Value
    pattern: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Has:
    """Whether the column holds a value."""

    attribute: Attribute


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    condition: "Condition"


@dataclass(frozen=True, slots=True)
class And:
    """Both; the right is not asked when the left is false."""

    left: "Condition"
    right: "Condition"


@dataclass(frozen=True, slots=True)
class Or:
    """Either; the right is not asked when the left is true."""

    left: "Condition"
    right: "Condition"


@dataclass(frozen=True, slots=True)
class If:
    """One of two, as a third says."""

    condition: "Condition"
    then: "Condition"
    otherwise: "Condition"


Condition = Attribute | Constant | Comparison | Among | Like | Has | Not | And | Or | If
"""An Attribute or a Constant here is a Bool."""

TRUE = Constant(Type.BOOL, value=True)
FALSE = Constant(Type.BOOL, value=False)


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Which rows of one table an agent has: those that a permit allows, no forbid refuses, and no condition fails on."""

    permits: tuple[Condition, ...]
    """None: no rows."""
    forbids: tuple[Condition, ...]
    rules: tuple[str, ...]
    """Ids of the policies it is made of, sorted."""
