"""Values of a row in SQL: columns and constants of each mapped type, compared as Cedar compares them.

Everything here is TRUE or not; what fails in Cedar is not. See `row_types` for which
types there are and what they stand for.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pglast import ast, enums

from ostiary_policies.conditions import Among, Arithmetic, Attribute, Constant, Like, Type, Value
from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import Name
from ostiary_tools.sql.row_types import TYPES

Truth = Any
"""A node, or a bool where no row has to be asked."""

_FLIPPED = {"=": "=", "<>": "<>", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DAY_MS = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEAST_LONG, _MOST_LONG = -(2**63), 2**63 - 1
_BOUNDS = {"int2": 2**15, "int4": 2**31, "int8": 2**63}


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one relation."""

    kinds: Mapping[str, Name | None]
    """Name → schema and name of its type."""
    alias: str | None

    def kind(self, attribute: Attribute) -> str:
        """Name of the type in `pg_catalog`. Raises Refused when the column is not as it was when the rule was read."""
        schema, name = self.kinds.get(attribute.name) or ("", "")
        if schema != "pg_catalog" or TYPES.get(name) is not attribute.type:
            raise Refused("row_rule", f"the column `{attribute.name}` is not of the type that its row rule expects")
        return name

    def reference(self, attribute: Attribute) -> Any:
        """The column."""
        names = (attribute.name,) if self.alias is None else (self.alias, attribute.name)
        return ast.ColumnRef(fields=tuple(map(ast.String, names)))


def is_partial(kind: Name | None) -> bool:
    """Whether the type has values without a counterpart in Cedar."""
    return kind is None or TYPES.get(kind[1]) in {Type.DECIMAL, Type.DATETIME}


def as_tree(truth: Truth) -> Any:
    """The node that says it."""
    return ast.A_Const(isnull=False, val=ast.Boolean(truth)) if isinstance(truth, bool) else truth


def all_of(parts: Iterable[Truth]) -> Truth:
    """TRUE when every part is."""
    return _joined(parts, enums.BoolExprType.AND_EXPR, neutral=True)


def any_of(parts: Iterable[Truth]) -> Truth:
    """TRUE when any part is."""
    return _joined(parts, enums.BoolExprType.OR_EXPR, neutral=False)


def _joined(parts: Iterable[Truth], kind: Any, *, neutral: bool) -> Truth:
    found: list[Any] = []
    for part in parts:
        if part is (not neutral):
            return part
        if isinstance(part, ast.BoolExpr) and part.boolop is kind:
            found.extend(part.args or ())
        elif part is not neutral:
            found.append(part)
    if len(found) > 1:
        return ast.BoolExpr(boolop=kind, args=tuple(found))
    return found[0] if found else neutral


def attributes(values: Iterable[Value]) -> Iterator[Attribute]:
    """Every column that these values ask for."""
    for value in values:
        if isinstance(value, Attribute):
            yield value
        elif isinstance(value, Arithmetic):
            yield from attributes((value.left, value.right))


def valued(values: Sequence[Value], present: frozenset[str], columns: Columns) -> Truth:
    """TRUE when each value is one in Cedar: no column is missing, no number overflows."""
    missing = {one.name: one for one in attributes(values) if one.name not in present}
    return all_of([*(_present(one, columns) for one in missing.values()), *_in_range(values, columns)])


def has(attribute: Attribute, present: frozenset[str], columns: Columns, *, truth: bool) -> Truth:
    """TRUE when the column holds a value, or none; neither for a value without a counterpart."""
    if attribute.name in present:
        return truth
    return _present(attribute, columns) if truth else _null_test(attribute, columns, enums.NullTestType.IS_NULL)


def told(attribute: Attribute, present: frozenset[str], columns: Columns) -> Truth:
    """TRUE when it is certain whether the column holds a value."""
    if not is_partial(columns.kinds.get(attribute.name)):
        return True
    return any_of(has(attribute, present, columns, truth=truth) for truth in (True, False))


def flag(attribute: Attribute, columns: Columns, *, truth: bool) -> Truth:
    """TRUE when the boolean column is that."""
    columns.kind(attribute)
    column = columns.reference(attribute)
    return column if truth else ast.BoolExpr(boolop=enums.BoolExprType.NOT_EXPR, args=(column,))


def compare(operator: str, left: Value, right: Value, present: frozenset[str], columns: Columns) -> Truth:
    """TRUE when the comparison holds, by one of SQL's six operators."""
    if isinstance(left, Constant) and not isinstance(right, Constant):
        operator, left, right = _FLIPPED[operator], right, left
    found = _compared(operator, left, right, columns)
    partial = [one for one in attributes((left, right)) if is_partial(columns.kinds.get(one.name))]
    needed = list(attributes((left, right))) if isinstance(found, bool) else partial
    missing = {one.name: one for one in needed if one.name not in present}
    return all_of([*(_present(one, columns) for one in missing.values()), *_in_range((left, right), columns), found])


def among(condition: Among, present: frozenset[str], columns: Columns, *, truth: bool) -> Truth:
    """TRUE when the set holds the value, or does not."""
    item, members = condition.item, condition.members
    if isinstance(item, Attribute) and members and (listed := _listed(item, members, columns)):
        name, operator = (enums.A_Expr_Kind.AEXPR_OP_ANY, "=") if truth else (enums.A_Expr_Kind.AEXPR_OP_ALL, "<>")
        return _operator(operator, columns.reference(item), listed, name)
    each = [compare("=" if truth else "<>", item, member, present, columns) for member in members]
    return any_of(each) if truth else all_of([valued([item], present, columns), *each])


def like(condition: Like, present: frozenset[str], columns: Columns, *, truth: bool) -> Truth:
    """TRUE when the text is of the form, or is not."""
    parts = condition.pattern
    if not all(part is None or _storable(part) for part in parts):
        return not truth and valued([condition.text], present, columns)
    pattern = "".join("%" if part is None else re.sub(r"([\\%_])", r"\\\1", part) for part in parts)
    return _operator("~~" if truth else "!~~", _text(condition.text, columns), _cast(_string(pattern), "text"))


def _compared(operator: str, left: Value, right: Value, columns: Columns) -> Truth:
    if isinstance(left, Constant) and isinstance(right, Constant):
        return _folded(operator, left.value, right.value)
    if isinstance(left, Arithmetic) or isinstance(right, Arithmetic):
        return _operator(operator, _number(left, columns), _number(right, columns))
    if left.type is Type.STRING:
        return _compared_texts(operator, left, right, columns)
    if left.type is Type.DATETIME:
        return _compared_moments(operator, left, right, columns)
    return _operator(operator, _plain(left, columns), _plain(right, columns))


def _folded(operator: str, left: Any, right: Any) -> bool:
    held: dict[str, bool] = {
        "=": left == right,
        "<>": left != right,
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
    }
    return held[operator]


def _compared_texts(operator: str, left: Value, right: Value, columns: Columns) -> Truth:
    kinds = [columns.kind(side) if isinstance(side, Attribute) else "" for side in (left, right)]
    if isinstance(right, Constant):
        form = _UUID.fullmatch if kinds[0] == "uuid" else _storable
        if not form(str(right.value)):
            return operator == "<>"
        return _operator(
            operator, _plain(left, columns), _cast(_string(str(right.value)), "uuid" if kinds[0] == "uuid" else "text")
        )
    if kinds == ["uuid", "uuid"]:
        return _operator(operator, _plain(left, columns), _plain(right, columns))
    return _operator(operator, _text(left, columns), _text(right, columns))


def _compared_moments(operator: str, left: Value, right: Value, columns: Columns) -> Truth:
    if isinstance(left, Attribute) and isinstance(right, Constant):
        compared = _compared_days if columns.kind(left) == "date" else _compared_instants
        return compared(operator, left, int(right.value), columns)
    if not isinstance(left, Attribute) or not isinstance(right, Attribute):
        raise Refused("row_rule", "a row rule compares a time with something else")
    dates = [columns.kind(side) == "date" for side in (left, right)]
    if any(dates) and not all(dates):
        # A date may be later than any timestamp, and a cast of it would fail.
        raise Refused("row_rule", f"a row rule compares `{left.name}` with `{right.name}`, and only one of them is a date")
    say = columns.reference if all(dates) else lambda side: _cut(side, columns)
    return _operator(operator, say(left), say(right))


def _compared_days(operator: str, column: Attribute, moment: int, columns: Columns) -> Truth:
    """A date is its midnight: only at midnight can one be equal."""
    day, rest = divmod(moment, _DAY_MS)
    if rest and operator in {"=", "<>"}:
        return operator == "<>"
    if rest:
        operator = {"<": "<=", ">=": ">"}.get(operator, operator)
    written = _cast(_string(_date_at(day).isoformat()), "date")
    return _operator(operator, columns.reference(column), written)


def _compared_instants(operator: str, column: Attribute, moment: int, columns: Columns) -> Truth:
    """A timestamp stands for the millisecond it is in: it is compared with that one's begin, or with the next one's."""
    kind = columns.kind(column)

    def held(operator: str, after: int = 0) -> Any:
        return _operator(operator, columns.reference(column), _cast(_string(_written(moment + after, kind)), kind))

    match operator:
        case "=":
            return all_of([held(">="), held("<", 1)])
        case "<>":
            return any_of([held("<"), held(">=", 1)])
        case "<" | ">=":
            return held(operator)
    return held("<" if operator == "<=" else ">=", 1)


def _cut(side: Attribute, columns: Columns) -> Any:
    """A timestamp in UTC, cut to milliseconds."""
    column = columns.reference(side)
    if columns.kind(side) == "timestamptz":
        column = _call("timezone", _cast(_string("UTC"), "text"), column)
    return _call("date_trunc", _cast(_string("milliseconds"), "text"), column)


def _date_at(day: int) -> date:
    try:
        return (_EPOCH + timedelta(days=day)).date()
    except OverflowError as error:
        raise _out_of_range() from error


def _written(moment: int, kind: str) -> str:
    try:
        at = _EPOCH + timedelta(milliseconds=moment)
    except OverflowError as error:
        raise _out_of_range() from error
    return at.replace(tzinfo=None).isoformat(" ", "milliseconds") + ("+00" if kind == "timestamptz" else "")


def _out_of_range() -> Refused:
    return Refused("row_rule", "a row rule names a time that is not in the years 1 to 9999")


def _listed(item: Attribute, members: Sequence[Constant], columns: Columns) -> Any:
    """An array of those members that such a column can hold; `None` when it can hold none, or each is compared by itself."""
    kind = columns.kind(item)
    if item.type is Type.STRING:
        form, of = (_UUID.fullmatch, "uuid") if kind == "uuid" else (_storable, "text")
        texts = [str(member.value) for member in members if form(str(member.value))]
    elif item.type is Type.LONG:
        texts, of = [str(member.value) for member in members], "int8"
    else:
        return None
    array = ast.A_ArrayExpr(elements=tuple(map(_string, texts)))
    return ast.TypeCast(arg=array, typeName=_type(of, array=True)) if texts else None


def _in_range(values: Iterable[Value], columns: Columns) -> Iterator[Truth]:
    """That no step of the arithmetic leaves the range of a Long, where one could."""
    for value in values:
        if not isinstance(value, Arithmetic):
            continue
        yield from _in_range((value.left, value.right), columns)
        least, most = _bounds(value, columns)
        if most < _LEAST_LONG or least > _MOST_LONG:
            yield False
        if least < _LEAST_LONG:
            yield _operator(">=", _number(value, columns), _numeric(_LEAST_LONG))
        if most > _MOST_LONG:
            yield _operator("<=", _number(value, columns), _numeric(_MOST_LONG))


def _bounds(value: Value, columns: Columns) -> tuple[int, int]:
    """The least and the greatest number it can be, when no part of it is out of range."""
    if isinstance(value, Constant):
        return int(value.value), int(value.value)
    if isinstance(value, Attribute):
        bound = _BOUNDS[columns.kind(value)]
        return -bound, bound - 1
    (low, high), (least, most) = (_bounds(side, columns) for side in (value.left, value.right))
    match value.operator:
        case "+":
            return low + least, high + most
        case "-":
            return low - most, high - least
    corners = [low * least, low * most, high * least, high * most]
    return min(corners), max(corners)


def _number(value: Value, columns: Columns) -> Any:
    """A whole number as numeric, which no step of the arithmetic overflows."""
    if isinstance(value, Constant):
        return _numeric(int(value.value))
    if isinstance(value, Attribute):
        columns.kind(value)
        return _cast(columns.reference(value), "numeric")
    return _operator(value.operator, _number(value.left, columns), _number(value.right, columns))


def _numeric(number: int) -> Any:
    return _cast(_string(str(number)), "numeric")


def _plain(value: Value, columns: Columns) -> Any:
    if isinstance(value, Attribute):
        columns.kind(value)
        return columns.reference(value)
    if isinstance(value, Constant) and value.type in {Type.LONG, Type.DECIMAL}:
        return _cast(_string(str(value.value)), "int8" if value.type is Type.LONG else "numeric")
    raise Refused("row_rule", "a row rule compares values of an unknown form")


def _text(value: Value, columns: Columns) -> Any:
    if isinstance(value, Constant):
        if not _storable(str(value.value)):
            raise Refused("row_rule", "a row rule holds a text that PostgreSQL cannot hold")
        return _cast(_string(str(value.value)), "text")
    if isinstance(value, Attribute):
        column = columns.reference(value)
        return _cast(column, "text") if columns.kind(value) == "uuid" else column
    raise Refused("row_rule", "a row rule takes a number for a text")


def _present(attribute: Attribute, columns: Columns) -> Any:
    """The column holds a value that has a counterpart in Cedar."""
    kind = columns.kind(attribute)
    if attribute.type is Type.DATETIME:
        return _call("isfinite", columns.reference(attribute))
    if kind == "numeric":
        return _operator("<>", columns.reference(attribute), _cast(_string("NaN"), "numeric"))
    return _null_test(attribute, columns, enums.NullTestType.IS_NOT_NULL)


def _null_test(attribute: Attribute, columns: Columns, kind: Any) -> Any:
    columns.kind(attribute)
    return ast.NullTest(arg=columns.reference(attribute), nulltesttype=kind, argisrow=False)


def _storable(text: str) -> bool:
    """Whether a text of PostgreSQL can be this one."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _operator(name: str, left: Any, right: Any, kind: Any = enums.A_Expr_Kind.AEXPR_OP) -> Any:
    return ast.A_Expr(kind=kind, name=(ast.String("pg_catalog"), ast.String(name)), lexpr=left, rexpr=right)


def _call(name: str, *arguments: Any) -> Any:
    return ast.FuncCall(
        funcname=(ast.String("pg_catalog"), ast.String(name)),
        args=arguments,
        agg_within_group=False,
        agg_star=False,
        agg_distinct=False,
        func_variadic=False,
        funcformat=enums.CoercionForm.COERCE_EXPLICIT_CALL,
    )


def _string(text: str) -> Any:
    return ast.A_Const(isnull=False, val=ast.String(text))


def _cast(node: Any, name: str) -> Any:
    return ast.TypeCast(arg=node, typeName=_type(name))


def _type(name: str, *, array: bool = False) -> Any:
    bounds = (ast.Integer(-1),) if array else None
    return ast.TypeName(
        names=(ast.String("pg_catalog"), ast.String(name)), setof=False, pct_type=False, typemod=-1, arrayBounds=bounds
    )
