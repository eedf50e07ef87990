"""SELECT in all its forms: query levels, WITH, set operations, output names, stars.

Every output column without a name of its own gets the one the server would give it, in
the text, so that what a later name binds to is certain.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from typing import Any

from pglast import ast, enums, parse_sql

from ostiary_tools.errors import Refused
from ostiary_tools.sql import calls, expressions, kinds, relations, scope
from ostiary_tools.sql.naming import column_name
from ostiary_tools.sql.scope import Cte, Env, Field, Item, Output
from ostiary_tools.sql.tree import put
from ostiary_tools.sql.work import Work

Kindly = Callable[[], kinds.Kind] | None

__all__ = ["column_name", "cte_output", "parse_template", "select", "with_queries"]


def select(node: Any, env: Env, work: Work) -> Output:
    """Judge a SELECT on its own empty level `env`, rewrite it in place, return its columns. Raises Refused."""
    level = with_queries(node.withClause, env, work)
    if node.op != enums.SetOperation.SETOP_NONE:
        return _set_operation(node, level, work)
    if node.valuesLists:
        return _values(node, level, work)
    return _plain(node, level, work)


def with_queries(clause: Any, env: Env, work: Work) -> Env:
    """The level with the queries of its WITH, all judged. Raises Refused."""
    ctes = _with(clause, env, work)
    level = replace(env, ctes={**env.ctes, **ctes}) if ctes else env
    for cte in ctes.values():
        cte.env = level if clause.recursive else cte.env
    for cte in ctes.values():
        cte_output(cte, work)
    return level


def _with(clause: Any, env: Env, work: Work) -> dict[str, Cte]:
    """The WITH queries by name. Without RECURSIVE each sees those before it; with it, each sees all."""
    known: dict[str, Cte] = {}
    for node in clause.ctes if clause is not None else ():
        name = str(node.ctename)
        if name in known:
            raise Refused("with", f"the WITH query `{name}` is defined twice", "rename one")
        cte = Cte(
            name, node, replace(env, ctes={**env.ctes, **known}), renames=calls.parts(node.aliascolnames or ()), extra=_extra(node)
        )
        if not clause.recursive:
            cte_output(cte, work)
        known[name] = cte
    return known


def _extra(node: Any) -> tuple[str, ...]:
    search, cycle = node.search_clause, node.cycle_clause
    found = (str(search.search_seq_column),) if search is not None else ()
    return (*found, str(cycle.cycle_mark_column), str(cycle.cycle_path_column)) if cycle is not None else found


def cte_output(cte: Cte, work: Work) -> Output:
    """Columns of a WITH query, which is judged at its first use or definition. Raises Refused."""
    if not cte.started:
        cte.started = True
        _judge_cte(cte, work)
    if cte.output is None:
        raise Refused(
            "with", f"the WITH query `{cte.name}` refers to itself before its first arm is known", "write `first arm UNION ALL …`"
        )
    return cte.output


def _judge_cte(cte: Cte, work: Work) -> None:
    node: Any = cte.node
    if not isinstance(node.ctequery, ast.SelectStmt):
        raise Refused("read_only", f"the WITH query `{cte.name}` writes", "only SELECT stands in WITH")
    assert cte.env is not None  # noqa: S101 -- set by the WITH clause that made it
    _select_arms(node.ctequery, cte.env.child(), work, cte)
    if node.cycle_clause is not None:
        node.cycle_clause.cycle_mark_value = expressions.visit(node.cycle_clause.cycle_mark_value, Env(), work)
        node.cycle_clause.cycle_mark_default = expressions.visit(node.cycle_clause.cycle_mark_default, Env(), work)


def _select_arms(query: Any, env: Env, work: Work, cte: Cte) -> None:
    """The first arm of a recursive query names the columns that its second arm may use."""
    recursive = query.op != enums.SetOperation.SETOP_NONE and query.withClause is None
    if recursive:
        _named(cte, select(query.larg, env.child(), work))
        select(query.rarg, env.child(), work)
        _sort_output(query, cte.output or Output(()), env, work)
    else:
        _named(cte, select(query, env, work))


def _named(cte: Cte, output: Output) -> None:
    names = tuple(cte.renames[n] if n < len(cte.renames) else name for n, name in enumerate(output.names))
    cte.output = Output((*names, *cte.extra), output.unbounded, output.kinds)


def _set_operation(node: Any, level: Env, work: Work) -> Output:
    output = select(node.larg, level.child(), work)
    other = select(node.rarg, level.child(), work)
    output = replace(output, kinds=tuple(partial(_arms, *pair) for pair in zip(output.kinds, other.kinds, strict=False)))
    _sort_output(node, output, level, work)
    return output


def _values(node: Any, level: Env, work: Work) -> Output:
    put(node, "valuesLists", expressions.visit(node.valuesLists, level, work))
    places = range(len(node.valuesLists[0]))
    made = tuple(partial(_column_of, node.valuesLists, place, level, work) for place in places)
    output = Output(tuple(f"column{place + 1}" for place in places), kinds=made)
    _sort_output(node, output, level, work)
    return output


def _arms(left: Kindly, right: Kindly) -> kinds.Kind:
    """The type of a column of a set operation."""
    return kinds.together((left(), right())) if left is not None and right is not None else kinds.UNKNOWN


def _column_of(rows: tuple[tuple[Any, ...], ...], place: int, level: Env, work: Work) -> kinds.Kind:
    """The type of a column of VALUES."""
    return kinds.of_one_among((row[place] for row in rows if place < len(row)), level, work)


def _sort_output(node: Any, output: Output, level: Env, work: Work) -> None:
    """ORDER BY and LIMIT of a set operation or VALUES: they see the output columns."""
    item = Item(None, output.fields(), unbounded=output.unbounded, by_name=False)
    inside = level.holding((item,))
    put(node, "sortClause", expressions.visit(node.sortClause, inside, work))
    _limits(node, inside, work)


def _limits(node: Any, level: Env, work: Work) -> None:
    put(node, "limitCount", expressions.visit(node.limitCount, level, work))
    put(node, "limitOffset", expressions.visit(node.limitOffset, level, work))


def _plain(node: Any, env: Env, work: Work) -> Output:
    scans = relations.Scans()
    sources, level = relations.from_clause(node.fromClause or (), env, work, scans)
    node.targetList, output = _targets(node.targetList or (), level, work)
    put(node, "whereClause", expressions.visit(node.whereClause, level, work))
    put(node, "groupClause", _outputs_or_columns(node.groupClause, output, level, work, columns_first=True))
    put(node, "havingClause", expressions.visit(node.havingClause, level, work))
    put(node, "windowClause", expressions.visit(node.windowClause, level, work))
    if node.distinctClause and node.distinctClause[0] is not None:
        put(node, "distinctClause", _outputs_or_columns(node.distinctClause, output, level, work, columns_first=False))
    put(node, "sortClause", _outputs_or_columns(node.sortClause, output, level, work, columns_first=False))
    _limits(node, level, work)
    node.fromClause = tuple(relations.narrowed(source, scans, work) for source in sources) or None
    return output


def _outputs_or_columns(nodes: Any, output: Output, level: Env, work: Work, *, columns_first: bool) -> Any:
    """ORDER BY and DISTINCT ON take a bare name for an output column first, GROUP BY for an input column."""
    if nodes is None:
        return None
    kept = []
    node: Any
    for node in nodes:
        if isinstance(node, ast.GroupingSet):
            node.content = _outputs_or_columns(node.content, output, level, work, columns_first=columns_first)
            kept.append(node)
            continue
        inner = node.node if isinstance(node, ast.SortBy) else node
        name = calls.bare_name(inner)
        is_output = name is not None and name in output.names
        if is_output and columns_first and name is not None:
            is_output = not scope.in_level(level, name) and not any(i.unbounded for i in level.items)
        if is_output and isinstance(node, ast.SortBy) and node.useOp:
            calls.operator(work, node.useOp)
        kept.append(node if is_output else expressions.visit(node, level, work))
    return tuple(kept)


def _ends_in_star(node: Any, kind: str, path: str) -> bool:
    return type(node).__name__ == kind and isinstance(getattr(node, path)[-1], ast.A_Star)


def _targets(nodes: tuple[Any, ...], level: Env, work: Work) -> tuple[tuple[Any, ...] | None, Output]:
    targets: list[Any] = []
    names: list[str] = []
    made: list[Kindly] = []
    unbounded = False
    for node in nodes:
        value: Any = node.val
        if _ends_in_star(value, "ColumnRef", "fields"):
            expanded, output = _star(node, level, work)
            targets.extend(expanded)
            names.extend(output.names)
            made.extend(output.kinds)
            unbounded = unbounded or output.unbounded
            continue
        if _ends_in_star(value, "A_Indirection", "indirection"):
            unbounded = True
        is_column = isinstance(value, ast.ColumnRef)
        # What takes the place of a call or a cast keeps its name.
        written = None if _is_subquery(value) else column_name(value)
        put(node, "val", expressions.visit(value, level, work))
        targets.append(node)
        if not _ends_in_star(value, "A_Indirection", "indirection"):
            # A subquery is called like its first column, which is known now that its star is spelled out.
            name = node.name or written or column_name(node.val) or "?column?"
            names.append(name)
            if not is_column:
                put(node, "name", name)
            made.append(partial(kinds.of_one_among, (node.val,), level, work))
    return tuple(targets) or None, Output(tuple(names), unbounded, () if unbounded else tuple(made))


def _is_subquery(node: Any) -> bool:
    """Whether the value is called like a subquery's column."""
    while isinstance(node, ast.TypeCast | ast.CollateClause | ast.A_Indirection | ast.CaseExpr):
        node = node.defresult if isinstance(node, ast.CaseExpr) else node.arg
    return isinstance(node, ast.SubLink)


def _star(node: Any, level: Env, work: Work) -> tuple[list[Any], Output]:
    """A star in the output list, spelled out where each column can be named, else kept over narrowed scans."""
    qualifier = calls.parts(node.val.fields[:-1])
    items = expressions.named_items(qualifier, level, work) if qualifier else tuple(i for i in level.items if i.by_column)
    if not items:
        raise Refused("syntax", "`*` needs a FROM clause", "name the columns")
    fields = [f for item in items for f in item.fields if work.shows(f)]
    columns = [_spelled(f, item, level) for item in items for f in item.fields if work.shows(f)]
    if all(columns) and not any(i.unbounded for i in items):
        for each in fields:
            work.read(each, items, each.name)
        made = tuple(partial(kinds.of_field, each, work) for each in fields)
        return [ast.ResTarget(val=c) for c in columns], Output(tuple(f.name for f in fields), kinds=made)
    expressions.whole_row(items, work, star=True)
    node.val.fields = node.val.fields[-2:]
    made = tuple(partial(kinds.of_field, each, work) for each in fields)
    return [node], Output(tuple(f.name for f in fields), any(i.unbounded for i in items), made)


def _spelled(field: Field, item: Item, level: Env) -> Any:
    """A reference that can only mean this field, or `None`."""
    name = ast.String(field.name)
    owners = [item] if item.by_name else [i for i in level.items if i.by_name and any(f is field for f in i.fields)]
    for owner in owners:
        same = [i for i in level.items if i.by_name and i.name == owner.name]
        if same == [owner] and sum(f.name == field.name for f in owner.fields) == 1 and owner.name is not None:
            return ast.ColumnRef(fields=(ast.String(owner.name), name))
    if scope.in_level(level, field.name) == [field] and not any(i.unbounded for i in level.items):
        return ast.ColumnRef(fields=(name,))
    return None


@cache
def _template(text: str) -> Any:
    return parse_sql(text)[0].stmt


def parse_template(text: str) -> Any:
    """A fresh tree of a constant text."""
    return deepcopy(_template(text))
