"""Fences: in the text that is run, a scan gives the rows and masks its caller may have in the place of a table's own.

The judged statement stays as it is; its fenced text differs by one subselect for each scan of a relation with masks or
row rules. Nothing outside a fence can name the relation's own values, so whatever a statement does, it does to masks.
With row rules stands OFFSET 0, which keeps the planner from computing anything of the statement for a row before the
rules allowed it; conditions that cannot tell of a row by failing are repeated within, so that indexes serve them.

The text is proven before it is used: parsed again and with its fences taken out it is the judged statement.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pglast import ast

from ostiary_policies.masks import Mask, MaskKind
from ostiary_tools.snapshot import ColumnInfo, Name, Relation
from ostiary_tools.sql import expansion, printing, pushing
from ostiary_tools.sql.masking import Keys, Types, masked, quoted
from ostiary_tools.sql.parse import depth_of, parse
from ostiary_tools.sql.tree import levels, put, same
from ostiary_tools.view import SchemaView

_CONDITION = 20
"""Levels that a condition of the statement within a fence adds at most: it compares a column with constants."""


@dataclass(frozen=True, slots=True)
class Fenced:
    """The text that is run in the place of a judged one."""

    text: str
    keyed: bool
    """It takes the halves of the hash key as its last two parameters."""
    tree: Any
    """The judged tree again, from this text."""


@dataclass(frozen=True, slots=True)
class _Fence:
    """What stands around a scan of one relation."""

    columns: str
    """The select list."""
    predicate: str
    """Empty where the caller has all rows."""
    keyed: bool
    select: Any
    """The subselect without a condition of any statement, as a tree nobody changes."""
    weight: int
    """Nodes of its longest column."""
    depth: int
    """A bound on its levels, and those of any condition beside."""


@dataclass(slots=True)
class _Fences:
    """Those of one statement, in the order they are written."""

    known: Mapping[Name, _Fence]
    pushed: Mapping[int, tuple[Any, ...]]
    """Conditions by the identity of the scan's node."""
    written: list[tuple[_Fence, Any]] = field(default_factory=list)
    """With the node of the scan."""

    def around(self, scan: Any) -> tuple[str, str] | None:
        """What is written before and behind a scan."""
        fence = self.known.get((scan.schemaname, scan.relname))
        if fence is None:
            return None
        self.written.append((fence, scan))
        conditions = [printing.print_tree(condition) for condition in self.pushed.get(id(scan), ())]
        return _around(fence.columns, fence.predicate, conditions)


def fenced(tree: Any, printed: str, view: SchemaView, parameters: int, *, repeats: bool) -> Fenced | None:
    """The fenced text of a judged tree with so many parameters; `None` when nothing of it needs a fence. Raises Refused.

    `repeats` says that the server may write down parts of the statement more than once.
    """
    if not (view.masked or view.rows):
        return None
    nodes = [node for level in levels(tree) for node in level]
    known = _known(nodes, view, (parameters + 1, parameters + 2))
    if not known:
        return None
    fences = _Fences(known, pushing.pushed(nodes, view) if any(fence.predicate for fence in known.values()) else {})
    text = printing.print_tree(tree, fences.around)
    # Each fence stands where the statement has a scan, so it begins at most as deep as that is.
    run = parse(text, depth=depth_of(printed) + max(fence.depth for fence in known.values()))
    merged = max((fence.weight for fence in known.values() if not fence.predicate), default=1)
    # The server puts the mask in the place of each reference to its column, unless OFFSET 0 stands around it.
    if merged > 1 and repeats and isinstance(run, ast.SelectStmt):
        expansion.check(run)
    elif merged * sum(isinstance(node, ast.ColumnRef) for node in nodes) > expansion.MAX_WEIGHT:
        raise expansion.too_large()
    again = _without(run, fences)
    if not same(tree, again):
        raise printing.unprintable()
    return Fenced(text, any(fence.keyed for fence in known.values()), again)


def _of(node: Any, known: Mapping[Name, _Fence]) -> _Fence | None:
    return known.get((node.schemaname or "", node.relname or "")) if isinstance(node, ast.RangeVar) else None


def _known(nodes: Iterable[Any], view: SchemaView, keys: Keys) -> Mapping[Name, _Fence]:
    """The fences that these nodes need, by relation; they are kept with the view."""
    names = {(node.schemaname or "", node.relname or "") for node in nodes if isinstance(node, ast.RangeVar)}
    relations = [r for name in names if (r := view.snapshot.relations.get(name)) is not None and view.fenced(r)]
    found: dict[Name, _Fence] = {}
    for relation in relations:
        key = ("fence", relation.schema, relation.name, keys)
        if key not in view.kept:
            view.kept[key] = _fence(relation, view, keys)
        found[relation.schema, relation.name] = view.kept[key]
    return found


def _fence(relation: Relation, view: SchemaView, keys: Keys) -> _Fence:
    masks = {column.name: view.mask(relation, column) for column in relation.columns}
    columns = ", ".join(_column(column, masks[column.name], view.snapshot.types, keys) for column in view.columns(relation))
    terms = view.rows.get((relation.schema, relation.name))
    predicate = terms.predicate if terms else ""
    before, behind = _around(columns, predicate, ())
    text = f"{before}{quoted(relation.schema)}.{quoted(relation.name)}{behind}"[1:-1]
    keyed = any(mask is not None and mask.kind is MaskKind.HASH for mask in masks.values())
    select = parse(text)
    weight = max((sum(map(len, levels(target))) for target in select.targetList or ()), default=1)
    return _Fence(columns, predicate, keyed, select, weight, depth_of(text) + _CONDITION)


def _around(columns: str, predicate: str, conditions: Sequence[str]) -> tuple[str, str]:
    ruled = f" WHERE {' AND '.join(f'({part})' for part in (predicate, *conditions))} OFFSET 0" if predicate else ""
    return f"(SELECT {columns} FROM ", f"{ruled})"  # noqa: S608  names are quoted, all else is made here or printed from trees


def _column(column: ColumnInfo, mask: Mask | None, types: Types, keys: Keys) -> str:
    name = quoted(column.name)
    if mask is None:
        return name
    made = masked(mask, column, types, keys)
    if made is None:  # the view holds masks that take their column alone
        raise printing.unprintable()
    return f"{made} AS {name}"


def _without(tree: Any, fences: _Fences) -> Any:
    """The tree with each scan in its fence's place. Raises Refused unless it holds just the fences that were written."""
    nodes = [node for level in levels(tree) for node in level]
    scans = sorted((node for node in nodes if _of(node, fences.known) is not None), key=_place)
    if len(scans) != len(fences.written):
        raise printing.unprintable()
    pairs = zip(scans, fences.written, strict=True)
    expected = {id(scan): (fence, node, fences.pushed.get(id(node), ())) for scan, (fence, node) in pairs}
    for node in nodes:
        if isinstance(node, ast.SelectStmt) and node.fromClause:
            put(node, "fromClause", tuple(_bare(entry, expected) for entry in node.fromClause))
        elif isinstance(node, ast.JoinExpr):
            put(node, "larg", _bare(node.larg, expected))
            put(node, "rarg", _bare(node.rarg, expected))
    if expected:
        raise printing.unprintable()
    return tree


def _place(scan: Any) -> int:
    place: int = scan.location
    return place


def _bare(entry: Any, expected: dict[int, tuple[_Fence, Any, tuple[Any, ...]]]) -> Any:
    """The scan inside, where the entry is a fence; else the entry."""
    subquery: Any = entry.subquery if isinstance(entry, ast.RangeSubselect) else None
    sources = subquery.fromClause if subquery is not None else None
    if not sources or len(sources) != 1:
        return entry
    source = sources[0]
    scan = source.relation if isinstance(source, ast.RangeTableSample) else source
    if not isinstance(scan, ast.RangeVar) or id(scan) not in expected:
        return entry
    fence, node, pushed = expected.pop(id(scan))
    if entry.lateral or scan.alias is not None or not _is_fence(subquery, fence.select, pushed):
        raise printing.unprintable()
    alias = entry.alias
    own = node.alias is None and alias is not None and alias.aliasname == scan.relname and not alias.colnames
    scan.alias = None if own else alias
    return source


def _is_fence(found: Any, select: Any, pushed: tuple[Any, ...]) -> bool:
    """Whether a subselect is the fence's, over any scan of its relation and with these conditions behind its own."""
    kept = found.fromClause, found.whereClause
    conditions = (*_conjuncts(select.whereClause), *pushed)
    if not same(_conjuncts(found.whereClause), conditions):
        return False
    found.fromClause, found.whereClause = select.fromClause, select.whereClause
    try:
        return same(found, select)
    finally:
        found.fromClause, found.whereClause = kept


def _conjuncts(where: Any) -> tuple[Any, ...]:
    """The parser makes one list of what AND chains, whatever brackets stood around its first part."""
    if where is None:
        return ()
    parts: tuple[Any, ...] = where.args if pushing.is_and(where) else (where,)
    return parts
