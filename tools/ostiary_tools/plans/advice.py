"""What would make a plan cheaper: indexes for the owner, and columns that indexes already serve.

Only of relations and columns the caller may see, out of conditions the caller may know.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pglast import ast, enums

from ostiary_tools.identifiers import identifier, qualified
from ostiary_tools.plans.plan import Plan, Step
from ostiary_tools.plans.sight import Condition, Seen, Sight
from ostiary_tools.snapshot import Index, Relation
from ostiary_tools.view import SchemaView

_LARGE_ROWS = 10_000
"""A smaller table is read as fast without an index."""
_LARGE_INNER_ROWS = 1_000
_SELECTIVE = 0.1
"""A scan that keeps more of its rows than this gains nothing."""
_MOST = 5
_ORDERED = frozenset({"=", "<", "<=", ">", ">="})
_PASSES_ORDER = frozenset({"Gather Merge", "Gather", "Subquery Scan", "Result"})
_LEADING = re.compile(r'\w+ \((?:"((?:[^"]|"")+)"|([a-z_][\w$]*))(?=[ ,)])')


def served_columns(view: SchemaView, relation: Relation) -> tuple[str, ...]:
    """Columns the caller may read by which an index it may know finds rows, in the table's order."""
    leading = {_leading(index) for index in view.indexes(relation)}
    return tuple(column.name for column in view.readable_columns(relation) if column.name in leading)


def unserved_columns(seen: Seen, sight: Sight) -> tuple[str, ...]:
    """Columns that the step's filter compares and no index serves; equalities first."""
    if seen.relation is None:
        return ()
    compared = [pair for condition in seen.conditions if condition.kind == "Filter" for pair in _compared(condition, seen, sight)]
    served = {_leading(index) for index in seen.relation.indexes}
    ordered = sorted(compared, key=lambda pair: pair[1] != "=")
    return tuple(dict.fromkeys(name for name, _ in ordered if name not in served))


def missing_indexes(plan: Plan, sight: Sight) -> list[str]:
    """`CREATE INDEX …` with its reason, each a line; the first few."""
    reasons: dict[str, str] = {}
    for index, reason in _hints(sight.top, plan, sight):
        reasons.setdefault(index, reason)
    return [f"{index}; -- {reason}" for index, reason in reasons.items()][:_MOST]


def _hints(seen: Seen, plan: Plan, sight: Sight) -> Iterator[tuple[str, str]]:
    yield from _for_scan(seen, plan, sight)
    yield from _for_sort(seen, plan, sight)
    yield from _for_join(seen, plan, sight)
    for part in seen.parts:
        yield from _hints(part, plan, sight)


def _for_scan(seen: Seen, plan: Plan, sight: Sight) -> Iterator[tuple[str, str]]:
    """A sequential scan that keeps little of a large table."""
    step, relation = seen.step, seen.relation
    if step.kind != "Seq Scan" or relation is None or not seen.told:
        return
    whole = _whole(step, plan)
    columns = unserved_columns(seen, sight)
    if columns and whole >= _LARGE_ROWS and step.rows <= _SELECTIVE * whole:
        reason = f"its filter keeps about {step.rows:,.0f} of {whole:,.0f} rows"
        yield _create(relation, sight, map(identifier, columns[:3])), reason


def _for_sort(seen: Seen, plan: Plan, sight: Sight) -> Iterator[tuple[str, str]]:
    """A sort of a large table's own rows in the order of plain columns."""
    if seen.step.kind not in ("Sort", "Incremental Sort") or not seen.told or not seen.parts:
        return
    below = seen.parts[0]
    while below.step.kind in _PASSES_ORDER and below.parts:
        below = below.parts[0]
    relation = below.relation
    keys = [_sort_key(key, below, sight) for key in seen.keys]
    if relation is None or below.step.kind != "Seq Scan" or not keys or not all(keys) or _whole(below.step, plan) < _LARGE_ROWS:
        return
    ways = {key.endswith(" DESC") for key in keys}
    names = [key.removesuffix(" DESC") for key in keys]
    wanted = names if len(ways) == 1 else keys
    if names[0] not in {_leading(index) for index in relation.indexes}:
        yield _create(relation, sight, wanted), f"it sorts about {_whole(below.step, plan):,.0f} rows by them"


def _for_join(seen: Seen, plan: Plan, sight: Sight) -> Iterator[tuple[str, str]]:
    """A nested loop that reads a table from end to end for each row."""
    if seen.step.kind != "Nested Loop" or len(seen.parts) < 2 or not seen.told:  # noqa: PLR2004 - two sides
        return
    inner = seen.parts[1]
    while inner.step.kind in ("Materialize", "Memoize") and inner.parts:
        inner = inner.parts[0]
    relation = inner.relation
    if relation is None or inner.step.kind != "Seq Scan" or _whole(inner.step, plan) < _LARGE_INNER_ROWS:
        return
    served = {_leading(index) for index in relation.indexes}
    for condition in seen.conditions:
        columns = [name for name, operator in _compared(condition, inner, sight) if operator == "=" and name not in served]
        if condition.kind == "Join Filter" and columns:
            reason = f"it is read again for each of about {seen.parts[0].step.rows:,.0f} rows"
            yield _create(relation, sight, [identifier(columns[0])]), reason


def _create(relation: Relation, sight: Sight, keys: Iterable[str]) -> str:
    """Of a partition, on the partitioned table that the statement names."""
    if relation not in sight.stated:
        names = {column.name for column in relation.columns}
        parents = [r for r in sight.stated if r.has_children and names.issuperset(c.name for c in r.columns)]
        relation = parents[0] if len(parents) == 1 else relation
    return f"CREATE INDEX ON {qualified(relation.schema, relation.name)} ({', '.join(keys)})"


def _whole(step: Step, plan: Plan) -> float:
    return max(step.rows, plan.tables.get(step.relation, 0.0)) if step.relation else step.rows


def _sort_key(key: Condition, below: Seen, sight: Sight) -> str:
    """The column as an index would name it, or empty when the key is no plain column of that scan."""
    text, _, _ = key.text.partition(" NULLS ")
    way = " DESC" if text.endswith(" DESC") else ""
    column = _own_column(key.tree, below, sight)
    return f"{identifier(column)}{way}" if column and text == key.text else ""


def _compared(condition: Condition, seen: Seen, sight: Sight) -> Iterator[tuple[str, str]]:
    """Columns of the step's relation that an ordered index could find by, with the operator, out of conjuncts."""
    waiting = [condition.tree]
    while waiting:
        node: Any = waiting.pop(0)
        if isinstance(node, ast.BoolExpr) and node.boolop == enums.BoolExprType.AND_EXPR:
            waiting.extend(node.args or ())
        if not isinstance(node, ast.A_Expr) or node.kind not in (enums.A_Expr_Kind.AEXPR_OP, enums.A_Expr_Kind.AEXPR_OP_ANY):
            continue
        operator = str(node.name[-1].sval) if node.name else ""
        for one, other in ((node.lexpr, node.rexpr), (node.rexpr, node.lexpr)):
            column = _own_column(one, seen, sight)
            if column and operator in _ORDERED and not _own_column(other, seen, sight):
                yield column, operator


def _own_column(node: Any, seen: Seen, sight: Sight) -> str:
    """The column's name when the node is nothing but a column of the step's relation that the caller may read."""
    if isinstance(node, ast.TypeCast) and _last(node.typeName) == "text":
        node = node.arg  # how PostgreSQL compares `varchar`, and an index serves it
    if not isinstance(node, ast.ColumnRef) or seen.relation is None or len(node.fields or ()) != 2:  # noqa: PLR2004 - alias, name
        return ""
    alias, name = (part.sval if isinstance(part, ast.String) else "" for part in node.fields or ())
    readable = {column.name for column in sight.view.readable_columns(seen.relation)}
    return str(name) if alias == seen.step.alias and name in readable else ""


def _last(type_name: Any) -> str:
    return str(type_name.names[-1].sval) if type_name is not None and type_name.names else ""


def _leading(index: Index) -> str:
    """The first column of an index over all rows, or empty when that is an expression."""
    found = _LEADING.match(index.definition)
    if found is None or " WHERE " in index.definition:
        return ""
    return found[1].replace('""', '"') if found[1] else str(found[2])
