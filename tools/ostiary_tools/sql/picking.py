"""A SELECT narrowed to some of its columns, and to the rows whose key is one of those in a parameter.

The condition goes into the SELECT itself where each of its rows is one row of its tables, so that their indexes and fences
serve it; around it stands one otherwise. What comes out is text still to be judged.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from pglast import ast, enums

from ostiary_tools.identifiers import quoted
from ostiary_tools.snapshot import Name
from ostiary_tools.sql.naming import column_name
from ostiary_tools.sql.parse import parse
from ostiary_tools.sql.printing import print_tree
from ostiary_tools.sql.tree import levels

_GATHERS = (
    "distinctClause",
    "groupClause",
    "havingClause",
    "windowClause",
    "valuesLists",
    "limitCount",
    "limitOffset",
    "lockingClause",
    "intoClause",
)
"""Clauses that make a row of several, or choose rows by others."""
_COMPUTES = (ast.ColumnRef, ast.String, ast.A_Expr, ast.A_Const, ast.TypeCast, ast.TypeName, ast.Integer, ast.Float, ast.Boolean)


class Source:
    """A judged SELECT whose output columns are named and differ."""

    def __init__(self, text: str) -> None:
        self._text = text
        tree: Any = parse(text)
        self._nodes = [node for level in levels(tree) for node in level]
        self.plain = isinstance(tree, ast.SelectStmt) and _is_plain(tree)
        self._targets = {_called(target): target for target in tree.targetList} if self.plain else {}

    @property
    def takes_values(self) -> bool:
        """It has parameters of its own."""
        return any(isinstance(node, ast.ParamRef) for node in self._nodes)

    def by_key(self, key: str, columns: Iterable[str]) -> str:
        """These columns of the rows with a key of the array `$1`, the key first. Raises Refused when it cannot be printed."""
        names = list(dict.fromkeys((key, *columns)))
        if not self.plain or not self._targets.keys() >= set(names) or not _is_of_row(self._targets[key].val):
            listed = ", ".join(f"s.{quoted(name)} AS {quoted(name)}" for name in names)
            return f"SELECT {listed} FROM ({self._text}) AS s WHERE s.{quoted(key)} = ANY ($1)"  # noqa: S608  quoted, and judged again
        tree: Any = parse(self._text)
        targets = {_called(target): target for target in tree.targetList}
        tree.targetList = tuple(targets[name] for name in names)
        tree.sortClause = None
        tree.whereClause = _both(tree.whereClause, _is_one_of(targets[key].val))
        return print_tree(tree)

    def reaches_otherwise(self, names: Collection[Name]) -> bool:
        """Whether a row may be made of rows of these relations that could be missing without the row being missing."""
        scans = Counter((node.schemaname, node.relname) for node in self._nodes if isinstance(node, ast.RangeVar))
        tree: Any = parse(self._text)
        joined = Counter(_needed(tree.fromClause or ())) if self.plain else Counter()
        return any(joined[name] == 0 or scans[name] != joined[name] for name in names)


def _is_plain(tree: Any) -> bool:
    """Whether each of its rows is one row of what is in FROM."""
    if tree.op != enums.SetOperation.SETOP_NONE or any(getattr(tree, clause) for clause in _GATHERS):
        return False
    nodes = [node for target in tree.targetList or () for level in levels(target) for node in level]
    if any(isinstance(node, ast.FuncCall) and node.over is not None for node in nodes):
        return False
    # Without GROUP BY no column stands bare beside an aggregate; without a bare column, any function may be one.
    targets = tree.targetList or ()
    return any(_is_of_row(target.val) for target in targets) and all(_called(target) for target in targets)


def _called(target: Any) -> str | None:
    return str(target.name) if target.name else column_name(target.val)


def _is_of_row(value: Any) -> bool:
    """Whether it follows from columns alone, so that it means the same in WHERE; of a function that is not known here."""
    nodes = [node for level in levels(value) for node in level]
    return any(isinstance(node, ast.ColumnRef) for node in nodes) and all(isinstance(node, _COMPUTES) for node in nodes)


def _is_one_of(value: Any) -> Any:
    return ast.A_Expr(kind=enums.A_Expr_Kind.AEXPR_OP_ANY, name=(ast.String("="),), lexpr=value, rexpr=ast.ParamRef(number=1))


def _both(where: Any, condition: Any) -> Any:
    if where is None:
        return condition
    return ast.BoolExpr(boolop=enums.BoolExprType.AND_EXPR, args=(where, condition))


def _needed(entries: Sequence[Any]) -> Iterator[Name]:
    """The relations without a row of which there is no row: not the far side of an outer join."""
    for node in entries:
        if isinstance(node, ast.RangeVar):
            yield str(node.schemaname), str(node.relname)
        elif isinstance(node, ast.JoinExpr) and node.jointype in (enums.JoinType.JOIN_INNER, enums.JoinType.JOIN_LEFT):
            yield from _needed((node.larg, node.rarg) if node.jointype == enums.JoinType.JOIN_INNER else (node.larg,))
