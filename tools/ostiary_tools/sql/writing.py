"""INSERT, UPDATE, DELETE and MERGE: the table that is changed, what is put where, and what is read for it.

The table that is changed is an item of the scope like any other, but it cannot be narrowed: where columns of it are
hidden, masked or withheld, its whole row is not to be had.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pglast import ast, enums

from ostiary_policies.actions import Action
from ostiary_tools.catalogs import Name
from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import ColumnInfo, Relation
from ostiary_tools.sql import reaching, relations, statement
from ostiary_tools.sql.expressions import visit
from ostiary_tools.sql.scope import Env, Field, Item, Output, Scan
from ostiary_tools.sql.tree import levels, nodes, put
from ostiary_tools.sql.work import Work

_EXCLUDED = "excluded"


@dataclass(slots=True)
class Target:
    """The table that is changed, as one statement uses it."""

    relation: Relation
    item: Item
    work: Work
    changes: reaching.Changes = field(default_factory=reaching.Changes)

    @property
    def name(self) -> Name:
        """Schema and name."""
        return (self.relation.schema, self.relation.name)

    @property
    def fenced(self) -> bool:
        """Whether the caller gets other rows or values of it than there are."""
        return self.work.view.fenced(self.relation)

    def column(self, name: str) -> ColumnInfo:
        """The column of that name. Raises Refused."""
        found = next((c for c in self.work.view.columns(self.relation) if c.name == name), None)
        if found is None:
            raise self.work.unknown_column(name, (self.item,))
        return found


def change(node: Any, work: Work) -> Target:
    """Judge a change, rewrite it in place, and say what it changes. Raises Refused."""
    if node.returningClause is not None:
        raise Refused("returning", "`RETURNING` is not run here", "the proposal shows the rows that change")
    level = statement.with_queries(node.withClause, Env(), work)
    target = _target(node.relation, work)
    _CHANGES[type(node)](node, target, level)
    if any(scan.narrow for scan in target.item.scans) and not work.sees_all(target.relation):
        message = f"the whole row of `{target.relation.name}` is used, and not all of it is yours"
        raise Refused("whole_row", message, "name its columns")
    reaching.state(target.relation, target.changes, work)
    return target


def as_select(node: Any) -> Any:
    """A SELECT of all that a change computes, to be weighed in its place."""
    made = statement.parse_template("select")
    sources: Sequence[Any]
    values: Sequence[Any]
    made.withClause = node.withClause
    if isinstance(node, ast.InsertStmt):
        sources, values = (node.selectStmt and ast.RangeSubselect(subquery=node.selectStmt),), (node.onConflictClause,)
    elif isinstance(node, ast.MergeStmt):
        sources, values = (node.sourceRelation,), (node.joinCondition, *nodes(node.mergeWhenClauses))
    elif isinstance(node, ast.UpdateStmt):
        sources, values = nodes(node.fromClause), nodes(node.targetList)
    else:
        sources, values = nodes(node.usingClause), ()
    made.fromClause = tuple(filter(None, sources)) or None
    made.whereClause = getattr(node, "whereClause", None)
    made.targetList = tuple(ast.ResTarget(val=value) for value in values if value is not None) or None
    return made


def _target(node: Any, work: Work) -> Target:
    if node.catalogname:
        raise work.unknown_table(f"{node.catalogname}.{node.schemaname}.{node.relname}")
    relation = relations.resolved(node, work)
    reaching.check_target(relation, work)
    put(node, "schemaname", relation.schema)
    name = None if node.alias is None else str(node.alias.aliasname)
    fields = tuple(Field(c.name, ((relation, c),)) for c in relation.columns)
    item = Item(
        name or relation.name,
        fields,
        (Scan(relation),),
        schema=relation.schema if name is None else None,
        has_ctid=not work.view.fenced(relation),
        base=True,
        target=True,
    )
    return Target(relation, item, work)


def _insert(node: Any, target: Target, level: Env) -> None:
    target.changes.actions[Action.INSERT] = None
    output = _source(node, target, level)
    if node.cols is None and output is not None:
        node.cols = _first_columns(output, target)
    _new_columns(node.cols, (node.selectStmt.valuesLists or ()) if node.selectStmt else (), target)
    if node.onConflictClause is not None:
        _on_conflict(node.onConflictClause, target, level)


def _source(node: Any, target: Target, level: Env) -> Output | None:
    """The columns of what is inserted; `None` for DEFAULT VALUES."""
    if node.selectStmt is None:
        return None
    # The WITH of the statement is in reach, the table is not.
    return statement.select(node.selectStmt, level.child(), target.work)


def _first_columns(output: Output, target: Target) -> tuple[Any, ...]:
    """Without a list the columns are meant from the first on; for the caller these are the visible ones."""
    return _counted(len(output.names), target, unbounded=output.unbounded)


def _counted(count: int, target: Target, *, unbounded: bool = False) -> tuple[Any, ...]:
    shown = target.work.view.columns(target.relation)
    if unbounded:
        raise Refused("columns", "which columns are written is not certain", f"list them: `{target.relation.name} (…)`")
    if count > len(shown):
        raise Refused("columns", f"there are more values than `{target.relation.name}` has columns", "list the columns")
    return tuple(ast.ResTarget(name=column.name) for column in shown[:count])


def _new_columns(names: Any, rows: Sequence[Any], target: Target) -> None:
    """The columns that new rows get values in; without `rows` a query gives them."""
    defaults = any(map(_may_be_default, rows))
    for place, each in enumerate(names or ()):
        _plain_name(each)
        name = target.column(str(each.name)).name
        target.changes.inserted[name] = None
        if defaults:
            target.changes.defaulted[name] = None
        if not rows or not all(_is_default(row, place) for row in rows):
            target.changes.given[name] = None


def _is_default(row: Sequence[Any], place: int) -> bool:
    """Whether the row has DEFAULT there, or nothing, which is the same."""
    return place >= len(row) or isinstance(row[place], ast.SetToDefault)


def _may_be_default(values: Any) -> bool:
    """Whether DEFAULT stands among these values."""
    return any(isinstance(node, ast.SetToDefault) for one in nodes(values) for level in levels(one) for node in level)


def _plain_name(node: Any) -> None:
    if node.indirection:
        raise Refused("assignment", f"a part of `{node.name}` is written", "write the whole value")


def _on_conflict(node: Any, target: Target, level: Env) -> None:
    inside = level.holding((target.item,))
    if node.infer is not None:
        _arbiter(node.infer, target, inside)
    if node.action == enums.OnConflictAction.ONCONFLICT_NOTHING:
        return
    if target.fenced:
        message = f"`ON CONFLICT DO UPDATE` may meet a row of `{target.relation.name}` as you do not have it"
        raise Refused("conflict", message, "write DO NOTHING, or an UPDATE and an INSERT")
    excluded = Item(_EXCLUDED, tuple(Field(c.name) for c in target.work.view.columns(target.relation)))
    both = level.holding((target.item, excluded))
    _assignments(node, target, both)
    put(node, "whereClause", visit(node.whereClause, both, target.work))


def _arbiter(node: Any, target: Target, inside: Env) -> None:
    """The key that decides is named by its columns, which are read: a conflict tells of their values."""
    if node.conname is not None:
        raise Refused("conflict", "`ON CONSTRAINT` names a constraint", "name the columns of the key: `ON CONFLICT (…)`")
    for each in node.indexElems or ():
        if each.collation or each.opclass or each.opclassopts:
            raise Refused("conflict", "the key of `ON CONFLICT` has a collation or class of its own", "name its columns alone")
        if each.name is not None:
            target.work.read(_field(target, str(each.name)), (target.item,), str(each.name))
        put(each, "expr", visit(each.expr, inside, target.work))
    put(node, "whereClause", visit(node.whereClause, inside, target.work))


def _field(target: Target, name: str) -> Field:
    target.column(name)
    return next(each for each in target.item.fields if each.name == name)


def _assignments(node: Any, target: Target, level: Env) -> None:
    """The SET of an UPDATE, of ON CONFLICT and of MERGE."""
    target.changes.actions[Action.UPDATE] = None
    for each in node.targetList or ():
        _plain_name(each)
        name = target.column(str(each.name)).name
        target.changes.updated[name] = None
        put(each, "val", visit(each.val, level, target.work))
        if not isinstance(each.val, ast.SetToDefault):
            target.changes.given[name] = None
        if _may_be_default(each.val):
            target.changes.defaulted[name] = None


def _update(node: Any, target: Target, level: Env) -> None:
    scans = relations.Scans()
    sources, inside = _beside(node.fromClause, target, level, scans)
    _assignments(node, target, inside)
    put(node, "whereClause", visit(node.whereClause, inside, target.work))
    node.fromClause = tuple(relations.narrowed(source, scans, target.work) for source in sources) or None


def _delete(node: Any, target: Target, level: Env) -> None:
    target.changes.actions[Action.DELETE] = None
    scans = relations.Scans()
    sources, inside = _beside(node.usingClause, target, level, scans)
    put(node, "whereClause", visit(node.whereClause, inside, target.work))
    node.usingClause = tuple(relations.narrowed(source, scans, target.work) for source in sources) or None


def _beside(nodes: Any, target: Target, level: Env, scans: relations.Scans) -> tuple[tuple[Any, ...], Env]:
    """What stands beside the table, which does not see it, and the level of both."""
    sources, beside = relations.from_clause(nodes or (), level, target.work, scans)
    return sources, beside.holding((target.item, *beside.items))


def _merge(node: Any, target: Target, level: Env) -> None:
    if target.fenced:
        message = f"`MERGE` may meet a row of `{target.relation.name}` as you do not have it"
        raise Refused("merge", message, "write UPDATE, DELETE and INSERT by themselves")
    scans = relations.Scans()
    (source,), beside = relations.from_clause((node.sourceRelation,), level, target.work, scans)
    both = beside.holding((target.item, *beside.items))
    put(node, "joinCondition", visit(node.joinCondition, both, target.work))
    for when in node.mergeWhenClauses:
        _when(when, target, {_MATCHED: both, _NO_TARGET: beside, _NO_SOURCE: level.holding((target.item,))}[when.matchKind])
    put(node, "sourceRelation", relations.narrowed(source, scans, target.work))


def _when(node: Any, target: Target, level: Env) -> None:
    put(node, "condition", visit(node.condition, level, target.work))
    match node.commandType:
        case enums.CmdType.CMD_UPDATE:
            _assignments(node, target, level)
        case enums.CmdType.CMD_DELETE:
            target.changes.actions[Action.DELETE] = None
        case enums.CmdType.CMD_INSERT:
            _insert_of_merge(node, target, level)


def _insert_of_merge(node: Any, target: Target, level: Env) -> None:
    target.changes.actions[Action.INSERT] = None
    put(node, "values", visit(node.values, level, target.work))
    if node.targetList is None and node.values:
        node.targetList = _counted(len(node.values), target)
    _new_columns(node.targetList, (node.values,) if node.values else (), target)


_MATCHED = enums.MergeMatchKind.MERGE_WHEN_MATCHED
_NO_TARGET = enums.MergeMatchKind.MERGE_WHEN_NOT_MATCHED_BY_TARGET
_NO_SOURCE = enums.MergeMatchKind.MERGE_WHEN_NOT_MATCHED_BY_SOURCE
_CHANGES: Mapping[type, Callable[[Any, Target, Env], None]] = {
    ast.InsertStmt: _insert,
    ast.UpdateStmt: _update,
    ast.DeleteStmt: _delete,
    ast.MergeStmt: _merge,
}
