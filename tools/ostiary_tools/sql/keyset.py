"""Whether the order of a statement's rows tells each row from every other, which going on by key needs.

Reads a judged text and answers only what it can prove from the unique keys of the
schema: for tables, joined or alone, whose rows each appear at most once. What it
cannot prove it says nothing about, and such a result is paged by position.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pglast import ast, enums

from ostiary_tools.position import SortKey
from ostiary_tools.snapshot import ColumnInfo, Relation, RelationKind
from ostiary_tools.sql import calls
from ostiary_tools.sql.naming import column_name
from ostiary_tools.sql.parse import parse
from ostiary_tools.view import SchemaView

_INTEGERS = frozenset({"smallint", "integer", "bigint"})
_TYPES = _INTEGERS | {
    "boolean",
    "bytea",
    "character varying",
    "date",
    "double precision",
    "numeric",
    "real",
    "text",
    "timestamp with time zone",
    "timestamp without time zone",
    "uuid",
}
"""Types whose text reads back as the very value, and whose order is the server's own."""
_MODIFIER = re.compile(r"\([0-9, -]+\)")

Column = tuple[str, str]
"""The name of a table in its FROM list, and of its column."""


def sort_keys(text: str, view: SchemaView) -> tuple[SortKey, ...]:
    """The leading columns of ORDER BY that together are different for any two rows; empty when that cannot be proven.

    `text` is a judged statement. Raises nothing.
    """
    tree = parse(text)
    if type(tree).__name__ != "SelectStmt" or not _is_plain(tree):
        return ()
    tables = _tables(tree, view)
    if tables is None or not _each_row_once(tree, view):
        return ()
    outputs = [tables.column(target.val) for target in tree.targetList or ()]
    keys: list[SortKey] = []
    fixed: set[Column] = set()
    for item in tree.sortClause:
        place = None if item.useOp else _place(item.node, tree.targetList, outputs, tables)
        column = None if place is None else outputs[place - 1]
        if place is None or column is None or _type(tables.info(column)) not in _TYPES:
            return ()
        keys.append(_key(item, place, nullable=tables.may_be_null(column)))
        fixed.add(column)
        if tables.determined_by(fixed):
            return tuple(keys)
    return ()


def _is_plain(tree: Any) -> bool:
    """Sorted rows of tables, as many as there are: nothing grouped, made distinct, counted off or locked."""
    absent = (tree.distinctClause, tree.groupClause, tree.havingClause, tree.limitCount, tree.limitOffset, tree.lockingClause)
    return bool(tree.op == enums.SetOperation.SETOP_NONE and not tree.valuesLists and tree.sortClause and not any(absent))


def _each_row_once(tree: Any, view: SchemaView) -> bool:
    """No output expression multiplies rows, and none is a star whose columns we would have to count."""
    for target in tree.targetList or ():
        for node in _nodes(target.val):
            if isinstance(node, ast.A_Star):
                return False
            if isinstance(node, ast.FuncCall) and not _is_scalar(calls.parts(node.funcname)[-1], view):
                return False
    return True


def _is_scalar(name: str, view: SchemaView) -> bool:
    found = [f for (_, known), overloads in view.snapshot.functions.items() if known == name for f in overloads]
    return bool(found) and not any(f.result.startswith(("SETOF ", "TABLE(")) for f in found)


def _nodes(root: Any) -> Iterator[Any]:
    """Every node below, those of subqueries apart: what these do with rows is their own affair."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, tuple):
            waiting.extend(node)
        elif isinstance(node, ast.Node) and not isinstance(node, ast.SelectStmt):
            yield node
            waiting.extend(getattr(node, name) for name in node)


@dataclass(frozen=True, slots=True)
class _Table:
    relation: Relation
    optional: bool
    """On the side of an outer join where a row may be missing."""


@dataclass(slots=True)
class _Tables:
    """The tables of a FROM list, and what is known to be equal in every row."""

    by_name: dict[str, _Table] = field(default_factory=dict)
    constant: set[Column] = field(default_factory=set)
    equal: set[tuple[Column, Column]] = field(default_factory=set)
    follows: set[tuple[Column, Column]] = field(default_factory=set)
    """Of outer joins: the second is equal to the first or there is no row, once the first's table is known."""

    def column(self, node: Any) -> Column | None:
        """The one column a reference can mean."""
        if type(node).__name__ != "ColumnRef" or not all(isinstance(f, ast.String) for f in node.fields):
            return None
        *qualifier, name = calls.parts(node.fields)
        owners = [
            alias for alias, t in self.by_name.items() if t.relation.column(name) and (not qualifier or alias == qualifier[-1])
        ]
        return (owners[0], name) if len(owners) == 1 else None

    def info(self, column: Column) -> ColumnInfo:
        """What the snapshot says of it."""
        found = self.by_name[column[0]].relation.column(column[1])
        assert found is not None  # noqa: S101 -- `column` answers only columns there are
        return found

    def may_be_null(self, column: Column) -> bool:
        """Whether any row may have NULL there."""
        return self.by_name[column[0]].optional or not self.info(column).not_null

    def determined_by(self, sorted_by: set[Column]) -> bool:
        """Whether equal values in these columns mean the same row of every table."""
        fixed = sorted_by | self.constant
        known: set[str] = set()
        while True:
            more = {
                alias
                for alias, table in self.by_name.items()
                if any(all((alias, c) in fixed for c in key) for key in _unique_keys(table.relation))
            } - known
            known |= more
            reached = {b for a, b in self.equal if a in fixed or a[0] in known} | {b for a, b in self.follows if a[0] in known}
            if not more and reached <= fixed:
                return known == self.by_name.keys()
            fixed = fixed | reached


def _unique_keys(relation: Relation) -> list[tuple[str, ...]]:
    """Keys that no two rows share: of NOT NULL columns, and compared as the columns themselves are."""
    if relation.kind not in (RelationKind.TABLE, RelationKind.PARTITIONED_TABLE):
        return []
    if relation.kind is RelationKind.TABLE and relation.has_children:
        return []  # an inheriting table keeps keys of its own
    odd = {frozenset(i.columns) for i in relation.indexes if i.unique and " COLLATE " in i.definition}
    keys = [key for key in (relation.primary_key, *relation.unique_keys) if key and frozenset(key) not in odd]
    return [key for key in keys if all((c := relation.column(name)) is not None and c.not_null for name in key)]


def _tables(tree: Any, view: SchemaView) -> _Tables | None:
    tables = _Tables()
    if not tree.fromClause or not all(_enter(node, tables, view, optional=False) for node in tree.fromClause):
        return None
    _learn(tree.whereClause, tables)
    return tables


def _enter(node: Any, tables: _Tables, view: SchemaView, *, optional: bool) -> bool:
    """Add a FROM entry; false for what no unique key is known of."""
    if type(node).__name__ == "RangeVar":
        alias = node.alias.aliasname if node.alias else node.relname
        relation = view.snapshot.relations.get((node.schemaname, node.relname)) if node.schemaname else None
        if relation is None or alias in tables.by_name or (node.alias and node.alias.colnames):
            return False
        tables.by_name[alias] = _Table(relation, optional)
        return True
    return isinstance(node, ast.JoinExpr) and _join(node, tables, view, optional=optional)


def _join(node: Any, tables: _Tables, view: SchemaView, *, optional: bool) -> bool:
    outer = node.jointype == enums.JoinType.JOIN_LEFT
    if node.alias or node.join_using_alias or node.isNatural or not (outer or node.jointype == enums.JoinType.JOIN_INNER):
        return False
    before = set(tables.by_name)
    if not _enter(node.larg, tables, view, optional=optional):
        return False
    left = set(tables.by_name) - before
    if not _enter(node.rarg, tables, view, optional=optional or outer):
        return False
    right = set(tables.by_name) - before - left
    pairs = [*_merged(node.usingClause, tables, left, right), *_equalities(node.quals, tables)]
    for one, other in pairs:
        if not outer:
            tables.equal |= {(one, other), (other, one)}
        elif one[0] in left and other[0] in right:
            tables.follows.add((one, other))
        elif one[0] in right and other[0] in left:
            tables.follows.add((other, one))
    return True


def _merged(names: Any, tables: _Tables, left: set[str], right: set[str]) -> Iterator[tuple[Column, Column]]:
    for name in calls.parts(names or ()):
        sides = [[alias for alias in side if tables.by_name[alias].relation.column(name)] for side in (left, right)]
        if all(len(side) == 1 for side in sides):
            yield (sides[0][0], name), (sides[1][0], name)


def _learn(where: Any, tables: _Tables) -> None:
    for one, other in _equalities(where, tables):
        tables.equal |= {(one, other), (other, one)}
    for left, right in _compared(where):
        column = tables.column(left) or tables.column(right)
        if column and isinstance(right if tables.column(left) else left, ast.A_Const | ast.ParamRef):
            tables.constant.add(column)


def _equalities(condition: Any, tables: _Tables) -> Iterator[tuple[Column, Column]]:
    for left, right in _compared(condition):
        one, other = tables.column(left), tables.column(right)
        if one and other and _alike(tables.info(one), tables.info(other)):
            yield one, other


def _compared(condition: Any) -> Iterator[tuple[Any, Any]]:
    """Both sides of every `=` that must hold."""
    kind = getattr(condition, "boolop", getattr(condition, "kind", None))
    if kind is enums.BoolExprType.AND_EXPR:
        for part in condition.args:
            yield from _compared(part)
    elif kind is enums.A_Expr_Kind.AEXPR_OP and calls.parts(condition.name)[-1] == "=":
        yield condition.lexpr, condition.rexpr


def _alike(one: ColumnInfo, other: ColumnInfo) -> bool:
    """Whether `=` between them is the equality of their unique keys."""
    types = {_type(one), _type(other)}
    return types <= _INTEGERS or (len(types) == 1 and types <= _TYPES)


def _type(info: ColumnInfo) -> str:
    return _MODIFIER.sub("", info.type)


def _place(node: Any, targets: Any, outputs: list[Column | None], tables: _Tables) -> int | None:
    """The output column an ORDER BY item stands for: by number, by output name, or as the same column of a table."""
    if type(node).__name__ == "A_Const":
        number = getattr(node.val, "ival", None) or 0
        return number if 0 < number <= len(outputs) else None
    name = calls.bare_name(node)
    named = [n for n, target in enumerate(targets, 1) if name is not None and (target.name or column_name(target.val)) == name]
    if named:
        return _only(named, outputs)
    column = tables.column(node)
    return next((n for n, output in enumerate(outputs, 1) if column is not None and output == column), None)


def _only(places: Iterable[int], outputs: list[Column | None]) -> int | None:
    """The first of these when all are the same column."""
    first, *rest = places
    return first if all(outputs[n - 1] == outputs[first - 1] for n in rest) else None


def _key(item: Any, place: int, *, nullable: bool) -> SortKey:
    descending = item.sortby_dir == enums.SortByDir.SORTBY_DESC
    nulls_first = descending  # unless said otherwise
    if item.sortby_nulls != enums.SortByNulls.SORTBY_NULLS_DEFAULT:
        nulls_first = item.sortby_nulls == enums.SortByNulls.SORTBY_NULLS_FIRST
    return SortKey(place, descending, nulls_first, nullable)
