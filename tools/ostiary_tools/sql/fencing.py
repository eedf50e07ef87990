"""Fences: in the text that is run, a scan gives the rows and masks its caller may have in the place of a table's own.

The judged statement stays as it is; its fenced text differs by one subselect for each scan of a relation with masks or
row rules. Nothing outside a fence can name the relation's own values, so whatever a statement does, it does to masks.
With row rules stands OFFSET 0, which keeps the planner from computing anything of the statement for a row before the
rules allowed it; conditions that cannot tell of a row by failing are repeated within, so that indexes serve them.
Where policy applies inside a view, its query stands within the fence in the place of its name, with fences of its own.

The text is proven before it is used. A fence is parsed when it is made. The statement is parsed with the outline of each
fence, a subselect of nothing but the scan and the conditions repeated in it, and with these taken out it is the judged
statement. The text that is run puts into those brackets, in the place of a complete subselect, another one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pglast import ast

from ostiary_policies.masks import Mask, MaskKind
from ostiary_tools.errors import Refused
from ostiary_tools.identifiers import quoted
from ostiary_tools.snapshot import ColumnInfo, Relation
from ostiary_tools.sql import expansion, inside, printing, pushing, writing
from ostiary_tools.sql.masking import Keys, Types, kept, masked
from ostiary_tools.sql.parse import check_text, depth_of, parse
from ostiary_tools.sql.printing import Printed, Scan
from ostiary_tools.sql.tree import levels, put, same
from ostiary_tools.sql.twin import Names, seen
from ostiary_tools.view import SchemaView

_OUTLINE = 23
"""Levels that the outline of a fence adds at most: its conditions compare columns with constants."""


@dataclass(frozen=True, slots=True)
class Fenced:
    """The text that is run in the place of a judged one."""

    text: str
    estimated: str
    """What the planner is asked in the place of `text` when its estimate decides; empty where it may be asked for `text` itself."""
    keyed: bool
    """It takes the halves of the hash key as its last two parameters."""
    tree: Any
    """The judged tree again, from this text."""


@dataclass(frozen=True, slots=True)
class _Query:
    """The query of a view, with an alias; it stands where the view's name would."""

    text: str
    estimated: str
    """As of `Fenced`."""
    keyed: bool


@dataclass(frozen=True, slots=True)
class _Fence:
    """What stands around a scan of one relation."""

    columns: str
    """The select list."""
    opaque: str
    """The same, so that the planner knows no statistics of any column."""
    predicate: str
    """Empty where the caller has all rows."""
    keyed: bool
    weight: int
    """Nodes of its longest column."""
    depth: int
    """A bound on its levels."""
    query: _Query | None
    """What it stands around in the place of the relation."""


@dataclass(frozen=True, slots=True)
class _Fencing:
    """One scan of a statement in its fence."""

    fence: _Fence
    scan: Scan
    relation: str
    """As it is printed, without its alias; with its sample."""
    alias: str
    conditions: tuple[Any, ...]
    """Those of the statement that are repeated."""
    printed: tuple[str, ...]
    """The same as text."""
    of_keys: tuple[str, ...]
    """Those of them that say which value a key has."""

    def outline(self) -> str:
        """The fence without columns and rules of its own."""
        return f"(SELECT FROM {self.relation}{_where(self.printed)}) AS {self.alias}"

    def whole(self) -> str:
        """The fence."""
        query = self.fence.query
        return self._around(self.fence.columns, self.printed, query.text if query else self.relation)

    def estimated(self) -> str:
        """The fence, of which the planner can tell nothing by values of rows that the caller does not have."""
        query = self.fence.query
        if query is None and not self.fence.predicate:
            return self.whole()
        columns, conditions = (self.fence.opaque, self.of_keys) if self.fence.predicate else (self.fence.columns, ())
        return self._around(columns, conditions, (query.estimated or query.text) if query else self.relation)

    def _around(self, columns: str, conditions: Iterable[str], source: str) -> str:
        ruled = f"{_where((self.fence.predicate, *conditions))} OFFSET 0" if self.fence.predicate else ""
        return f"(SELECT {columns} FROM {source}{ruled}) AS {self.alias}"  # noqa: S608  quoted names, and printed trees


def fenced(
    tree: Any, printed: Printed, view: SchemaView, parameters: int, *, repeats: bool, beside: Names | None = None
) -> Fenced | None:
    """The fenced text of a judged tree with so many parameters; `None` when nothing of it needs a fence. Raises Refused.

    `repeats` says that the server may write down parts of the statement more than once. The tree is a twin where there are
    names `beside` it: what it sees in the place of its table gives these too.
    """
    target = getattr(tree, "relation", None)  # of a change; it is no scan
    found = (scan for scan in printed.scans if scan.relation is not target)
    scans = [(relation, scan) for scan in found if (relation := _fenced_relation(scan, view)) is not None]
    if not scans:
        return None
    nodes = [node for level in levels(tree) for node in level]
    keys = (parameters + 1, parameters + 2)
    fences = [_kept(relation, view, keys) for relation, _ in scans]
    if beside is not None:
        columns = [beside.columns if scan.node is seen(tree) else "" for _, scan in scans]
        fences = [_giving(fence, more) for fence, more in zip(fences, columns, strict=True)]
    pushed = pushing.pushed(nodes, view) if any(fence.predicate for fence in fences) else {}
    fencings = [_fencing(fence, scan, relation, pushed) for fence, (relation, scan) in zip(fences, scans, strict=True)]
    again = _without(parse(_put_in(printed.text, fencings, _Fencing.outline), depth=depth_of(printed.text) + _OUTLINE), fencings)
    text = _put_in(printed.text, fencings, _Fencing.whole)
    check_text(text)
    _check_weight(text, printed, nodes, fences, repeats=repeats)
    ruled = any(fence.predicate or (fence.query and fence.query.estimated) for fence in fences)
    estimated = _put_in(printed.text, fencings, _Fencing.estimated) if ruled else ""
    return Fenced(text, estimated, any(fence.keyed for fence in fences), again)


def _fenced_relation(scan: Scan, view: SchemaView) -> Relation | None:
    relation = view.snapshot.relations.get((scan.relation.schemaname, scan.relation.relname))
    return relation if relation is not None and view.fenced(relation) else None


def _fencing(fence: _Fence, scan: Scan, relation: Relation, pushed: Mapping[int, tuple[Any, ...]]) -> _Fencing:
    conditions = pushed.get(id(scan.relation), ())
    texts = tuple(map(printing.print_tree, conditions))
    of_keys = (text for condition, text in zip(conditions, texts, strict=True) if pushing.is_of_key(condition, relation))
    alias = scan.relation.alias
    scan.relation.alias = None
    try:
        bare = printing.print_tree(scan.node)
    finally:
        scan.relation.alias = alias
    named = quoted(relation.name) if alias is None else printing.print_tree(alias)
    return _Fencing(fence, scan, bare, named, conditions, texts, tuple(of_keys))


def _where(conditions: Iterable[str]) -> str:
    parts = " AND ".join(f"({condition})" for condition in conditions)
    return f" WHERE {parts}" if parts else ""


def _put_in(text: str, fencings: Iterable[_Fencing], form: Callable[[_Fencing], str]) -> str:
    """The text with each of these scans in a form of its fence."""
    pieces: list[str] = []
    end = 0
    for fencing in fencings:
        if fencing.scan.start < end:  # a scan within what another one says of its sample
            raise printing.unprintable()
        pieces += [text[end : fencing.scan.start], form(fencing)]
        end = fencing.scan.end
    return "".join((*pieces, text[end:]))


def _check_weight(text: str, printed: Printed, nodes: Sequence[Any], fences: Iterable[_Fence], *, repeats: bool) -> None:
    """Raise Refused where masks make too much of the statement."""
    # The server puts the mask in the place of each reference to its column, unless OFFSET 0 stands around it.
    merged = max((fence.weight for fence in fences if not fence.predicate), default=1)
    if any(fence.query for fence in fences) or (merged > 1 and repeats and not isinstance(nodes[0], ast.ExplainStmt)):
        # Each fence stands where the statement has a scan, so it begins at most as deep as that is.
        run = parse(text, depth=depth_of(printed.text) + _OUTLINE + max(fence.depth for fence in fences))
        expansion.check(_weighed(run))
    elif merged * sum(isinstance(node, ast.ColumnRef) for node in nodes) > expansion.MAX_WEIGHT:
        raise expansion.too_large()


def _weighed(run: Any) -> Any:
    if isinstance(run, ast.ExplainStmt):
        return run.query
    return run if isinstance(run, ast.SelectStmt) else writing.as_select(run)


def _kept(relation: Relation, view: SchemaView, keys: Keys) -> _Fence:
    """Its fence, which is kept with the view."""
    key = ("fence", relation.schema, relation.name, keys)
    if key not in view.kept:
        view.kept[key] = _fence(relation, view, keys)
    fence: _Fence = view.kept[key]
    return fence


def _giving(fence: _Fence, columns: str) -> _Fence:
    """The fence with these columns of the relation, which nobody has otherwise."""
    if not columns:
        return fence
    made, opaque = (", ".join(filter(None, (those, columns))) for those in (fence.columns, fence.opaque))
    _proven(f"SELECT {made} FROM x")  # noqa: S608  quoted names, and printed trees
    return replace(fence, columns=made, opaque=opaque)


def _fence(relation: Relation, view: SchemaView, keys: Keys) -> _Fence:
    masks = {column.name: view.mask(relation, column) for column in relation.columns}
    shown = view.columns(relation)
    columns = ", ".join(_column(column, masks[column.name], view.snapshot.types, keys) for column in shown)
    opaque = ", ".join(_column(column, masks[column.name], view.snapshot.types, keys, opaque=True) for column in shown)
    terms = view.rows.get((relation.schema, relation.name))
    predicate = terms.predicate if terms else ""
    keyed = any(mask is not None and mask.kind is MaskKind.HASH for mask in masks.values())
    text = f"SELECT {columns} FROM x WHERE ({predicate or 'TRUE'}) OFFSET 0"  # noqa: S608  quoted names, and printed trees
    weight = max((sum(map(len, levels(target))) for target in _proven(text) or ()), default=1)
    _proven(f"SELECT {opaque} FROM x")  # noqa: S608  likewise
    query = _query(relation, view, keys) if view.enters(relation) else None
    depth = depth_of(text) + (depth_of(query.text) if query else 0)
    return _Fence(columns, opaque, predicate, keyed or (query is not None and query.keyed), weight, depth, query)


def _query(relation: Relation, view: SchemaView, keys: Keys) -> _Query:
    """What stands in the place of a view. Raises Refused."""
    try:
        body = inside.body(relation, view)
        found = fenced(body.tree, body.printed, body.world, keys[0] - 1, repeats=body.repeats)
        if found is None or not same(body.tree, found.tree):
            raise printing.unprintable()
    except Refused as error:
        # Its words are about a query that the caller did not write.
        message = f"the query of `{relation.name}` cannot be run with masks and row rules inside"
        raise Refused("view", message, "ask its owner, or read what is behind it") from error
    name = quoted(relation.name)
    names = ", ".join(quoted(column.name) for column in relation.columns)
    columns = ", ".join(f"{kept(column, view.snapshot.types)} AS {quoted(column.name)}" for column in relation.columns)
    bound = " OFFSET 0" if view.snapshot.details.relations[relation.schema, relation.name].barrier else ""
    _proven(f"SELECT {columns} FROM x{bound}")  # noqa: S608  quoted names and types of the catalog
    before, behind = f"(SELECT {columns} FROM (", f") AS {name} ({names}){bound}) AS {name}"  # noqa: S608  likewise
    return _Query(f"{before}{found.text}{behind}", found.estimated and f"{before}{found.estimated}{behind}", found.keyed)


def _proven(text: str) -> Any:
    """The select list of a fence that is nothing but list, condition and bound. Raises Refused."""
    select = parse(text)
    outline = parse("SELECT FROM x OFFSET 0" if select.limitOffset is not None else "SELECT FROM x")
    targets = select.targetList
    select.targetList = select.whereClause = None
    if not same(select, outline):
        raise printing.unprintable()
    return targets


def _column(column: ColumnInfo, mask: Mask | None, types: Types, keys: Keys, *, opaque: bool = False) -> str:
    name = quoted(column.name)
    if mask is None:
        # Of a function of columns the planner knows nothing; this one costs it nothing, takes every type and keeps it.
        return f"COALESCE({name}, {name}) AS {name}" if opaque else name
    made = masked(mask, column, types, keys)
    if made is None:  # the view holds masks that take their column alone
        raise printing.unprintable()
    return f"{made} AS {name}"


def _without(tree: Any, fencings: Sequence[_Fencing]) -> Any:
    """The tree with each scan in the place of its outline. Raises Refused unless it holds just these."""
    nodes = [node for level in levels(tree) for node in level]
    wanted = {(fencing.scan.relation.schemaname, fencing.scan.relation.relname) for fencing in fencings}
    target = getattr(tree, "relation", None)
    named = (node for node in nodes if isinstance(node, ast.RangeVar) and node is not target)
    scans = (node for node in named if (node.schemaname, node.relname) in wanted)
    ordered = sorted(scans, key=_place)
    if len(ordered) != len(fencings):
        raise printing.unprintable()
    expected = {id(scan): fencing for scan, fencing in zip(ordered, fencings, strict=True)}
    for node in nodes:
        if isinstance(node, ast.SelectStmt | ast.UpdateStmt) and node.fromClause:
            put(node, "fromClause", tuple(_bare(entry, expected) for entry in node.fromClause))
        elif isinstance(node, ast.DeleteStmt) and node.usingClause:
            put(node, "usingClause", tuple(_bare(entry, expected) for entry in node.usingClause))
        elif isinstance(node, ast.MergeStmt):
            put(node, "sourceRelation", _bare(node.sourceRelation, expected))
        elif isinstance(node, ast.JoinExpr):
            put(node, "larg", _bare(node.larg, expected))
            put(node, "rarg", _bare(node.rarg, expected))
    if expected:
        raise printing.unprintable()
    return tree


def _place(scan: Any) -> int:
    place: int = scan.location
    return place


def _bare(entry: Any, expected: dict[int, _Fencing]) -> Any:
    """The scan inside, where the entry is an outline; else the entry."""
    subquery: Any = entry.subquery if isinstance(entry, ast.RangeSubselect) else None
    sources = subquery.fromClause if subquery is not None else None
    if not sources or len(sources) != 1:
        return entry
    source = sources[0]
    scan = source.relation if isinstance(source, ast.RangeTableSample) else source
    if not isinstance(scan, ast.RangeVar) or id(scan) not in expected:
        return entry
    fencing = expected.pop(id(scan))
    if entry.lateral or scan.alias is not None or not _is_outline(subquery, fencing.conditions):
        raise printing.unprintable()
    alias = entry.alias
    own = fencing.scan.relation.alias is None and alias is not None and alias.aliasname == scan.relname and not alias.colnames
    scan.alias = None if own else alias
    return source


def _is_outline(found: Any, conditions: tuple[Any, ...]) -> bool:
    """Whether a subselect is nothing but a scan with these conditions."""
    kept = found.fromClause, found.whereClause
    if not same(_conjuncts(found.whereClause), conditions):
        return False
    found.fromClause, found.whereClause = None, None
    try:
        return same(found, _NOTHING)
    finally:
        found.fromClause, found.whereClause = kept


def _conjuncts(where: Any) -> tuple[Any, ...]:
    """The parser makes one list of what AND chains, whatever brackets stood around its first part."""
    if where is None:
        return ()
    parts: tuple[Any, ...] = where.args if pushing.is_and(where) else (where,)
    return parts


_NOTHING = parse("SELECT")
