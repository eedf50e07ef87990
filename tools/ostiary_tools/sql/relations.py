"""FROM: each entry becomes an item of the scope, names are bound to relations, scans are narrowed.

Follows the server's rules of visibility: the right side of a join and later entries see
earlier ones only when lateral, a condition sees its own join, a join with an alias hides
what it joins.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from pglast import ast

from ostiary_tools.catalogs import Name
from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import Relation, RelationKind
from ostiary_tools.sql import calls, catalogs, kinds, statement
from ostiary_tools.sql.expressions import visit, visit_parts
from ostiary_tools.sql.scope import Env, Field, Item, Scan, Source, renamed
from ostiary_tools.sql.tree import put
from ostiary_tools.sql.work import Work

_SAMPLING = frozenset({"bernoulli", "system"})
Entry = tuple[Any, Item, tuple[Item, ...]]
"""The node (or what takes its place), its item, and every item a name can reach through it."""


class Scans(dict[int, Scan]):
    """The base scans of one FROM list by the identity of their node."""


def from_clause(nodes: tuple[Any, ...], env: Env, work: Work, scans: Scans) -> tuple[tuple[Any, ...], Env]:
    """Judge a FROM list and return it with the level it makes. Raises Refused."""
    level = env
    entries = []
    for node in nodes:
        entry, _, items = _entry(node, level, work, scans)
        entries.append(entry)
        level = level.holding((*level.items, *items))
    return tuple(entries), level


def narrowed(node: Any, scans: Scans, work: Work) -> Any:
    """Put a subselect of the visible columns in the place of every scan that has to be narrowed."""
    if isinstance(node, ast.JoinExpr):
        put(node, "larg", narrowed(node.larg, scans, work))
        put(node, "rarg", narrowed(node.rarg, scans, work))
        return node
    table: Any = node.relation if isinstance(node, ast.RangeTableSample) else node
    scan = scans.get(id(table))
    if scan is None or not scan.narrow:
        return node
    alias = table.alias or ast.Alias(aliasname=table.relname)
    table.alias = None
    columns = tuple(ast.ResTarget(val=ast.ColumnRef(fields=(ast.String(c.name),))) for c in work.view.columns(scan.relation))
    return ast.RangeSubselect(lateral=False, alias=alias, subquery=_plain_select(columns, node))


def _plain_select(columns: tuple[Any, ...], source: Any) -> Any:
    select = statement.parse_template("select from x")
    select.targetList = columns or None
    select.fromClause = (source,)
    return select


def _entry(node: Any, level: Env, work: Work, scans: Scans) -> Entry:  # noqa: PLR0911 -- one return a kind of entry
    if isinstance(node, ast.RangeVar):
        return _table(node, level, work, scans)
    if isinstance(node, ast.RangeTableSample):
        return _sample(node, level, work, scans)
    if isinstance(node, ast.RangeSubselect):
        return _subselect(node, level, work)
    if isinstance(node, ast.RangeFunction):
        return _functions(node, level, work)
    if isinstance(node, ast.RangeTableFunc):
        return _xml_table(node, level, work)
    if isinstance(node, ast.JsonTable):
        return _json_table(node, level, work)
    if isinstance(node, ast.JoinExpr):
        return _join(node, level, work, scans)
    raise Refused("statement", f"`{type(node).__name__}` in FROM is not allowed", "use tables, subselects, joins and functions")


def _alone(node: Any, item: Item) -> Entry:
    return node, item, (item,)


def _alias(node: Any) -> tuple[str | None, tuple[str, ...]]:
    alias = node.alias
    return (None, ()) if alias is None else (str(alias.aliasname), calls.parts(alias.colnames or ()))


def _table(node: Any, level: Env, work: Work, scans: Scans) -> Entry:
    if node.catalogname:
        raise work.unknown_table(f"{node.catalogname}.{node.schemaname}.{node.relname}")
    cte = level.ctes.get(node.relname) if node.schemaname is None else None
    name, columns = _alias(node)
    if cte is None and (catalog := catalogs.find(node, work)) is not None:
        source = catalogs.scan(catalog)
        source.alias = node.alias or ast.Alias(aliasname=node.relname)
        return _catalog(source, catalog, catalog[0] if name is None else None, work)
    if cte is not None:
        output = statement.cte_output(cte, work)
        fields = renamed(output.fields(), columns)
        return _alone(node, Item(name or cte.name, fields, unbounded=output.unbounded))
    return _base_table(node, name, columns, work, scans)


def _catalog(node: Any, catalog: Name, schema: str | None, work: Work) -> Entry:
    """A scan of an offered catalog, which is a subselect already."""
    catalogs.use(catalog, node, work)
    name, columns = _alias(node)
    fields = renamed(tuple(Field(column) for column in catalogs.columns(catalog, work)), columns)
    return _alone(node, Item(name, fields, schema=schema, by_name=name is not None))


def _base_table(node: Any, name: str | None, columns: tuple[str, ...], work: Work, scans: Scans) -> Entry:
    relation = resolved(node, work)
    if (terms := work.view.rows.get((relation.schema, relation.name))) is not None and terms.refusal:
        raise Refused("row_rule", terms.refusal, "ask its owner")
    put(node, "schemaname", relation.schema)
    work.scan(relation)
    scan = scans[id(node)] = Scan(relation, narrow=bool(columns))
    shown = work.view.columns(relation) if columns else relation.columns
    if columns:
        # A column alias list counts from the first column, so it counts the visible ones.
        work.read_all(relation)
    fields = renamed(tuple(Field(c.name, ((relation, c),)) for c in shown), columns)
    schema = relation.schema if name is None else None
    return _alone(
        node,
        Item(
            name or relation.name,
            fields,
            (scan,),
            schema=schema,
            has_ctid=not columns and not work.view.fenced(relation),
            base=True,
        ),
    )


def resolved(node: Any, work: Work) -> Relation:
    """The relation that a name means. Raises Refused when there is none for the caller."""
    schema, name = node.schemaname, node.relname
    if schema is not None:
        catalogs.check_closed(schema, name)
    for candidate in (schema,) if schema else work.view.snapshot.search_path:
        relation = work.view.relation(candidate, name)
        if relation is not None:
            return relation
    if schema is None:
        catalogs.check_closed(schema, name)
    raise work.unknown_table(name if schema is None else f"{schema}.{name}")


def _sample(node: Any, level: Env, work: Work, scans: Scans) -> Entry:
    method = calls.parts(node.method)
    if method[-1] not in _SAMPLING or method[:-1] not in ((), (calls.CATALOG,)):
        raise Refused("sampling", f"unknown sampling method `{'.'.join(method)}`", "use `bernoulli` or `system`")
    if not isinstance(node.relation, ast.RangeVar):
        raise Refused("sampling", "only a table can be sampled", "sample the table itself")
    if catalogs.find(node.relation, work) is not None:
        raise Refused("sampling", "a catalog is not sampled", "use LIMIT")
    # The printer knows a method by its bare name only; `pg_catalog` stands first in the search path.
    put(node, "method", node.method[-1:])
    put(node, "args", visit(node.args, level.holding(()), work))
    put(node, "repeatable", visit(node.repeatable, level.holding(()), work))
    _, item, items = _table(node.relation, level, work, scans)
    scan = scans.get(id(node.relation))
    if scan is not None and scan.relation.kind is RelationKind.VIEW:
        raise Refused("sampling", "a view is not sampled", "use LIMIT")
    if scan is not None and (scan.relation.schema, scan.relation.name) in work.view.rows:
        # Which rows are drawn depends on where those lie that the caller does not have.
        raise Refused("sampling", "a table with row rules is not sampled", "use ORDER BY random() LIMIT")
    return node, item, items


def _subselect(node: Any, level: Env, work: Work) -> Entry:
    if (catalog := catalogs.scanned(node)) is not None:
        return _catalog(node, catalog, None, work)
    outside = level if node.lateral else level.holding(())
    output = statement.select(node.subquery, outside.child(), work)
    name, columns = _alias(node)
    fields = renamed(output.fields(), columns)
    return _alone(node, Item(name, fields, unbounded=output.unbounded, by_name=name is not None))


def _functions(node: Any, level: Env, work: Work) -> Entry:
    label, columns = _alias(node)
    if label is None:
        label = statement.column_name(node.functions[0][0]) or "function"
    _spell_unnest(node)
    names: list[str] = []
    unbounded = False
    functions = []
    for call, definitions in node.functions:
        visited = visit(call, level, work)
        if isinstance(visited, ast.SubLink):
            raise Refused("function", "a function of the catalog cannot stand in FROM", "call it in the SELECT list")
        functions.append((visited, visit(definitions, level, work) if definitions else definitions))
        given = _function_columns(
            call, definitions, label if len(node.functions) == 1 else statement.column_name(call) or label, work
        )
        names.extend(given or ())
        unbounded = unbounded or given is None
    node.functions = tuple(functions)
    node.coldeflist = visit(node.coldeflist, level, work)
    if node.coldeflist:
        names, unbounded = [str(d.colname) for d in node.coldeflist], False
    if node.ordinality:
        names.append("ordinality")
    return _alone(node, Item(label, renamed(tuple(Field(n) for n in names), columns), unbounded=unbounded))


def _spell_unnest(node: Any) -> None:
    """`unnest(a, b)` is known to the server only by its bare name; it means ROWS FROM (unnest(a), unnest(b))."""
    spelled: list[Any] = []
    for call, definitions in node.functions:
        args = call.args or () if isinstance(call, ast.FuncCall) and calls.parts(call.funcname) == ("unnest",) else ()
        if len(args) > 1 and not definitions:
            spelled.extend((ast.FuncCall(funcname=call.funcname, args=(arg,), funcformat=call.funcformat), None) for arg in args)
            node.is_rowsfrom = True
        else:
            spelled.append((call, definitions))
    node.functions = tuple(spelled)


def _function_columns(call: Any, definitions: Any, label: str, work: Work) -> tuple[str, ...] | None:
    if definitions:
        return tuple(str(d.colname) for d in definitions)
    if isinstance(call, ast.FuncCall):
        return calls.table_columns(work, call.funcname, label)
    return None


def _xml_table(node: Any, level: Env, work: Work) -> Entry:
    name, columns = _alias(node)
    fields = tuple(Field(str(c.colname)) for c in node.columns or ())
    node.lateral = False  # the server takes it for lateral whether it says so or not, and the printer does not say so
    visit_parts(node, level, work)
    return _alone(node, Item(name or "xmltable", renamed(fields, columns)))


def _json_table(node: Any, level: Env, work: Work) -> Entry:
    name, columns = _alias(node)
    fields = tuple(Field(n) for n in _json_columns(node.columns or ()))
    node.lateral = False
    visit_parts(node, level, work)
    return _alone(node, Item(name or "json_table", renamed(fields, columns)))


def _json_columns(nodes: tuple[Any, ...]) -> list[str]:
    names: list[str] = []
    for node in nodes:
        names.extend(_json_columns(node.columns) if node.columns else [str(node.name)])
    return names


def _join(node: Any, level: Env, work: Work, scans: Scans) -> Entry:
    left_node, left, left_items = _entry(node.larg, level, work, scans)
    lateral = level.holding((*level.items, *left_items))
    right_node, right, right_items = _entry(node.rarg, lateral, work, scans)
    put(node, "larg", left_node)
    put(node, "rarg", right_node)
    if node.isNatural:
        _spell_natural(node, left, right, work)
    merged = _merge(node, left, right, work)
    inside = (*left_items, *right_items)
    if node.quals is not None:
        put(node, "quals", visit(node.quals, level.holding(inside), work))
    name, columns = _alias(node)
    if columns:
        # As with a table: the list counts the visible columns.
        for scan in (*left.scans, *right.scans):
            scan.narrow = True
            work.read_all(scan.relation)
    used = {f.name for f in merged}
    rest = (f for f in (*left.fields, *right.fields) if f.name not in used and (not columns or work.shows(f)))
    joined = Item(
        name,
        renamed((*merged, *rest), columns),
        (*left.scans, *right.scans),
        unbounded=left.unbounded or right.unbounded,
        has_ctid=name is None and any(i.has_ctid for i in inside),
        by_name=name is not None,
    )
    reached = () if name is not None else tuple([i.by_name_alone() if i.by_column else i for i in inside])
    if node.join_using_alias is not None:
        reached = (*reached, Item(str(node.join_using_alias.aliasname), merged, by_column=False, scans=joined.scans))
    return node, joined, (*reached, joined)


def _spell_natural(node: Any, left: Item, right: Item, work: Work) -> None:
    """NATURAL joins on every common name, hidden ones too; the caller's joins on those it can see."""
    if left.unbounded or right.unbounded:
        _leave_natural(left, right, work)
        return
    there = {f.name for f in right.fields if work.shows(f)}
    common = tuple(f.name for f in left.fields if f.name in there and work.shows(f))
    node.isNatural = False
    node.usingClause = tuple(ast.String(n) for n in common) or None
    if not common:
        node.quals = statement.parse_template("select true").targetList[0].val


def _leave_natural(left: Item, right: Item, work: Work) -> None:
    """Which names are common only the server knows; that is told to nobody from whom one of them could be hidden."""
    for field in (*left.fields, *right.fields):
        if not work.shows(field):
            raise Refused("natural", "a NATURAL join over a function's columns cannot be judged", "write JOIN … USING (…)")
        work.read(field, (left, right), field.name)
    calls.operator(work, (ast.String("="),))


def _merge(node: Any, left: Item, right: Item, work: Work) -> tuple[Field, ...]:
    merged = []
    for name in calls.parts(node.usingClause or ()):
        pairs = partial(_pairs, name, left, right, work)
        calls.operator(work, (ast.String("="),), pairs)
        sources: list[Source] = []
        for side in (left, right):
            matches = _of_name(side, name)
            if not matches and not side.unbounded:
                raise work.unknown_column(name, (left, right))
            for each in matches:
                work.read(each, (left, right), name)
                sources.extend(each.sources)
        merged.append(Field(name, tuple(dict.fromkeys(sources)), partial(_merged_kind, pairs)))
    return tuple(merged)


def _of_name(item: Item, name: str) -> list[Field]:
    return [each for each in item.fields if each.name == name]


def _pairs(name: str, left: Item, right: Item, work: Work) -> list[kinds.Pair]:
    """The types that a column of USING has on either side."""
    one, other = ([kinds.of_field(each, work) for each in _of_name(side, name)] or [kinds.UNKNOWN] for side in (left, right))
    return [(kinds.together(one), kinds.together(other))]


def _merged_kind(pairs: Callable[[], list[kinds.Pair]]) -> kinds.Kind:
    return kinds.together(kind for pair in pairs() for kind in pair)
