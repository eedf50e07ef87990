"""GROUP BY a key, written out: the server takes a table's primary key for all its columns, and behind a fence knows no key.

The columns are added that the query uses of such a table. They follow from the key, so the groups stay what they are.
"""

from collections.abc import Iterator
from typing import Any

from pglast import ast

from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import Relation, RelationKind
from ostiary_tools.sql import calls
from ostiary_tools.sql.tree import levels, nodes
from ostiary_tools.view import SchemaView

_QUALIFIED = 2
"""Words of a column's name with its table's."""


_WITHOUT_EQUALITY = frozenset({"json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle", "jsonpath"})
"""Types that the server groups nothing by."""


def complete(tree: Any, view: SchemaView) -> None:
    """Add to each GROUP BY of a judged tree what its keys stand for, in place.

    Raises Refused where a key does not hold, and where none is found to stand for anything.
    """
    added = [
        _complete(node, view)
        for level in levels(tree)
        for node in level
        if isinstance(node, ast.SelectStmt) and node.groupClause and not _has_sets(node)
    ]
    if not any(added):
        raise Refused("grouping", "which columns a key in GROUP BY stands for is not certain", "name them in GROUP BY")


def _has_sets(select: Any) -> bool:
    return any(isinstance(part, ast.GroupingSet) for part in select.groupClause)


def _complete(select: Any, view: SchemaView) -> bool:
    """Whether anything was added."""
    before = len(select.groupClause)
    scans = list(_scans(select.fromClause))
    alone = len(scans) == 1 and len(select.fromClause) == 1
    for scan in scans:
        relation = view.snapshot.relations.get((scan.schemaname, scan.relname))
        if relation is None or not relation.primary_key:
            continue
        name = scan.relname if scan.alias is None else scan.alias.aliasname
        grouped = {column for part in select.groupClause if (column := _column(part, name, alone=alone))}
        if grouped.issuperset(relation.primary_key):
            missing = [column for column in dict.fromkeys(_used(select, name, relation, alone=alone)) if column not in grouped]
            _check_key(relation, view, missing)
            select.groupClause = (*select.groupClause, *(_reference(name, column) for column in missing))
    return len(select.groupClause) > before


def _scans(entries: Any) -> Iterator[Any]:
    """The relations of a FROM list, in joins too."""
    for entry in entries or ():
        if isinstance(entry, ast.RangeVar) and entry.schemaname is not None:
            yield entry
        elif isinstance(entry, ast.JoinExpr) and entry.alias is None:
            yield from _scans((entry.larg, entry.rarg))


def _column(node: Any, name: str, *, alone: bool) -> str:
    """The column of that entry which a reference names, or an empty text."""
    if not isinstance(node, ast.ColumnRef) or not all(isinstance(part, ast.String) for part in node.fields or ()):
        return ""
    words = calls.parts(node.fields)
    if len(words) == 1:
        return words[0] if alone else ""
    return words[1] if len(words) == _QUALIFIED and words[0] == name else ""


def _used(select: Any, name: str, relation: Relation, *, alone: bool) -> Iterator[str]:
    """Columns of the entry that stand where groups are made something of; one too many does no harm."""
    for part in (select.targetList, select.havingClause, select.sortClause, select.distinctClause, select.windowClause):
        for root in nodes(part):
            for level in levels(root):
                for node in level:
                    column = _column(node, name, alone=alone)
                    if column and relation.column(column) is not None:
                        yield column


def _check_key(relation: Relation, view: SchemaView, missing: list[str]) -> None:
    """Raise Refused where other columns do not follow from the key, as the caller gets it."""
    masked = any(view.mask(relation, column) for column in relation.columns if column.name in relation.primary_key)
    inherited = relation.has_children and relation.kind is RelationKind.TABLE
    kinds = [column.kind for column in relation.columns if column.name in missing]
    unequal = any(kind is None or kind[1].removeprefix("_") in _WITHOUT_EQUALITY for kind in kinds)
    if missing and (masked or inherited or unequal):
        raise Refused("grouping", f"the key of `{relation.name}` does not stand for its other columns", "name them in GROUP BY")


def _reference(name: str, column: str) -> Any:
    return ast.ColumnRef(fields=(ast.String(name), ast.String(column)))
