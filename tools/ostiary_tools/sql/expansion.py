"""How large a statement becomes while the server analyses and plans it.

The server writes some parts of a statement down more than once: both comparisons of
BETWEEN hold its left side, and a subquery that is merged into the query around it has
its columns put in the place of every reference. Nested, that doubles with each level;
forty levels, a few hundred characters, would fill any memory, and nothing in the server
looks at a timeout or a cancellation meanwhile. So the statement is weighed first, in
nodes, by rules that rather count too much.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pglast import ast, enums

from ostiary_tools.errors import Refused
from ostiary_tools.sql.tree import CHILDREN, nodes

MAX_WEIGHT = 200_000
"""Nodes. The server takes up to some seconds for as many, and about a kilobyte for each."""

_KINDS = enums.A_Expr_Kind
_BETWEEN = {_KINDS.AEXPR_BETWEEN, _KINDS.AEXPR_NOT_BETWEEN}
_SYMMETRIC = {_KINDS.AEXPR_BETWEEN_SYM, _KINDS.AEXPR_NOT_BETWEEN_SYM}
_STAR = 64
"""`(row).*` repeats the row for each of its columns, of which so many are counted."""


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A query: all of it, and each of its output columns."""

    total: int
    columns: tuple[tuple[str, int], ...] = ()

    def renamed(self, names: Any) -> "_Weighed":
        """Under a column alias list."""
        given = [str(name.sval) for name in names or ()]
        return _Weighed(self.total, tuple((given[n] if n < len(given) else c[0], c[1]) for n, c in enumerate(self.columns)))


@dataclass(frozen=True, slots=True)
class _Reach:
    """What names weigh at a place: columns of merged subqueries, and WITH queries."""

    columns: Mapping[str, int] = field(default_factory=dict)
    """By bare name, the heaviest of that name; all others weigh one."""
    queries: Mapping[str, _Weighed] = field(default_factory=dict)


def repeats(node: Any) -> bool:
    """Whether the server may write down more than once what this node holds; a statement without such a node does not grow."""
    if isinstance(node, ast.A_Expr):
        plain = isinstance(node.lexpr, (ast.ColumnRef, ast.A_Const, ast.ParamRef))
        return node.kind in _SYMMETRIC or (not plain and (node.kind in _BETWEEN or node.kind == _KINDS.AEXPR_IN))
    return isinstance(node, (ast.RangeSubselect, ast.CommonTableExpr, ast.A_ArrayExpr, ast.A_Indirection))


def check(select: Any) -> None:
    """Refuse a statement that would grow beyond the bound. Raises Refused."""
    if _query(select, _Reach()).total > MAX_WEIGHT:
        raise Refused(
            "size",
            "the statement grows too large while it is planned: parts of it that repeat others are nested",
            "name intermediate results in WITH … AS MATERIALIZED, or nest BETWEEN, IN and arrays less",
        )


def _query(select: Any, reach: _Reach) -> _Weighed:
    total, queries = 0, dict(reach.queries)
    for cte in select.withClause.ctes if select.withClause else ():
        body = _query(cte.ctequery, _Reach(reach.columns, queries)).renamed(cte.aliascolnames)
        total += body.total
        kept = select.withClause.recursive or cte.ctematerialized == enums.CTEMaterialize.CTEMaterializeAlways
        repeated = cte.ctematerialized == enums.CTEMaterialize.CTEMaterializeNever
        columns = tuple((name, 1) for name, _ in body.columns) if kept else body.columns
        queries[str(cte.ctename)] = _Weighed(body.total if repeated else 1, columns)
    inside = _Reach(reach.columns, queries)
    body = _set_operation(select, inside) if select.op != enums.SetOperation.SETOP_NONE else _plain(select, inside)
    return _Weighed(min(total + body.total, _ENOUGH), body.columns)


_ENOUGH = MAX_WEIGHT * 1_000
"""Sums stop growing here: numbers of many digits would cost what is saved."""


def _set_operation(select: Any, reach: _Reach) -> _Weighed:
    arms = (_query(select.larg, reach), _query(select.rarg, reach))
    columns = tuple((name, max(w, v)) for (name, w), (_, v) in zip(arms[0].columns, arms[1].columns, strict=False))
    return _Weighed(sum(arm.total for arm in arms) + _fields(select, ("sortClause", "limitCount", "limitOffset"), reach), columns)


def _plain(select: Any, reach: _Reach) -> _Weighed:
    total, columns, queries = 0, dict(reach.columns), reach.queries
    for item in select.fromClause or ():
        for source in _sources(item, _Reach(columns, queries)):
            total += source.total
            for name, weight in source.columns:
                columns[name] = max(weight, columns.get(name, 1))
    inside = _Reach(columns, queries)
    outputs: list[tuple[str, int]] = []
    for target in select.targetList or ():
        weight = _expression(target.val, inside)
        total += weight
        if _is_column(target.val) and isinstance(target.val.fields[-1], ast.A_Star):
            outputs.extend(columns.items())
        else:
            outputs.append((_name(target), weight))
    if select.valuesLists:
        rows = [[_expression(value, inside) for value in row] for row in select.valuesLists]
        total += sum(map(sum, rows))
        outputs = [(f"column{n}", max(column)) for n, column in enumerate(zip(*rows, strict=False), 1)]
    return _Weighed(total + _fields(select, _CLAUSES, inside), tuple(outputs))


_CLAUSES = (
    "distinctClause",
    "whereClause",
    "groupClause",
    "havingClause",
    "windowClause",
    "sortClause",
    "limitCount",
    "limitOffset",
)


def _name(target: Any) -> str:
    """Every output but a plain column has been given its name."""
    return str(target.name or (target.val.fields[-1].sval if _is_column(target.val) else ""))


def _is_column(node: Any) -> bool:
    return isinstance(node, ast.ColumnRef)


def _sources(node: Any, reach: _Reach) -> Iterator[_Weighed]:
    """The entries of a FROM list; a join also weighs what is in its condition."""
    if isinstance(node, ast.RangeSubselect):
        found = _query(node.subquery, reach).renamed(node.alias.colnames if node.alias else ())
        yield _with_row(found, node.alias)
    elif isinstance(node, ast.RangeVar):
        query = reach.queries.get(str(node.relname)) if node.schemaname is None else None
        if query is not None:
            renamed = query.renamed(node.alias.colnames if node.alias else ())
            yield _with_row(renamed, node.alias or ast.Alias(aliasname=node.relname))
    elif isinstance(node, ast.JoinExpr):
        columns: dict[str, int] = dict(reach.columns)
        for side in (node.larg, node.rarg):
            for source in _sources(side, _Reach(columns, reach.queries)):
                columns.update((name, max(weight, columns.get(name, 1))) for name, weight in source.columns)
                yield source
        if node.quals is not None:
            yield _Weighed(_expression(node.quals, _Reach(columns, reach.queries)))
    else:
        yield _Weighed(_parts(node, reach))


def _with_row(found: _Weighed, alias: Any) -> _Weighed:
    """The name of the entry stands for the whole row."""
    row = ((str(alias.aliasname), sum(weight for _, weight in found.columns)),) if alias else ()
    return _Weighed(found.total, (*found.columns, *row))


def _fields(node: Any, names: tuple[str, ...], reach: _Reach) -> int:
    return sum(_expression(part, reach) for name in names for part in nodes(getattr(node, name)))


def _parts(node: Any, reach: _Reach) -> int:
    return 1 + sum(_expression(part, reach) for name in CHILDREN[type(node)] for part in nodes(getattr(node, name)))


def _expression(node: Any, reach: _Reach) -> int:
    if isinstance(node, ast.SelectStmt):
        return _query(node, reach).total
    if _is_column(node):
        last = node.fields[-1]
        return sum(reach.columns.values()) + 1 if isinstance(last, ast.A_Star) else reach.columns.get(str(last.sval), 1)
    if isinstance(node, ast.A_Expr):
        return min(_comparison(node, reach), _ENOUGH)
    if isinstance(node, ast.A_ArrayExpr):
        # To know the type of a nested array the server asks its first element twice, and that one its own.
        return min(2 * _parts(node, reach), _ENOUGH)
    if isinstance(node, ast.A_Indirection) and any(isinstance(part, ast.A_Star) for part in node.indirection or ()):
        return min(_STAR * _parts(node, reach), _ENOUGH)
    return min(_parts(node, reach), _ENOUGH)


def _comparison(node: Any, reach: _Reach) -> int:
    left = sum(_expression(part, reach) for part in nodes(node.lexpr))
    right = [_expression(part, reach) for part in nodes(node.rexpr)]
    if node.kind in _BETWEEN:
        return 1 + 2 * left + sum(right)
    if node.kind in _SYMMETRIC:
        return 1 + 4 * left + 2 * sum(right)
    if node.kind == _KINDS.AEXPR_IN:
        # Constants become one array; any other element is compared by itself.
        row = isinstance(node.lexpr, ast.RowExpr)
        apart = len(right) if row else sum(not isinstance(part, ast.A_Const) for part in nodes(node.rexpr)) + 1
        return 1 + apart * left + sum(right)
    return 1 + left + sum(right)
