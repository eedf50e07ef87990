"""Definitions that make or change a table: CREATE TABLE, ALTER TABLE and CREATE INDEX, each part of them by allowlist."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pglast import ast, enums

from ostiary_policies.actions import Action
from ostiary_policies.model import Access
from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import ColumnInfo, Relation, RelationKind
from ostiary_tools.sql import calls, constraining, designs, dropping
from ostiary_tools.sql.constraining import Design
from ostiary_tools.sql.scope import Item
from ostiary_tools.sql.tree import put
from ostiary_tools.sql.work import Work

_COMMANDS = enums.AlterTableType
_METHODS = frozenset({"btree", "hash", "gin", "gist", "spgist", "brin"})
_PARTITIONED = frozenset({RelationKind.PARTITIONED_TABLE})


def create(tree: Any, work: Work) -> None:
    """Judge a CREATE TABLE. Raises Refused."""
    designs.check_permanent(tree.relation)
    if tree.if_not_exists:
        raise designs.uncertain("IF NOT EXISTS")
    if (
        tree.ofTypename
        or tree.tablespacename
        or tree.accessMethod
        or tree.oncommit not in (None, enums.OnCommitAction.ONCOMMIT_NOOP)
    ):
        raise Refused("definition", "a table is made of its own columns, where and how all are kept", "write its columns")
    constraining.options(tree.options)
    schema, name = designs.placed_relation(tree.relation, work)
    designs.check_free(work, schema, name, "relation")
    parts = tree.tableElts or ()
    columns = [part for part in parts if isinstance(part, ast.ColumnDef)]
    item = Item(name, tuple(map(designs.new_field, columns)), schema=schema, base=True)
    if tree.inhRelations or tree.partbound:
        item = _partition(tree, item, work)
    design = Design(item)
    for part in parts:
        constraining.PARTS[type(part)](part, design, work)
    if tree.partspec is not None:
        for part in tree.partspec.partParams:
            constraining.key(part, design, work)


def _partition(tree: Any, item: Item, work: Work) -> Item:
    """It becomes a part of a table: rows of a default part are looked at, and rows will come into it."""
    if tree.partbound is None or len(tree.inhRelations) != 1:
        raise Refused("definition", "a table that inherits shows its rows in another", "make a partition, or a table by itself")
    whole = designs.relation_of(tree.inhRelations[0], work, _PARTITIONED)
    work.accesses.add(Access(Action.DEFINE, whole.resource(work.view.datasource)))
    designs.looks_at(whole, whole.columns, work)
    bound = tree.partbound
    for name in ("listdatums", "lowerdatums", "upperdatums"):
        for each in getattr(bound, name) or ():
            if isinstance(each, ast.PartitionRangeDatum):
                put(each, "value", each.value and designs.expression(each.value, None, work))
            else:
                designs.expression(each, None, work)
    return replace(designs.item_of(whole), name=item.name, schema=item.schema)


def alter(tree: Any, work: Work) -> None:
    """Judge an ALTER TABLE. Raises Refused."""
    if tree.missing_ok:
        raise designs.uncertain("IF EXISTS")
    if tree.objtype != enums.ObjectType.OBJECT_TABLE:
        word = tree.objtype.name.removeprefix("OBJECT_").replace("_", " ").lower()
        raise Refused("definition_kind", f"a {word} is not altered here", "tables are, and indexes are renamed")
    relation = designs.relation_of(tree.relation, work)
    designs.define(relation, work)
    added = [cmd.def_ for cmd in tree.cmds if cmd.subtype == _COMMANDS.AT_AddColumn]
    known = designs.item_of(relation)
    design = Design(replace(known, fields=(*known.fields, *map(designs.new_field, added))), relation)
    for command in tree.cmds:
        handler = _COMMAND_KINDS.get(command.subtype)
        if handler is None:
            word = _WORDS.get(command.subtype) or command.subtype.name.removeprefix("AT_")
            raise Refused("definition", f"`{word}` of a table is not run here", "columns, defaults and constraints are altered")
        dropping.check_plain(command)
        handler(command, design, relation, work)


_WORDS = {
    _COMMANDS.AT_ChangeOwner: "OWNER TO",
    _COMMANDS.AT_AddInherit: "INHERIT",
    _COMMANDS.AT_DropInherit: "NO INHERIT",
    _COMMANDS.AT_AttachPartition: "ATTACH PARTITION",
    _COMMANDS.AT_DetachPartition: "DETACH PARTITION",
    _COMMANDS.AT_EnableRowSecurity: "ROW LEVEL SECURITY",
    _COMMANDS.AT_DisableRowSecurity: "ROW LEVEL SECURITY",
    _COMMANDS.AT_ForceRowSecurity: "ROW LEVEL SECURITY",
    _COMMANDS.AT_NoForceRowSecurity: "ROW LEVEL SECURITY",
    _COMMANDS.AT_SetTableSpace: "SET TABLESPACE",
    _COMMANDS.AT_DisableTrig: "DISABLE TRIGGER",
    _COMMANDS.AT_DisableTrigAll: "DISABLE TRIGGER",
    _COMMANDS.AT_DisableTrigUser: "DISABLE TRIGGER",
    _COMMANDS.AT_DisableRule: "DISABLE RULE",
}


def _add_column(command: Any, design: Design, relation: Relation, work: Work) -> None:
    if relation.column(str(command.def_.colname)) is not None:
        raise Refused("name_taken", f"the name `{command.def_.colname}` is not free", "choose another name")
    known = work.view.snapshot.types.get(_type_of(command.def_.typeName))
    constraining.new_column(command.def_, design, work)
    if known is not None and known.kind == "domain":
        design.looks_at((), work)


def _type_of(node: Any) -> tuple[str, str]:
    words = calls.parts(node.names)
    return (words[-2] if len(words) > 1 else "", words[-1])


def _drop_column(command: Any, _design: Design, relation: Relation, work: Work) -> None:
    column = designs.column(relation, command.name, work)
    dropping.check_untagged(column)
    dropping.check_unused(relation, column.name, work)
    # Its values go with it.
    designs.check_rows(relation, work)
    designs.writes(relation, (column,), Action.UPDATE, work)


def _set_default(command: Any, design: Design, relation: Relation, work: Work) -> None:
    _fill(command, design, relation, work)
    if command.def_ is not None:
        command.def_ = designs.expression(command.def_, None, work)


def _fill(command: Any, _design: Design, relation: Relation, work: Work) -> None:
    """What rows to come get in this column is another."""
    column = designs.column(relation, command.name, work)
    for action in (Action.INSERT, Action.UPDATE):
        designs.writes(relation, (column,), action, work)


def _of_column(command: Any, _design: Design, relation: Relation, work: Work) -> None:
    designs.column(relation, command.name, work)


def _set_not_null(command: Any, design: Design, relation: Relation, work: Work) -> None:
    designs.column(relation, command.name, work)
    design.looks_at((command.name,), work)


def _add_identity(command: Any, design: Design, relation: Relation, work: Work) -> None:
    _fill(command, design, relation, work)
    constraining.constraint(command.def_, design, work, command.name)


def _type(command: Any, design: Design, relation: Relation, work: Work) -> None:
    """Every value is converted, and whatever names the column is computed and checked again."""
    column = designs.column(relation, command.name, work)
    node = command.def_
    if designs.is_serial(node.typeName):
        raise Refused("type", "a column does not become a serial", "write an integer, and `ADD GENERATED … AS IDENTITY`")
    designs.column_type(node.typeName, work)
    if node.collClause is not None:
        constraining.check_collation(node.collClause)
    if node.raw_default is not None:
        node.raw_default = design.expression(node.raw_default, work)
    dropping.check_unused(relation, column.name, work)
    design.looks_at(_beside(relation, column, work), work)
    designs.check_rows(relation, work)
    designs.writes(relation, (column,), Action.UPDATE, work)


def _beside(relation: Relation, column: ColumnInfo, work: Work) -> frozenset[str]:
    """Columns that something names together with this one, and itself."""
    details = work.view.snapshot.details
    name = (relation.schema, relation.name)
    together = [index.columns for index in relation.indexes]
    together += [constraint.columns for constraint in details.constraints.get(name, ())]
    together += [(c.name, *d.uses) for c in relation.columns if (d := details.columns.get((*name, c.name))) is not None and d.uses]
    return frozenset({column.name}.union(*(names for names in together if column.name in names)))


def _add_constraint(command: Any, design: Design, _relation: Relation, work: Work) -> None:
    constraining.constraint(command.def_, design, work, None)


def _validate(command: Any, design: Design, relation: Relation, work: Work) -> None:
    found = dropping.constraint_named(relation, command.name, work)
    design.looks_at([c.name for c in relation.columns] if found.whole_row else found.columns, work)
    if found.target is not None:
        target = designs.relation_named(found.target, work, designs.TABLES)
        designs.looks_at(target, [designs.column(target, name, work) for name in found.target_columns], work)


def _drop_constraint(command: Any, _design: Design, relation: Relation, work: Work) -> None:
    found = dropping.constraint_named(relation, command.name, work)
    if found.kind in "pu":
        for user, key in work.view.snapshot.references.get((relation.schema, relation.name), ()):
            if set(key.target_columns) == set(found.columns):
                shown = f"change first: `{user.schema}.{user.name}`" if work.view.sees(user) else "ask its owner"
                raise Refused("in_use", f"`{command.name}` is used by others", shown)


def _set_options(command: Any, _design: Design, _relation: Relation, _work: Work) -> None:
    constraining.options(command.def_)


_COMMAND_KINDS: Mapping[Any, Callable[[Any, Design, Relation, Work], None]] = {
    _COMMANDS.AT_AddColumn: _add_column,
    _COMMANDS.AT_DropColumn: _drop_column,
    _COMMANDS.AT_ColumnDefault: _set_default,
    _COMMANDS.AT_SetNotNull: _set_not_null,
    _COMMANDS.AT_DropNotNull: _of_column,
    _COMMANDS.AT_AlterColumnType: _type,
    _COMMANDS.AT_AddIdentity: _add_identity,
    _COMMANDS.AT_DropIdentity: _fill,
    _COMMANDS.AT_DropExpression: _fill,
    _COMMANDS.AT_SetStatistics: _of_column,
    _COMMANDS.AT_AddConstraint: _add_constraint,
    _COMMANDS.AT_ValidateConstraint: _validate,
    _COMMANDS.AT_DropConstraint: _drop_constraint,
    _COMMANDS.AT_SetRelOptions: _set_options,
}


def index(tree: Any, work: Work) -> None:
    """Judge a CREATE INDEX. Raises Refused."""
    if tree.concurrent:
        raise dropping.not_in_a_change()
    if tree.if_not_exists:
        raise designs.uncertain("IF NOT EXISTS")
    if tree.tableSpace or tree.excludeOpNames or (tree.accessMethod or "btree") not in _METHODS:
        raise Refused("definition", "an index is made by one of the server's own methods, where its table is", "use btree")
    constraining.options(tree.options)
    relation = designs.relation_of(tree.relation, work)
    if tree.idxname is not None:
        designs.check_free(work, relation.schema, tree.idxname, "relation")
    designs.define(relation, work)
    design = Design(designs.item_of(relation), relation)
    for each in (*tree.indexParams, *(tree.indexIncludingParams or ())):
        constraining.key(each, design, work)
    if tree.whereClause is not None:
        tree.whereClause = design.expression(tree.whereClause, work)
