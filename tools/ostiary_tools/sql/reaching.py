"""What a change does besides what its statement says: defaults, checks, triggers, and foreign keys that change other tables.

Each is an access like those that are written: to the functions that run, and to the tables and columns that the database
changes by itself. A change is refused that could fail by a value which the caller may not read: by a key that a row holds
already, or by a check that compares what is written with what is not.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from pglast import ast

from ostiary_policies.actions import Action
from ostiary_policies.model import Access
from ostiary_tools.ancestry import ancestors, descendants
from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import ColumnInfo, ForeignKey, Index, Name, Relation, RelationKind
from ostiary_tools.sql.parse import parse
from ostiary_tools.sql.tree import levels, nodes
from ostiary_tools.sql.work import Work
from ostiary_tools.view import SchemaView

_CASCADE, _SET_DEFAULT = "c", "d"
_REACHING = frozenset({_CASCADE, "n", _SET_DEFAULT})
_TABLES = frozenset({RelationKind.TABLE, RelationKind.PARTITIONED_TABLE})


@dataclass(slots=True)
class Changes:
    """What a statement changes of the table that it names. Mutable while the statement is judged."""

    actions: dict[Action, None] = field(default_factory=dict)
    inserted: dict[str, None] = field(default_factory=dict)
    """Columns that new rows get a value in."""
    updated: dict[str, None] = field(default_factory=dict)
    """Columns that old rows get another value in."""
    defaulted: dict[str, None] = field(default_factory=dict)
    """Those of both that may get their default."""
    given: dict[str, None] = field(default_factory=dict)
    """Those of both that may get another value than their default: the statement computes it."""


def check_target(relation: Relation, work: Work) -> None:
    """Refuse what is no table of its own: writing to it would write to something else. Raises Refused."""
    name = relation.name
    if relation.kind not in _TABLES:
        raise Refused("target", f"`{name}` is a {relation.kind}, and rows are written to tables", "name the table behind it")
    if _above(work.view).get((relation.schema, name)):
        raise Refused("target", f"`{name}` is a part of another table", "write to the table that it is a part of")
    for part in whole(relation, work.view):
        if part.rewritten:
            raise Refused("target", f"rules of the database rewrite what is written to `{name}`", "ask its owner")
        if part.kind is RelationKind.FOREIGN_TABLE:
            raise Refused("target", f"a part of `{name}` is a table of another server", "ask its owner")
    if (terms := work.view.rows.get((relation.schema, name))) is not None and terms.refusal:
        raise Refused("row_rule", terms.refusal, "ask its owner")


def state(relation: Relation, changes: Changes, work: Work) -> None:
    """State all that these changes of a table do. Raises Refused."""
    _check_told(relation, changes, work.view)
    reaching = _Reaching(work)
    if Action.INSERT in changes.actions:
        given = changes.inserted.keys() - changes.defaulted.keys()
        reaching.insert(relation, changes.inserted, [column for column in relation.columns if column.name not in given])
    if Action.UPDATE in changes.actions:
        reaching.update(relation, changes.updated, [column for column in relation.columns if column.name in changes.defaulted])
    if Action.DELETE in changes.actions:
        reaching.delete(relation)


class _Reaching:
    """From one table to those that foreign keys change with it; each change of a table is followed once."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._seen: set[tuple[Name, Action, frozenset[str]]] = set()

    def insert(self, relation: Relation, columns: Collection[str], filled: Collection[ColumnInfo]) -> None:
        """Rows are added with values in these columns, and with the defaults of others."""
        self._write(relation, Action.INSERT, columns)
        self._fill(relation, filled)

    def update(self, relation: Relation, columns: Collection[str], filled: Collection[ColumnInfo]) -> None:
        """These columns are set, some of them to their defaults."""
        if self._is_new(relation, Action.UPDATE, columns):
            self._write(relation, Action.UPDATE, columns)
            self._fill(relation, filled)
            computed = _computed(relation, columns, self._work.view)
            for child, key in _keys_to(relation, self._work.view):
                if key.on_update in _REACHING and not computed.isdisjoint(key.target_columns):
                    self._set(relation, child, key, defaults=key.on_update == _SET_DEFAULT)

    def delete(self, relation: Relation) -> None:
        """Rows are taken away."""
        if not self._is_new(relation, Action.DELETE, ()):
            return
        self._write(relation, Action.DELETE, ())
        for child, key in _keys_to(relation, self._work.view):
            if key.on_delete == _CASCADE:
                self._check_seen(relation, child, ())
                self.delete(child)
            elif key.on_delete in _REACHING:
                self._set(relation, child, key, defaults=key.on_delete == _SET_DEFAULT)

    def _is_new(self, relation: Relation, action: Action, columns: Collection[str]) -> bool:
        key = ((relation.schema, relation.name), action, frozenset(columns))
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def _set(self, relation: Relation, child: Relation, key: ForeignKey, *, defaults: bool) -> None:
        self._check_seen(relation, child, key.columns)
        if any(_telling(child, Changes(updated=dict.fromkeys(key.columns)), self._work.view)):
            message = (
                f"a change of `{relation.name}` would change what refers to it, and could fail by values that you may not read"
            )
            raise Refused("reach", message, "ask its owner")
        self.update(child, key.columns, [column for column in child.columns if defaults and column.name in key.columns])

    def _check_seen(self, relation: Relation, child: Relation, columns: Collection[str]) -> None:
        shown = {column.name for column in self._work.view.columns(child)}
        if not self._work.view.sees(child) or not shown.issuperset(columns) or child.rewritten:
            message = f"a change of `{relation.name}` would change what refers to it, and not all of that is yours to change"
            raise Refused("reach", message, "ask its owner")

    def _write(self, relation: Relation, action: Action, columns: Collection[str]) -> None:
        work, datasource = self._work, self._work.view.datasource
        work.accesses.add(Access(action, relation.resource(datasource)))
        for column in relation.columns:
            if column.name in columns:
                work.accesses.add(Access(action, relation.column_resource(datasource, column)))
                self._convert(relation, column)
        for part in whole(relation, work.view):
            owner = f"{relation.schema}.{relation.name}"
            work.run((*part.runs, *(() if action is Action.DELETE else part.writes)), owner, writes=True)
            fired = (trigger.function for trigger in part.triggers if action in trigger.events)
            work.run((function for function in fired if function[0] != "pg_catalog"), owner, writes=True)

    def _fill(self, relation: Relation, columns: Collection[ColumnInfo]) -> None:
        for column in columns:
            self._work.run((*column.fills, *column.runs), f"{relation.schema}.{relation.name}.{column.name}", writes=True)

    def _convert(self, relation: Relation, column: ColumnInfo) -> None:
        """A value is made one of the column's type, by whatever cast there is."""
        work, owner = self._work, f"{relation.schema}.{relation.name}.{column.name}"
        work.run(column.runs, owner, writes=True)
        schema, name = column.kind or ("", "")
        for kind in {(schema, name), (schema, name.removeprefix("_"))}:
            if (known := work.view.snapshot.types.get(kind)) is not None:
                work.run(known.functions, owner, writes=True)
            work.run([cast.function for cast in work.view.snapshot.casts.get(kind, ())], owner, writes=True)


def _check_told(relation: Relation, changes: Changes, view: SchemaView) -> None:
    """Refuse to write what could fail by a value that the caller may not read. Raises Refused."""
    for rule, columns in _telling(relation, changes, view):
        written = (*dict.fromkeys((*changes.inserted, *changes.updated)),)
        told = [f"`{name}`" for name in written if not _computed(relation, (name,), view).isdisjoint(columns)]
        message, hint = _TOLD[rule]
        raise Refused("check" if rule == "check" else "key", message.format(" and ".join(told)), hint)


_TOLD = {
    "key": (
        "{} would have to differ from values that you may not read: that it does not would tell of them",
        "leave it to its default, where it has one, or ask its owner",
    ),
    "check": ("{} is checked together with values that you may not read", "ask its owner"),
    "reference": ("{} would have to be one of values that you may not read", "leave it to its default, or ask its owner"),
}


def _telling(relation: Relation, changes: Changes, view: SchemaView) -> Iterator[tuple[str, Collection[str]]]:
    """What holds these changes against values that the caller may not read, and by which columns."""
    readable = {column.name for column in view.readable_columns(relation)}
    written = _computed(relation, (*changes.inserted, *changes.updated), view)
    updated = _computed(relation, changes.updated, view)
    ruled = (relation.schema, relation.name) in view.rows
    for columns in _keys_of(relation, view):
        if not written.isdisjoint(columns) and (ruled or not readable.issuperset(columns)):
            yield "key", columns
    for columns in _computed_from(relation, view):
        if not updated.isdisjoint(columns) and not (readable | updated).issuperset(columns):
            yield "check", columns
    for key in (key for part in whole(relation, view) for key in part.foreign_keys):
        if not written.isdisjoint(key.columns) and not _may_read(key, view):
            yield "reference", key.columns


def _computed(relation: Relation, columns: Collection[str], view: SchemaView) -> frozenset[str]:
    """These columns, and the generated ones that are computed from them."""
    details = view.snapshot.details.columns
    known = (
        (column.name, details.get((part.schema, part.name, column.name)))
        for part in whole(relation, view)
        for column in part.columns
    )
    uses = [(name, detail.uses) for name, detail in known if detail is not None]
    found = frozenset(columns)
    while more := {name for name, used in uses if name not in found and not found.isdisjoint(used)}:
        found |= more
    return found


def _may_read(key: ForeignKey, view: SchemaView) -> bool:
    """Whether the caller may read the values that the key refers to."""
    target = view.snapshot.relations.get((key.target_schema, key.target_table))
    return target is not None and {column.name for column in view.readable_columns(target)}.issuperset(key.target_columns)


def _keys_of(relation: Relation, view: SchemaView) -> Iterator[Collection[str]]:
    """What no two rows of it have alike, or such that they exclude each other."""
    details = view.snapshot.details
    for part in whole(relation, view):
        for index in part.indexes:
            known = details.indexes.get((part.schema, index.name))
            if index.unique or known is None or known.exclusion:
                yield _columns(part, index, view)
        indexed = {index.name for index in part.indexes}
        constraints = details.constraints.get((part.schema, part.name), ())
        if any(one.kind == "x" and one.index not in indexed for one in constraints):
            yield tuple(column.name for column in part.columns)


def _computed_from(relation: Relation, view: SchemaView) -> Iterator[Collection[str]]:
    """What is computed together when a row changes: checks, stored columns, expressions of indexes."""
    details = view.snapshot.details
    for part in whole(relation, view):
        name = (part.schema, part.name)
        everything = tuple(column.name for column in part.columns)
        for constraint in details.constraints.get(name, ()):
            if constraint.kind == "c":
                yield everything if constraint.whole_row else constraint.columns
        yield from (one.uses for column in part.columns if (one := details.columns.get((*name, column.name))) and one.uses)
        for index in part.indexes:
            known = details.indexes.get((part.schema, index.name))
            if known is None or known.expressions or known.predicate:
                yield _columns(part, index, view)


def _columns(relation: Relation, index: Index, view: SchemaView) -> Collection[str]:
    """Columns that an index computes with; where all of its parts are expressions, the database says that it depends on all."""
    known = view.snapshot.details.indexes.get((relation.schema, index.name))
    if known is None:
        return index.columns
    try:
        where = f" WHERE {known.predicate}" if known.predicate else ""
        tree = parse(f"SELECT {known.expressions}{where}")
    except Refused:
        return index.columns
    refs = [node for level in levels(tree) for node in level if isinstance(node, ast.ColumnRef)]
    names = {str(part.sval) for ref in refs for part in nodes(ref.fields)[-1:] if isinstance(part, ast.String)}
    return names.union(filter(None, known.columns)) if names <= set(index.columns) else index.columns


def _keys_to(relation: Relation, view: SchemaView) -> Iterator[tuple[Relation, ForeignKey]]:
    """Every foreign key that refers to rows of it."""
    for part in whole(relation, view):
        yield from view.snapshot.references.get((part.schema, part.name), ())


def whole(relation: Relation, view: SchemaView) -> Iterator[Relation]:
    """The table and all of its parts."""
    yield relation
    if "parts" not in view.kept:
        view.kept["parts"] = descendants(_above(view))
    for name in view.kept["parts"].get((relation.schema, relation.name), ()):
        yield view.snapshot.relations[name]


def _above(view: SchemaView) -> Mapping[Name, Collection[Name]]:
    if "above" not in view.kept:
        view.kept["above"] = ancestors(view.snapshot)
    known: Mapping[Name, Collection[Name]] = view.kept["above"]
    return known
