"""The tables of a FROM list, what is equal in every row of their join, and which of their columns a name means.

Reads judged texts. It knows tables, inner and left joins; what it does not know it says nothing about.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pglast import ast, enums

from ostiary_tools.snapshot import ColumnInfo, Relation, RelationKind
from ostiary_tools.sql import calls
from ostiary_tools.view import SchemaView

_INTEGERS = frozenset({"smallint", "integer", "bigint"})
PLAIN_TYPES = _INTEGERS | {
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


@dataclass(frozen=True, slots=True)
class Table:
    """One entry of a FROM list."""

    relation: Relation
    optional: bool
    """On the side of an outer join where a row may be missing."""
    masked: frozenset[str]
    """Columns that give something else than what is unique, not null or of that type in the table."""

    def unique_keys(self) -> list[tuple[str, ...]]:
        """Of columns whose own values it gives."""
        return [key for key in _unique_keys(self.relation) if self.masked.isdisjoint(key)]


@dataclass(slots=True)
class Tables:
    """The tables of a FROM list, and what is known to be equal in every row."""

    by_name: dict[str, Table] = field(default_factory=dict)
    constant: set[Column] = field(default_factory=set)
    equal: set[tuple[Column, Column]] = field(default_factory=set)
    follows: set[tuple[Column, Column]] = field(default_factory=set)
    """Of outer joins: the second is equal to the first or there is no row, once the first's table is known."""

    def column(self, node: Any) -> Column | None:
        """The one column a reference can mean, where it gives the column's own values."""
        if type(node).__name__ != "ColumnRef" or not all(isinstance(f, ast.String) for f in node.fields):
            return None
        *qualifier, name = calls.parts(node.fields)
        owners = [
            alias for alias, t in self.by_name.items() if t.relation.column(name) and (not qualifier or alias == qualifier[-1])
        ]
        return (owners[0], name) if len(owners) == 1 and name not in self.by_name[owners[0]].masked else None

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
                if any(all((alias, c) in fixed for c in key) for key in table.unique_keys())
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
    odd = [set(i.columns) for i in relation.indexes if i.unique and " COLLATE " in i.definition]
    keys = [key for key in (relation.primary_key, *relation.unique_keys) if key and not any(columns >= set(key) for columns in odd)]
    return [key for key in keys if all((c := relation.column(name)) is not None and c.not_null for name in key)]


def tables_of(tree: Any, view: SchemaView) -> Tables | None:
    """The tables of a SELECT; `None` when it has none, or anything else in FROM."""
    tables = Tables()
    if not tree.fromClause or not all(_enter(node, tables, view, optional=False) for node in tree.fromClause):
        return None
    _learn(tree.whereClause, tables)
    return tables


def _enter(node: Any, tables: Tables, view: SchemaView, *, optional: bool) -> bool:
    """Add a FROM entry; false for what no unique key is known of."""
    if type(node).__name__ == "RangeVar":
        alias = node.alias.aliasname if node.alias else node.relname
        relation = view.snapshot.relations.get((node.schemaname, node.relname)) if node.schemaname else None
        if relation is None or alias in tables.by_name or (node.alias and node.alias.colnames):
            return False
        tables.by_name[alias] = Table(relation, optional, frozenset(c.name for c in relation.columns if view.mask(relation, c)))
        return True
    return isinstance(node, ast.JoinExpr) and _join(node, tables, view, optional=optional)


def _join(node: Any, tables: Tables, view: SchemaView, *, optional: bool) -> bool:
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


def _merged(names: Any, tables: Tables, left: set[str], right: set[str]) -> Iterator[tuple[Column, Column]]:
    for name in calls.parts(names or ()):
        sides = [[alias for alias in side if tables.by_name[alias].relation.column(name)] for side in (left, right)]
        if all(len(side) == 1 for side in sides):
            yield (sides[0][0], name), (sides[1][0], name)


def _learn(where: Any, tables: Tables) -> None:
    for one, other in _equalities(where, tables):
        tables.equal |= {(one, other), (other, one)}
    for left, right in _compared(where):
        column = tables.column(left) or tables.column(right)
        if column and isinstance(right if tables.column(left) else left, ast.A_Const | ast.ParamRef):
            tables.constant.add(column)


def _equalities(condition: Any, tables: Tables) -> Iterator[tuple[Column, Column]]:
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
    types = {type_of(one), type_of(other)}
    return types <= _INTEGERS or (len(types) == 1 and types <= PLAIN_TYPES)


def type_of(info: ColumnInfo) -> str:
    """The column's type without its modifier."""
    return _MODIFIER.sub("", info.type)
