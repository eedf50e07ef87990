"""Definitions that take a name away: DROP and RENAME."""

from collections.abc import Callable, Mapping
from typing import Any

from pglast import ast, enums

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Schema
from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import ColumnInfo, Relation, RelationKind
from ostiary_tools.sql import calls, designs
from ostiary_tools.sql.work import Work

_OBJECTS = enums.ObjectType
_VIEWS = frozenset({RelationKind.VIEW})


def drop(tree: Any, work: Work) -> None:
    """Judge a DROP. Raises Refused."""
    check_plain(tree)
    if tree.concurrent:
        raise not_in_a_change()
    handler = _DROPS.get(tree.removeType)
    if handler is None:
        word = tree.removeType.name.removeprefix("OBJECT_").replace("_", " ").lower()
        raise Refused(
            "definition_kind", f"a {word} is not dropped here", "tables, views, indexes, sequences, enums and schemas are"
        )
    tree.objects = tuple(handler(each, work) for each in tree.objects)


def check_plain(tree: Any) -> None:
    """Raise Refused for CASCADE and IF EXISTS."""
    if tree.behavior == enums.DropBehavior.DROP_CASCADE:
        raise Refused("cascade", "`CASCADE` takes along what hangs on it, whoever it belongs to", "drop what hangs on it first")
    if tree.missing_ok:
        raise designs.uncertain("IF EXISTS")


def not_in_a_change() -> Refused:
    """The refusal of what cannot be taken back by rolling back."""
    hint = "leave CONCURRENTLY out, or have a person run it with `ostiary migrate`"
    return Refused("definition", "`CONCURRENTLY` runs outside a transaction, and a change is one", hint)


def check_untagged(*things: Relation | ColumnInfo) -> None:
    """Raise Refused when policies may go by a tag of it: the tag stays with the name, or goes with the comment."""
    if any(thing.tags for thing in things):
        raise Refused("tags", "policies go by tags, and a tag would be lost with the name", "ask its owner")


def check_unused(relation: Relation, column: str, work: Work) -> None:
    """Raise Refused when a foreign key or a view uses it, or one column of it; only visible ones are named."""
    name = (relation.schema, relation.name)
    snapshot = work.view.snapshot
    keys = [
        user
        for user, key in snapshot.references.get(name, ())
        if user is not relation and (not column or column in key.target_columns)
    ]
    views = [
        snapshot.relations[user]
        for user, detail in snapshot.details.relations.items()
        if user in snapshot.relations and any(used[:2] == name and column in ("", used[2]) for used in detail.uses)
    ]
    if not (users := (*keys, *views)):
        return
    shown = sorted({f"`{user.schema}.{user.name}`" for user in users if work.view.sees(user)})
    hint = f"change first: {', '.join(shown)}" if shown else "ask its owner"
    raise Refused("in_use", f"`{column or relation.name}` is used by others", hint)


def _table(names: Any, work: Work) -> Any:
    relation = designs.relation_named(calls.parts(names), work, designs.TABLES)
    check_untagged(relation, *relation.columns)
    check_unused(relation, "", work)
    designs.define(relation, work)
    # Its rows go with it, of its parts too.
    designs.check_rows(relation, work)
    for each in (relation, *designs.parts(relation, work)):
        work.accesses.add(Access(Action.DELETE, each.resource(work.view.datasource)))
    return _words(relation.schema, relation.name)


def _view(names: Any, work: Work) -> Any:
    relation = designs.relation_named(calls.parts(names), work, _VIEWS)
    check_untagged(relation, *relation.columns)
    check_unused(relation, "", work)
    designs.define(relation, work)
    return _words(relation.schema, relation.name)


def _index(names: Any, work: Work) -> Any:
    relation, index = index_named(calls.parts(names), work)
    designs.define(relation, work)
    return _words(relation.schema, index)


def index_named(words: tuple[str, ...], work: Work) -> tuple[Relation, str]:
    """The table of an index that the caller may see, and its bare name. Raises Refused."""
    for schema in words[:-1] or work.view.snapshot.search_path:
        for relation in work.view.relations():
            named = relation.schema == schema and any(index.name == words[-1] for index in work.view.indexes(relation))
            if named and len(words) <= 2:  # noqa: PLR2004 with its schema or without
                return relation, words[-1]
    raise Refused("unknown_index", f"unknown index `{'.'.join(words)}`", "describe shows the indexes of a table")


def _sequence(names: Any, work: Work) -> Any:
    known = calls.split(names)
    for schema in (known[0],) if known and known[0] else work.view.snapshot.search_path:
        for one in work.view.snapshot.details.sequences:
            if known and (one.schema, one.name) == (schema, known[1]) and one.owner is None and _visible(schema, work):
                work.accesses.add(Access(Action.DEFINE, Schema(work.view.datasource, one.schema)))
                return _words(one.schema, one.name)
    raise Refused("unknown_sequence", f"unknown sequence `{'.'.join(calls.parts(names))}`", "one that a column owns goes with it")


def _visible(schema: str | None, work: Work) -> bool:
    return schema is not None and Schema(work.view.datasource, schema) in work.view.visible


def _type(node: Any, work: Work) -> Any:
    schema, name = designs.own_enum(node, work)
    if any((schema, name) == column.kind for relation in work.view.snapshot.relations.values() for column in relation.columns):
        raise Refused("in_use", f"`{name}` is the type of a column", "change the column first")
    work.accesses.add(Access(Action.DEFINE, Schema(work.view.datasource, schema)))
    node.names = _words(schema, name)
    return node


def _schema(node: Any, work: Work) -> Any:
    name = str(node.sval)
    if name not in work.view.snapshot.schemas or not _visible(name, work):
        raise Refused("unknown_schema", f"unknown schema `{name}`", "search_schema shows the schemas you may use")
    work.accesses.add(Access(Action.DEFINE, Schema(work.view.datasource, name)))
    return node


_DROPS: Mapping[Any, Callable[[Any, Work], Any]] = {
    _OBJECTS.OBJECT_TABLE: _table,
    _OBJECTS.OBJECT_VIEW: _view,
    _OBJECTS.OBJECT_INDEX: _index,
    _OBJECTS.OBJECT_SEQUENCE: _sequence,
    _OBJECTS.OBJECT_TYPE: _type,
    _OBJECTS.OBJECT_SCHEMA: _schema,
}


def _words(*names: str) -> tuple[Any, ...]:
    return tuple(map(ast.String, names))


def rename(tree: Any, work: Work) -> None:
    """Judge a RENAME. Raises Refused."""
    if tree.missing_ok:
        raise designs.uncertain("IF EXISTS")
    handler = _RENAMES.get(tree.renameType)
    if handler is None or (tree.renameType == _OBJECTS.OBJECT_COLUMN and tree.relationType != _OBJECTS.OBJECT_TABLE):
        word = tree.renameType.name.removeprefix("OBJECT_").replace("_", " ").lower()
        raise Refused("definition_kind", f"a {word} is not renamed here", "columns, tables, indexes and constraints are")
    handler(tree, work)


def _rename_table(tree: Any, work: Work) -> None:
    relation = designs.relation_of(tree.relation, work)
    designs.check_free(work, relation.schema, tree.newname, "relation")
    work.accesses.add(Access(Action.DEFINE, Schema(work.view.datasource, relation.schema)))
    check_untagged(relation)
    _rename(relation, relation.columns, work)
    work.accesses.add(Access(Action.DELETE, relation.resource(work.view.datasource)))
    check_unused(relation, "", work)


def _rename_column(tree: Any, work: Work) -> None:
    relation = designs.relation_of(tree.relation, work)
    column = designs.column(relation, tree.subname, work)
    if relation.column(tree.newname) is not None:
        raise Refused("name_taken", f"the name `{tree.newname}` is not free", "choose another name")
    _rename(relation, (column,), work)


def _rename(relation: Relation, columns: tuple[ColumnInfo, ...], work: Work) -> None:
    """What policies say of a name is not said of the next one, so it is for those only whom nothing is kept from."""
    check_untagged(*columns)
    if designs.parts(relation, work) or work.view.snapshot.kin.get((relation.schema, relation.name)):
        raise Refused("reach", "a part of a table keeps the names of the whole", "ask its owner")
    designs.define(relation, work)
    designs.looks_at(relation, columns, work)
    designs.check_rows(relation, work)
    for action in (Action.INSERT, Action.UPDATE):
        designs.writes(relation, columns, action, work)


def _rename_index(tree: Any, work: Work) -> None:
    node = tree.relation
    words = tuple(str(word) for word in (node.catalogname, node.schemaname, node.relname) if word)
    relation, _ = index_named(words, work)
    designs.check_free(work, relation.schema, tree.newname, "relation")
    designs.define(relation, work)
    node.schemaname = relation.schema


def _rename_constraint(tree: Any, work: Work) -> None:
    relation = designs.relation_of(tree.relation, work)
    constraint_named(relation, tree.subname, work)
    designs.define(relation, work)


def constraint_named(relation: Relation, name: str, work: Work) -> Any:
    """A constraint of which the caller may see every column. Raises Refused."""
    shown = {column.name for column in work.view.columns(relation)}
    known = work.view.snapshot.details.constraints.get((relation.schema, relation.name), ())
    found = next((one for one in known if one.name == name and shown.issuperset(one.columns)), None)
    if found is None or (found.whole_row and len(shown) < len(relation.columns)):
        raise Refused("unknown_constraint", f"unknown constraint `{name}`", "describe shows the constraints of a table")
    return found


_RENAMES: Mapping[Any, Callable[[Any, Work], None]] = {
    _OBJECTS.OBJECT_COLUMN: _rename_column,
    _OBJECTS.OBJECT_INDEX: _rename_index,
    _OBJECTS.OBJECT_TABCONSTRAINT: _rename_constraint,
    _OBJECTS.OBJECT_TABLE: _rename_table,
}
