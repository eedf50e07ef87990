"""Cedar's JSON for expressions as conditions on a row.

Reads what partial evaluation leaves over once the agent is known, and, before any is,
the policy itself: then a sample stands for what depends on the agent, so that a form
that cannot be asked of a row is refused when the policy is loaded. What is not
recognised here is refused; nothing is guessed.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any

from ostiary_policies.attributes import AttributeType
from ostiary_policies.conditions import (
    FALSE,
    TRUE,
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
    Type,
    Value,
)

Json = Mapping[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATETIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(?:\.(\d{3}))?(?:Z|([+-])(\d\d)(\d\d)))?",
    re.ASCII,
)
_DURATION = re.compile(r"(-)?(?=\d)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII)
_UNITS_MS = (86_400_000, 3_600_000, 60_000, 1_000, 1)
_LEAST_LONG, _MOST_LONG = -(2**63), 2**63 - 1
_DECIMAL = re.compile(r"-?\d+\.\d{1,4}", re.ASCII)
_DECIMAL_METHODS = {
    "lessThan": ("<", False),
    "lessThanOrEqual": ("<=", False),
    "greaterThan": ("<", True),
    "greaterThanOrEqual": ("<=", True),
}
_SAMPLES: Mapping[AttributeType, Constant] = {
    AttributeType.TEXT: Constant(Type.STRING, ""),
    AttributeType.INTEGER: Constant(Type.LONG, 0),
    AttributeType.BOOLEAN: TRUE,
}


class Unsupported(ValueError):
    """The expression cannot be asked of a row; the message says what of it, in a policy's words."""


@dataclass(frozen=True, slots=True)
class Row:
    """What an expression may talk about."""

    type: str
    """Name of the row's entity type, such as `shop::public::orders`."""
    attributes: Mapping[str, Type]
    principal: Mapping[str, AttributeType] = field(default_factory=dict)
    """Attributes that an agent may have, when the agent is not known yet."""
    known: Mapping[str, Constant] | None = None
    """Those of the agent when it is known."""


def condition(tree: Json, row: Row) -> Condition:
    """Read an expression that is true or false. Raises Unsupported."""
    operator, operands = _only(tree)
    if (read := _CONDITIONS.get(operator)) is not None and not _about_the_agent(tree, row):
        return read(operands, row)
    found = _value(tree, row)
    if isinstance(found, Arithmetic) or found.type is not Type.BOOL:
        raise Unsupported(f"`{operator}` is neither true nor false")
    return found


def of_policy(policy: Json, row: Row) -> Condition:
    """Read the conditions of a policy, or of what is left of one: each `when` and no `unless`. Raises Unsupported."""
    found: Condition = TRUE
    for clause in policy["conditions"]:
        read = condition(clause["body"], row)
        found = _and(found, _not(read) if clause["kind"] == "unless" else read)
    return found


def _only(tree: object) -> tuple[str, Any]:
    if not isinstance(tree, Mapping) or len(tree) != 1:
        raise Unsupported("an expression of an unknown form")
    return next(iter(tree.items()))


def _value(tree: Json, row: Row) -> Value:
    """Read an expression of any type but a set. Raises Unsupported."""
    operator, operands = _only(tree)
    if _about_the_agent(tree, row):
        return _sample(operator, operands, row)
    match operator, operands:
        case ".", {"left": subject, "attr": str(name)}:
            return _asked(subject, name, row)
        case "+" | "-" | "*", {"left": left, "right": right}:
            return Arithmetic(operator, _long(left, row), _long(right, row))
        case "neg", {"arg": argument}:
            return _negated(_long(argument, row))
    return _literal(tree)


def _literal(tree: Json) -> Constant:
    operator, operands = _only(tree)
    match operator, operands:
        case "Value", bool():
            return TRUE if operands else FALSE
        case "Value", int():
            return Constant(Type.LONG, operands)
        case "Value", str():
            return Constant(Type.STRING, operands)
        case "decimal", [{"Value": str(written)}]:
            return _decimal(written)
        case "datetime" | "offset", _:
            return Constant(Type.DATETIME, _moment(tree))
    raise Unsupported(f"`{operands if operator == 'Var' else operator}` has no counterpart in a row rule")


def _asked(subject: Json, name: str, row: Row) -> Value:
    """An attribute of the row, or of an agent that is known."""
    if _is_row(subject):
        return _attribute(name, row)
    if subject == {"Var": "principal"} and row.known is not None and name in row.known:
        return row.known[name]
    raise Unsupported(f"`.{name}` of something else than `principal` or `resource`")


def _negated(value: Value) -> Value:
    if isinstance(value, Constant) and isinstance(value.value, int) and value.value != _LEAST_LONG:
        return Constant(Type.LONG, -value.value)
    return Arithmetic("-", Constant(Type.LONG, 0), value)


def _long(tree: Json, row: Row) -> Value:
    found = _value(tree, row)
    if not isinstance(found, Arithmetic) and found.type is not Type.LONG:
        raise Unsupported("arithmetic with something else than whole numbers")
    return found


def _is_row(tree: Json) -> bool:
    return tree in ({"Var": "resource"}, {"unknown": [{"Value": "resource"}]})


def _attribute(name: str, row: Row) -> Attribute:
    if name not in row.attributes:
        raise Unsupported(f"`{row.type}` has no attribute `{name}`")
    return Attribute(name, row.attributes[name])


def _about_the_agent(tree: Json, row: Row) -> bool:
    """Whether it depends on the agent alone, and the agent is not known."""
    return row.known is None and set(_variables(tree)) == {"principal"}


def _variables(tree: object) -> list[str]:
    if isinstance(tree, Mapping):
        own = [tree["Var"]] if isinstance(tree.get("Var"), str) else []
        return own + [name for value in tree.values() for name in _variables(value)]
    return [name for value in tree for name in _variables(value)] if isinstance(tree, list) else []


def _sample(operator: str, operands: Any, row: Row) -> Constant:
    if operator == ".":
        declared = row.principal.get(operands["attr"])
        if declared is None or declared not in _SAMPLES:
            raise Unsupported(f"`principal.{operands['attr']}` is a set and stands only before `.contains`")
        return _SAMPLES[declared]
    if operator in {"+", "-", "*", "neg"}:
        return _SAMPLES[AttributeType.INTEGER]
    if operator in {"if-then-else", "Var"}:
        raise Unsupported("a choice that depends on the agent alone and is no condition")
    return TRUE


def _pair(operands: Any, row: Row) -> tuple[Condition, Condition]:
    return condition(operands["left"], row), condition(operands["right"], row)


def _read_and(operands: Any, row: Row) -> Condition:
    return _and(*_pair(operands, row))


def _and(left: Condition, right: Condition) -> Condition:
    """Both, without what says nothing; what is never asked is kept, so that it is looked at when a policy is loaded."""
    if left == TRUE:
        return right
    return left if right == TRUE else And(left, right)


def _or(operands: Any, row: Row) -> Condition:
    return Or(*_pair(operands, row))


def _not(found: Condition) -> Condition:
    return found.condition if isinstance(found, Not) else Not(found)


def _if(operands: Any, row: Row) -> Condition:
    branches = [condition(operands[name], row) for name in ("if", "then", "else")]
    return If(*branches)


def _has(operands: Any, row: Row) -> Condition:
    if operands["left"] == {"Var": "principal"} and row.known is not None and operands["attr"] in row.known:
        # Left as it was written, where what stands beside it fails.
        return TRUE
    if not _is_row(operands["left"]):
        raise Unsupported("`has` asks about something else than `resource`")
    return Has(_attribute(operands["attr"], row))


def _is(operands: Any, row: Row) -> Condition:
    if not _is_row(operands["left"]) or "in" in operands:
        raise Unsupported("`is` asks about something else than the type of `resource`")
    return TRUE if operands["entity_type"] == row.type else FALSE


def _like(operands: Any, row: Row) -> Condition:
    text = _value(operands["left"], row)
    if isinstance(text, Arithmetic) or text.type is not Type.STRING:
        raise Unsupported("`like` of something else than text")
    pattern: list[str | None] = []
    for part in operands["pattern"]:
        if part == "Wildcard":
            pattern.append(None)
        elif pattern and pattern[-1] is not None:
            pattern[-1] += part["Literal"]
        else:
            pattern.append(part["Literal"])
    return Like(text, tuple(pattern))


def _contains(operands: Any, row: Row) -> Condition:
    item = _value(operands["right"], row)
    members = _members(operands["left"], row)
    if any(member.type is not _type(item) for member in members) or _type(item) is Type.BOOL:
        raise Unsupported("`contains` of a value that is not of the set's type, or a set of booleans")
    return Among(item, members)


def _members(tree: Json, row: Row) -> tuple[Constant, ...]:
    if _about_the_agent(tree, row):
        return (_SAMPLES[AttributeType.TEXT],)
    operator, operands = _only(tree)
    if operator == "Value" and isinstance(operands, list):
        operator, operands = "Set", [{"Value": one} for one in operands]
    read = [_value(one, row) for one in operands] if operator == "Set" else [None]
    found = [one for one in read if isinstance(one, Constant)]
    if len(found) != len(read):
        raise Unsupported("`contains` of a set that depends on the row")
    return tuple(dict.fromkeys(found))


def _type(value: Value) -> Type:
    return Type.LONG if isinstance(value, Arithmetic) else value.type


def _comparing(operator: str, *, flipped: bool = False, negated: bool = False) -> Callable[[Any, Row], Condition]:
    def read(operands: Any, row: Row) -> Condition:
        left, right = (operands["left"], operands["right"]) if isinstance(operands, Mapping) else operands
        found = _comparison(operator, *((right, left) if flipped else (left, right)), row)
        return _not(found) if negated else found

    return read


def _comparison(operator: str, left: Json, right: Json, row: Row) -> Condition:
    one, other = _operand(left, row), _operand(right, row)
    types = [Type.LONG if isinstance(side, Arithmetic) else getattr(side, "type", Type.BOOL) for side in (one, other)]
    if types[0] is not types[1]:
        raise Unsupported(f"`{operator}` of a {types[0]} and a {types[1]}")
    if operator != "==" and types[0] in {Type.BOOL, Type.STRING}:
        raise Unsupported(f"`{operator}` of two values without an order")
    return Comparison(operator, one, other)


def _operand(tree: Json, row: Row) -> Value | Condition:
    """A value, or a condition as one. Raises Unsupported."""
    operator, _ = _only(tree)
    return condition(tree, row) if operator in _CONDITIONS else _value(tree, row)


def _decimal(written: str) -> Constant:
    try:
        if not _DECIMAL.fullmatch(written):
            raise Unsupported("a decimal has one to four places")
        return Constant(Type.DECIMAL, Decimal(written))
    except InvalidOperation as error:
        raise Unsupported("a decimal that cannot be read") from error


def _moment(tree: Json) -> int:
    """Milliseconds since 1970 of a datetime that does not depend on the row."""
    operator, operands = _only(tree)
    match operator, operands:
        case "datetime", [{"Value": str(written)}]:
            return _written_moment(written)
        case "offset", [begin, {"duration": [{"Value": str(written)}]}]:
            moment = _moment(begin) + _duration(written)
            if not _LEAST_LONG <= moment <= _MOST_LONG:
                raise Unsupported("a datetime out of range")
            return moment
    raise Unsupported(f"`{operator}` of a datetime that depends on the row")


def _written_moment(written: str) -> int:
    found = _DATETIME.fullmatch(written)
    if found is None:
        raise Unsupported("a datetime that cannot be read")
    year, month, day, hour, minute, second, fraction = (int(part or 0) for part in found.groups()[:7])
    ahead = timedelta(hours=int(found[9] or 0), minutes=int(found[10] or 0)) * (-1 if found[8] == "-" else 1)
    try:
        moment = datetime(year, month, day, hour, minute, second, fraction * 1000, timezone(ahead))
        return (moment - _EPOCH) // timedelta(milliseconds=1)
    except ValueError as error:
        raise Unsupported("a datetime out of range") from error


def _duration(written: str) -> int:
    found = _DURATION.fullmatch(written)
    if found is None:
        raise Unsupported("a duration that cannot be read")
    total = sum(int(part or 0) * unit for part, unit in zip(found.groups()[1:], _UNITS_MS, strict=True))
    return -total if found[1] else total


_CONDITIONS: Mapping[str, Callable[[Any, Row], Condition]] = {
    "&&": _read_and,
    "||": _or,
    "!": lambda operands, row: _not(condition(operands["arg"], row)),
    "if-then-else": _if,
    "has": _has,
    "is": _is,
    "like": _like,
    "contains": _contains,
    "==": _comparing("=="),
    "!=": _comparing("==", negated=True),
    "<": _comparing("<"),
    "<=": _comparing("<="),
    ">": _comparing("<", flipped=True),
    ">=": _comparing("<=", flipped=True),
    **{name: _comparing(operator, flipped=flipped) for name, (operator, flipped) in _DECIMAL_METHODS.items()},
}
