"""How large a statement becomes while the server analyses and plans it.

The server writes some parts of a statement down more than once: both comparisons of
BETWEEN hold its left side, and a subquery that is merged into the query around it has
its columns put in the place of every reference. It also plans some subqueries more than
once: those of EXISTS, and UNION ALL below min and max. Nested, that doubles with each level;
forty levels, a few hundred characters, would fill any memory, and nothing in the server
looks at a timeout or a cancellation meanwhile. So the statement is weighed first, in
nodes, by rules that rather count too much.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
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


_PLANNED = 40
"""To plan a subquery by itself takes as much as so many nodes, however small it is."""
_GROUPED = 10
"""Each column of each grouping set."""
_EXTREMES = frozenset({"min", "max", "bool_and", "bool_or", "every"})
"""Aggregates that an index could answer: for each the server plans the whole of UNION ALL below them twice more."""


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A query: all of it, and each of its output columns."""

    total: int
    columns: tuple[tuple[str, int], ...] = ()
    other: int = 1
    """The heaviest column whose name is not known."""
    placed: bool = True
    """`columns` are all there are, in their order."""
    unions: int = 0
    """What of it is UNION ALL that may become part of the query around it."""

    def renamed(self, names: Any) -> "_Weighed":
        """Under a column alias list."""
        given = [str(name.sval) for name in names or ()]
        if self.placed:
            columns = tuple((given[n] if n < len(given) else c[0], c[1]) for n, c in enumerate(self.columns))
        else:
            columns = (*((name, self.heaviest()) for name in given), *self.columns)
        return replace(self, columns=columns)

    def heaviest(self) -> int:
        """Of its columns."""
        return max(self.other, *(weight for _, weight in self.columns), 1)


@dataclass(frozen=True, slots=True)
class _Reach:
    """What names weigh at a place: columns of merged subqueries, and WITH queries."""

    columns: Mapping[str, int] = field(default_factory=dict)
    """By bare name, the heaviest of that name."""
    queries: Mapping[str, "_Cte"] = field(default_factory=dict)
    other: int = 1
    """All other columns."""
    extremes: dict[int, int] = field(default_factory=dict)
    """Those found so far in each query, by its identity."""

    def within(self, columns: Mapping[str, int], other: int) -> "_Reach":
        """The same place with other columns."""
        return replace(self, columns=columns, other=other)


@dataclass(slots=True)
class _Cte:
    """A WITH query, weighed when it is first asked for: RECURSIVE lets it name later ones, and itself, which weighs one."""

    node: Any
    reach: _Reach
    known: _Weighed | None = None

    def body(self) -> _Weighed:
        """All of it."""
        if self.known is None:
            self.known = _Weighed(1)
            self.known = _query(self.node.ctequery, self.reach).renamed(self.node.aliascolnames)
        return self.known

    def source(self) -> _Weighed:
        """As an entry of FROM."""
        body = self.body()
        if self.node.ctematerialized == enums.CTEMaterialize.CTEMaterializeAlways:
            return _Weighed(1, tuple((name, 1) for name, _ in body.columns))
        repeated = self.node.ctematerialized == enums.CTEMaterialize.CTEMaterializeNever
        return replace(body, total=body.total if repeated else 1)


def repeats(node: Any) -> bool:
    """Whether the server may write down more than once what this node holds; a statement without such a node does not grow."""
    if isinstance(node, ast.A_Expr):
        kind = node.kind
        if kind == _KINDS.AEXPR_OP:
            return False
        plain = isinstance(node.lexpr, (ast.ColumnRef, ast.A_Const, ast.ParamRef))
        return kind in _SYMMETRIC or (not plain and (kind in _BETWEEN or kind == _KINDS.AEXPR_IN))
    return type(node) in _REPEATED or (isinstance(node, ast.SubLink) and node.subLinkType == _EXISTS)


_EXISTS = enums.SubLinkType.EXISTS_SUBLINK


def check(select: Any) -> None:
    """Refuse a statement that would grow beyond the bound. Raises Refused."""
    if _query(select, _Reach()).total > MAX_WEIGHT:
        raise too_large()


def too_large() -> Refused:
    """The refusal of what would grow beyond the bound."""
    return Refused(
        "size",
        "the statement grows too large while it is planned: parts of it that repeat others are nested",
        "name intermediate results in WITH … AS MATERIALIZED, or nest BETWEEN, IN and arrays less",
    )


def _query(select: Any, reach: _Reach) -> _Weighed:
    queries = dict(reach.queries)
    inside = replace(reach, queries=queries)
    total = _with_clause(select.withClause, queries, inside) if select.withClause else 0
    body = _set_operation(select, inside) if select.op != enums.SetOperation.SETOP_NONE else _plain(select, inside)
    return replace(body, total=min(total + body.total, _ENOUGH))


_ENOUGH = MAX_WEIGHT * 1_000
"""Sums stop growing here: numbers of many digits would cost what is saved."""


def _with_clause(clause: Any, queries: dict[str, _Cte], reach: _Reach) -> int:
    """Enter the WITH queries, and return what they weigh."""
    ctes = [_Cte(node, reach) for node in clause.ctes]
    if clause.recursive:
        queries.update((str(cte.node.ctename), cte) for cte in ctes)
    total = 0
    for cte in ctes:
        total += cte.body().total
        queries[str(cte.node.ctename)] = cte
    return total


def _set_operation(select: Any, reach: _Reach) -> _Weighed:
    arms = (_query(select.larg, reach), _query(select.rarg, reach))
    total = sum(arm.total for arm in arms) + _fields(select, ("sortClause", "limitCount", "limitOffset"), reach)
    unions = total if select.op == enums.SetOperation.SETOP_UNION and select.all else 0
    if all(arm.placed for arm in arms):
        columns = tuple((name, max(w, v)) for (name, w), (_, v) in zip(arms[0].columns, arms[1].columns, strict=False))
        return _Weighed(total, columns, unions=unions)
    heaviest = max(arm.heaviest() for arm in arms)
    return _Weighed(total, tuple((name, heaviest) for name, _ in arms[0].columns), heaviest, placed=False, unions=unions)


def _plain(select: Any, reach: _Reach) -> _Weighed:
    total, unions, columns, other = 0, 0, dict(reach.columns), reach.other
    for item in select.fromClause or ():
        for source in _sources(item, reach.within(columns, other), reach):
            total += source.total
            unions += source.unions
            other = max(other, source.other)
            for name, weight in source.columns:
                columns[name] = max(weight, columns.get(name, 1))
    inside = reach.within(columns, other)
    outputs: list[tuple[str, int]] = []
    unnamed, placed = 1, True
    for target in select.targetList or ():
        weight = _expression(target.val, inside)
        total += weight
        if _is_column(target.val) and isinstance(target.val.fields[-1], ast.A_Star):
            outputs.extend(columns.items())
            unnamed, placed = max(unnamed, other), False
        elif _is_row_star(target.val):
            unnamed, placed = max(unnamed, weight // _STAR), False
        else:
            outputs.append((_name(target), weight))
    if select.valuesLists:
        rows = [[_expression(value, inside) for value in row] for row in select.valuesLists]
        total += sum(map(sum, rows))
        outputs = [(f"column{n}", max(column)) for n, column in enumerate(zip(*rows, strict=False), 1)]
    total += _fields(select, _CLAUSES, inside) + _grouping_sets(select.groupClause or ())
    if unions:
        total += 2 * unions * sum(_extremes(getattr(select, name), reach.extremes) for name in _AGGREGATING)
    return _Weighed(total, tuple(outputs), unnamed, placed, min(unions, _ENOUGH))


def _extremes(value: Any, known: dict[int, int]) -> int:
    """Aggregates among `_EXTREMES`; those of subqueries too, which may be of the query around them."""
    found = 0
    for node in nodes(value):
        if id(node) not in known:
            count = isinstance(node, ast.FuncCall) and str((node.funcname or ())[-1].sval) in _EXTREMES
            inner = count + sum(_extremes(getattr(node, name), known) for name in CHILDREN[type(node)])
            if not isinstance(node, ast.SelectStmt):
                found += inner
                continue
            known[id(node)] = inner
        found += known[id(node)]
    return found


def _grouping_sets(clause: Any) -> int:
    """Each set is laid out with all its columns."""
    if not any(isinstance(item, ast.GroupingSet) for item in clause):
        return 0
    counted = [_counted(item) for item in clause]
    return min(_GROUPED * prod(sets for sets, _ in counted) * sum(columns for _, columns in counted), _ENOUGH)


def _counted(item: Any) -> tuple[int, int]:
    """How many grouping sets, and how many columns."""
    if not isinstance(item, ast.GroupingSet):
        return 1, len(item.args or ()) if isinstance(item, ast.RowExpr) else 1
    inner = [_counted(part) for part in item.content or ()]
    columns = sum(each for _, each in inner)
    if item.kind == enums.GroupingSetKind.GROUPING_SET_ROLLUP:
        return len(inner) + 1, columns
    if item.kind == enums.GroupingSetKind.GROUPING_SET_CUBE:
        return 2 ** min(len(inner), 16), columns
    return max(sum(sets for sets, _ in inner), 1), columns


_AGGREGATING = ("targetList", "havingClause", "sortClause")
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


def _is_row_star(node: Any) -> bool:
    return isinstance(node, ast.A_Indirection) and any(isinstance(part, ast.A_Star) for part in node.indirection or ())


def _sources(node: Any, reach: _Reach, around: _Reach) -> Iterator[_Weighed]:
    """The entries of a FROM list; a join also weighs what is in its condition.

    `reach` holds what stands before the entry, which a subquery sees where it is lateral, and `around` what stands around the list.
    """
    if isinstance(node, ast.RangeSubselect):
        found = _query(node.subquery, reach if node.lateral else around).renamed(node.alias.colnames if node.alias else ())
        yield _with_row(found, node.alias)
    elif isinstance(node, ast.RangeVar):
        query = reach.queries.get(str(node.relname)) if node.schemaname is None else None
        if query is not None:
            renamed = query.source().renamed(node.alias.colnames if node.alias else ())
            yield _with_row(renamed, node.alias or ast.Alias(aliasname=node.relname))
    elif isinstance(node, ast.JoinExpr):
        yield from _joined(node, reach, around)
    else:
        yield _Weighed(_parts(node, reach))


def _joined(node: Any, reach: _Reach, around: _Reach) -> Iterator[_Weighed]:
    columns, other = dict(reach.columns), reach.other
    found: list[tuple[str, int]] = []
    for side in (node.larg, node.rarg):
        for source in _sources(side, reach.within(columns, other), around):
            columns.update((name, max(weight, columns.get(name, 1))) for name, weight in source.columns)
            other = max(other, source.other)
            found.extend(source.columns)
            yield source
    if node.quals is not None:
        yield _Weighed(_expression(node.quals, reach.within(columns, other)))
    if node.alias is not None:
        # Its tables' own columns, which nobody here counts, are among them: an alias list could mean any.
        yield _with_row(_Weighed(0, tuple(found), other, placed=False).renamed(node.alias.colnames), node.alias)


def _with_row(found: _Weighed, alias: Any) -> _Weighed:
    """The name of the entry stands for the whole row."""
    row = ((str(alias.aliasname), sum(weight for _, weight in found.columns)),) if alias else ()
    return replace(found, columns=(*found.columns, *row))


def _fields(node: Any, names: tuple[str, ...], reach: _Reach) -> int:
    return sum(_expression(part, reach) for name in names for part in nodes(getattr(node, name)))


def _parts(node: Any, reach: _Reach) -> int:
    return 1 + sum(_expression(part, reach) for name in CHILDREN[type(node)] for part in nodes(getattr(node, name)))


def _expression(node: Any, reach: _Reach) -> int:
    if isinstance(node, ast.SelectStmt):
        return _query(node, reach).total
    if _is_column(node):
        last = node.fields[-1]
        starred = isinstance(last, ast.A_Star)
        return sum(reach.columns.values()) + reach.other if starred else reach.columns.get(str(last.sval), reach.other)
    if isinstance(node, ast.A_Expr):
        return min(_comparison(node, reach), _ENOUGH)
    planned = _PLANNED if isinstance(node, ast.SubLink) else 0
    return min(_times(node) * (planned + _parts(node, reach)), _ENOUGH)


def _times(node: Any) -> int:
    """How often the server goes through what the node holds."""
    if _is_row_star(node):
        return _STAR
    if isinstance(node, ast.SubLink):
        # EXISTS is planned for one row and for many: which is better is known only then.
        return 2 if node.subLinkType == _EXISTS else 1
    return 2 if isinstance(node, _TWICE) else 1


_TWICE = (
    ast.A_ArrayExpr,  # to know the type of a nested array the server asks its first element twice, and that one its own
    ast.JsonArrayQueryConstructor,  # its query is analysed once to count its columns, and once more
    ast.JsonValueExpr,  # kept as it was written beside the JSON it becomes
)
_REPEATED = frozenset({*_TWICE, ast.RangeSubselect, ast.CommonTableExpr, ast.A_Indirection, ast.GroupingSet})
REPEATING = _REPEATED | {ast.A_Expr, ast.SubLink}
"""Kinds of which `repeats` may be true."""


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
