"""Whether the order of a statement's rows tells each row from every other, which going on by key needs.

Reads a judged text and answers only what it can prove from the unique keys of the
schema: for tables, joined or alone, whose rows each appear at most once. What it
cannot prove it says nothing about, and such a result is paged by position.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from pglast import ast, enums

from ostiary_tools.position import SortKey
from ostiary_tools.sql import calls
from ostiary_tools.sql.joins import PLAIN_TYPES, Column, Tables, tables_of, type_of
from ostiary_tools.sql.naming import column_name
from ostiary_tools.sql.parse import parse
from ostiary_tools.view import SchemaView


def sort_keys(text: str, view: SchemaView) -> tuple[SortKey, ...]:
    """The leading columns of ORDER BY that together are different for any two rows; empty when that cannot be proven.

    `text` is a judged statement. Raises nothing.
    """
    if "ORDER BY" not in text:  # which a printed text writes in no other way
        return ()
    tree = parse(text)
    if type(tree).__name__ != "SelectStmt" or not _is_plain(tree):
        return ()
    tables = tables_of(tree, view)
    if tables is None or not _each_row_once(tree, view):
        return ()
    outputs = [tables.column(target.val) for target in tree.targetList or ()]
    keys: list[SortKey] = []
    fixed: set[Column] = set()
    for item in tree.sortClause:
        place = None if item.useOp else _place(item.node, tree.targetList, outputs, tables)
        column = None if place is None else outputs[place - 1]
        if place is None or column is None or type_of(tables.info(column)) not in PLAIN_TYPES:
            return ()
        keys.append(_key(item, place, nullable=tables.may_be_null(column)))
        fixed.add(column)
        if tables.determined_by(fixed):
            return tuple(keys)
    return ()


def _is_plain(tree: Any) -> bool:
    """Sorted rows of tables, as many as there are: nothing grouped, made distinct, counted off or locked."""
    absent = (tree.distinctClause, tree.groupClause, tree.havingClause, tree.limitCount, tree.limitOffset, tree.lockingClause)
    return bool(tree.op == enums.SetOperation.SETOP_NONE and not tree.valuesLists and tree.sortClause and not any(absent))


def _each_row_once(tree: Any, view: SchemaView) -> bool:
    """No output expression multiplies rows, and none is a star whose columns we would have to count."""
    for target in tree.targetList or ():
        for node in _nodes(target.val):
            if isinstance(node, ast.A_Star):
                return False
            if isinstance(node, ast.FuncCall) and not _is_scalar(calls.parts(node.funcname)[-1], view):
                return False
    return True


def _is_scalar(name: str, view: SchemaView) -> bool:
    found = [f for (_, known), overloads in view.snapshot.functions.items() if known == name for f in overloads]
    return bool(found) and not any(f.result.startswith(("SETOF ", "TABLE(")) for f in found)


def _nodes(root: Any) -> Iterator[Any]:
    """Every node below, those of subqueries apart: what these do with rows is their own affair."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, tuple):
            waiting.extend(node)
        elif isinstance(node, ast.Node) and not isinstance(node, ast.SelectStmt):
            yield node
            waiting.extend(getattr(node, name) for name in node)


def _place(node: Any, targets: Any, outputs: list[Column | None], tables: Tables) -> int | None:
    """The output column an ORDER BY item stands for: by number, by output name, or as the same column of a table."""
    if type(node).__name__ == "A_Const":
        number = getattr(node.val, "ival", None) or 0
        return number if 0 < number <= len(outputs) else None
    name = calls.bare_name(node)
    named = [n for n, target in enumerate(targets, 1) if name is not None and (target.name or column_name(target.val)) == name]
    if named:
        return _only(named, outputs)
    column = tables.column(node)
    return next((n for n, output in enumerate(outputs, 1) if column is not None and output == column), None)


def _only(places: Iterable[int], outputs: list[Column | None]) -> int | None:
    """The first of these when all are the same column."""
    first, *rest = places
    return first if all(outputs[n - 1] == outputs[first - 1] for n in rest) else None


def _key(item: Any, place: int, *, nullable: bool) -> SortKey:
    descending = item.sortby_dir == enums.SortByDir.SORTBY_DESC
    nulls_first = descending  # unless said otherwise
    if item.sortby_nulls != enums.SortByNulls.SORTBY_NULLS_DEFAULT:
        nulls_first = item.sortby_nulls == enums.SortByNulls.SORTBY_NULLS_FIRST
    return SortKey(place, descending, nulls_first, nullable)
