"""The twin of a statement that changes a table of which its caller has not all rows or values.

    UPDATE shop.orders SET total = orders.total + 1 WHERE orders.id = 7

becomes

    UPDATE shop.orders AS own SET total = orders.total + 1 FROM shop.orders
    WHERE own.ctid = orders.row AND own.tableoid = orders.part AND orders.id = 7

and the second `shop.orders` is a scan like any other, so that a fence stands around it which gives `row` and `part`
besides. Every name of the statement means the fence, and only rows that it gives are changed. The names that are new
stand nowhere in the statement.
"""

from dataclasses import dataclass
from itertools import count
from typing import Any

from pglast import ast, enums

from ostiary_tools.identifiers import quoted
from ostiary_tools.sql import printing, pushing
from ostiary_tools.sql.tree import same

_CLAUSE = {ast.UpdateStmt: "fromClause", ast.DeleteStmt: "usingClause"}


@dataclass(frozen=True, slots=True)
class Names:
    """Names that a statement does not have."""

    own: str
    """Of the table that is changed."""
    row: str
    """Where a row of it stands."""
    part: str
    """In which part of it."""

    @property
    def columns(self) -> str:
        """What the fence gives besides."""
        return f"ctid AS {quoted(self.row)}, tableoid AS {quoted(self.part)}"


def names_beside(text: str, taken: str) -> Names:
    """The first such names that occur neither in the text nor in the other one."""
    for number in count():
        made = Names(f"own{number}", f"row{number}", f"part{number}")
        if not any(name in text or name in taken for name in (made.own, made.row, made.part)):
            return made
    raise AssertionError


def twin(statement: Any, names: Names) -> Any:
    """The twin of an UPDATE or DELETE; the statement stays as it is."""
    table: Any = statement.relation
    name = table.alias.aliasname if table.alias is not None else table.relname
    clause = _CLAUSE[type(statement)]
    made = _copy(statement)
    made.relation = _copy(table)
    made.relation.alias = ast.Alias(aliasname=names.own)
    setattr(made, clause, (table, *(getattr(statement, clause) or ())))
    pairs = (("ctid", names.row), ("tableoid", names.part))
    joined = tuple(_equal(names.own, theirs, name, ours) for theirs, ours in pairs)
    made.whereClause = _all((*joined, *_conjuncts(statement.whereClause)))
    return made


def seen(made: Any) -> Any:
    """The scan that a twin sees in the place of its table."""
    return getattr(made, _CLAUSE[type(made)])[0]


def untwinned(found: Any, names: Names) -> Any:
    """The statement whose twin this is. Raises Refused when it is none."""
    clause = _CLAUSE.get(type(found))
    if clause is None or not getattr(found, clause) or not pushing.is_and(found.whereClause):
        raise printing.unprintable()
    made = _copy(found)
    made.relation, *beside = getattr(found, clause)
    setattr(made, clause, tuple(beside) or None)
    made.whereClause = _all(found.whereClause.args[2:])
    if not isinstance(made.relation, ast.RangeVar) or not same(twin(made, names), found):
        raise printing.unprintable()
    return made


def _copy(node: Any) -> Any:
    made = type(node)()
    for name in type(node).__slots__:
        setattr(made, name, getattr(node, name))
    return made


def _equal(one: str, column: str, other: str, same_column: str) -> Any:
    left, right = (_column(table, name) for table, name in ((one, column), (other, same_column)))
    return ast.A_Expr(kind=enums.A_Expr_Kind.AEXPR_OP, name=(ast.String("="),), lexpr=left, rexpr=right)


def _column(table: str, name: str) -> Any:
    return ast.ColumnRef(fields=(ast.String(table), ast.String(name)))


def _conjuncts(where: Any) -> tuple[Any, ...]:
    if where is None:
        return ()
    parts: tuple[Any, ...] = where.args if pushing.is_and(where) else (where,)
    return parts


def _all(parts: tuple[Any, ...]) -> Any:
    if len(parts) > 1:
        return ast.BoolExpr(boolop=enums.BoolExprType.AND_EXPR, args=parts)
    return parts[0] if parts else None
