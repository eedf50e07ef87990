"""A definition as a value: what it does, step by step.

Made from PostgreSQL's own tree, with names looked up in a snapshot where they are in it.
What is not known as a step is one all the same, of the kind `OTHER`, and said to be so.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pglast import ast, enums
from pglast.parser import ParseError, parse_sql, split

from ostiary_tools.errors import Refused
from ostiary_tools.identifiers import qualified
from ostiary_tools.snapshot import ColumnInfo, Name, Relation, Snapshot
from ostiary_tools.sql.calls import parts
from ostiary_tools.sql.comments import has_comment
from ostiary_tools.sql.printing import print_tree

_COMMANDS = enums.AlterTableType
_OBJECTS = enums.ObjectType


class Kind(StrEnum):
    """What a step does."""

    CREATE_TABLE = "create table"
    ADD_PARTITION = "add partition"
    ATTACH_PARTITION = "attach partition"
    DETACH_PARTITION = "detach partition"
    DROP_TABLE = "drop table"
    RENAME_TABLE = "rename table"
    ADD_COLUMN = "add column"
    DROP_COLUMN = "drop column"
    RENAME_COLUMN = "rename column"
    SET_DEFAULT = "set default"
    DROP_DEFAULT = "drop default"
    SET_NOT_NULL = "set not null"
    DROP_NOT_NULL = "drop not null"
    CHANGE_TYPE = "change type"
    ADD_IDENTITY = "add identity"
    DROP_IDENTITY = "drop identity"
    SET_STATISTICS = "set statistics"
    SET_OPTIONS = "set options"
    ADD_CONSTRAINT = "add constraint"
    VALIDATE_CONSTRAINT = "validate constraint"
    DROP_CONSTRAINT = "drop constraint"
    RENAME_CONSTRAINT = "rename constraint"
    CREATE_INDEX = "create index"
    DROP_INDEX = "drop index"
    RENAME_INDEX = "rename index"
    CREATE_VIEW = "create view"
    DROP_VIEW = "drop view"
    CREATE_ENUM = "create enum"
    ADD_LABEL = "add label"
    DROP_TYPE = "drop type"
    CREATE_SEQUENCE = "create sequence"
    DROP_SEQUENCE = "drop sequence"
    CREATE_SCHEMA = "create schema"
    DROP_SCHEMA = "drop schema"
    COMMENT = "comment"
    ROWS = "change rows"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a statement does."""

    kind: Kind
    table: Name | None = None
    """The relation it is done to, with its schema; `None` where there is none."""
    name: str = ""
    """Of the column, constraint, index, type … it is about."""
    new_name: str = ""
    concurrently: bool = False
    cascades: bool = False
    node: Any = field(default=None, compare=False, repr=False)
    """The part of the tree that says it."""

    @property
    def relation(self) -> str:
        """The relation as SQL names it."""
        return qualified(*self.table) if self.table else ""


@dataclass(frozen=True, slots=True)
class Change:
    """One statement of a migration."""

    text: str
    """As it was written."""
    steps: tuple[Step, ...]
    batched: bool = False
    """It is run again and again until it changes no row."""

    @property
    def alone(self) -> bool:
        """It cannot run inside a transaction, or is many of them."""
        return self.batched or any(step.concurrently for step in self.steps)


_BATCHED = "-- in batches"
"""The line before a statement that is run until it changes no row."""


def read(text: str, snapshot: Snapshot) -> tuple[Change, ...]:
    """The statements of a migration. Raises Refused when the text does not parse."""
    try:
        slices = split(text, with_parser=True, only_slices=True)
    except ParseError as error:
        raise Refused("syntax", f"the migration does not parse: {error.args[0]}", "correct it") from None
    ends = [0, *(each.stop for each in slices)]
    return tuple(_change(text[each].strip(), text[end : each.start], snapshot) for end, each in zip(ends, slices, strict=False))


def _change(text: str, before: str, snapshot: Snapshot) -> Change:
    """`before` are the comments that stand before it."""
    (raw,) = parse_sql(text)
    words = f"{before}\n{text}" if has_comment(text) else before
    batched = any(line.strip().lower() == _BATCHED for line in words.splitlines())
    return Change(text, tuple(steps(raw.stmt, snapshot)), batched)


def steps(tree: Any, snapshot: Snapshot) -> Iterator[Step]:
    """What one statement does."""
    maker = _STATEMENTS.get(type(tree))
    if maker is None:
        yield Step(Kind.OTHER, name=type(tree).__name__.removesuffix("Stmt"), node=tree)
    else:
        yield from maker(tree, snapshot)


def spelled(expression: Any) -> str:
    """An expression as text. Raises Refused where it cannot be printed."""
    # Its printer asks what holds it.
    tree = ast.SelectStmt(targetList=(ast.ResTarget(val=expression),), op=enums.SetOperation.SETOP_NONE)
    return print_tree(tree).removeprefix("SELECT ")


def found(step: Step, snapshot: Snapshot) -> Relation | None:
    """The relation as the snapshot knows it."""
    return snapshot.relations.get(step.table) if step.table else None


def found_column(step: Step, snapshot: Snapshot) -> ColumnInfo | None:
    """The column that the step is about."""
    relation = found(step, snapshot)
    return relation.column(step.name) if relation else None


def constraints(step: Step) -> list[Any]:
    """The constraints that a step makes, of its columns too."""
    node = step.node
    if step.kind is Kind.ADD_CONSTRAINT:
        return [node.def_]
    if step.kind is Kind.ADD_COLUMN:
        return list(node.def_.constraints or ())
    if step.kind not in {Kind.CREATE_TABLE, Kind.ADD_PARTITION}:
        return []
    parts = node.tableElts or ()
    inside = [each for part in parts if isinstance(part, ast.ColumnDef) for each in part.constraints or ()]
    return [*(part for part in parts if isinstance(part, ast.Constraint)), *inside]


def name_of(node: Any, snapshot: Snapshot) -> Name:
    """Schema and name of a relation in the tree; one that is not known is in the first schema of the search path."""
    return resolved((*([node.schemaname] if node.schemaname else ()), node.relname), snapshot)


def resolved(words: tuple[str, ...], snapshot: Snapshot) -> Name:
    """The same of a dotted name."""
    if len(words) > 1:
        return words[-2], words[-1]
    sequences = {(one.schema, one.name) for one in snapshot.details.sequences}
    for schema in snapshot.search_path:
        name = schema, words[0]
        if name in snapshot.relations or name in snapshot.types or name in snapshot.details.indexes or name in sequences:
            return name
    return next(iter(snapshot.search_path), "public"), words[0]


def _create(tree: Any, snapshot: Snapshot) -> Iterator[Step]:
    kind = Kind.ADD_PARTITION if tree.partbound else Kind.CREATE_TABLE
    yield Step(kind, name_of(tree.relation, snapshot), node=tree)


_ALTERATIONS: Mapping[Any, Kind] = {
    _COMMANDS.AT_AddColumn: Kind.ADD_COLUMN,
    _COMMANDS.AT_DropColumn: Kind.DROP_COLUMN,
    _COMMANDS.AT_ColumnDefault: Kind.SET_DEFAULT,
    _COMMANDS.AT_SetNotNull: Kind.SET_NOT_NULL,
    _COMMANDS.AT_DropNotNull: Kind.DROP_NOT_NULL,
    _COMMANDS.AT_AlterColumnType: Kind.CHANGE_TYPE,
    _COMMANDS.AT_AddIdentity: Kind.ADD_IDENTITY,
    _COMMANDS.AT_DropIdentity: Kind.DROP_IDENTITY,
    _COMMANDS.AT_SetStatistics: Kind.SET_STATISTICS,
    _COMMANDS.AT_SetRelOptions: Kind.SET_OPTIONS,
    _COMMANDS.AT_AddConstraint: Kind.ADD_CONSTRAINT,
    _COMMANDS.AT_ValidateConstraint: Kind.VALIDATE_CONSTRAINT,
    _COMMANDS.AT_DropConstraint: Kind.DROP_CONSTRAINT,
    _COMMANDS.AT_AttachPartition: Kind.ATTACH_PARTITION,
    _COMMANDS.AT_DetachPartition: Kind.DETACH_PARTITION,
}


def _alter(tree: Any, snapshot: Snapshot) -> Iterator[Step]:
    if tree.objtype != _OBJECTS.OBJECT_TABLE:
        yield Step(Kind.OTHER, name="AlterTable", node=tree)
        return
    table = name_of(tree.relation, snapshot)
    for command in tree.cmds:
        kind = _ALTERATIONS.get(command.subtype, Kind.OTHER)
        if kind is Kind.SET_DEFAULT and command.def_ is None:
            kind = Kind.DROP_DEFAULT
        cascades = command.behavior == enums.DropBehavior.DROP_CASCADE
        yield Step(kind, table, _named(command), cascades=cascades, node=command)


def _named(command: Any) -> str:
    if isinstance(command.def_, ast.ColumnDef) and command.subtype == _COMMANDS.AT_AddColumn:
        return str(command.def_.colname)
    if isinstance(command.def_, ast.Constraint) and command.subtype == _COMMANDS.AT_AddConstraint:
        return str(command.def_.conname or "")
    return str(command.name or "")


_RENAMES: Mapping[Any, Kind] = {
    _OBJECTS.OBJECT_TABLE: Kind.RENAME_TABLE,
    _OBJECTS.OBJECT_COLUMN: Kind.RENAME_COLUMN,
    _OBJECTS.OBJECT_TABCONSTRAINT: Kind.RENAME_CONSTRAINT,
    _OBJECTS.OBJECT_INDEX: Kind.RENAME_INDEX,
}


def _rename(tree: Any, snapshot: Snapshot) -> Iterator[Step]:
    kind = _RENAMES.get(tree.renameType, Kind.OTHER)
    if tree.relation is None:
        yield Step(Kind.OTHER, name="Rename", node=tree)
        return
    name = name_of(tree.relation, snapshot)
    if kind is Kind.RENAME_INDEX:
        yield Step(kind, index_table(name, snapshot), name[1], tree.newname, node=tree)
    else:
        yield Step(kind, name, str(tree.subname or name[1]), tree.newname, node=tree)


def index_table(index: Name, snapshot: Snapshot) -> Name | None:
    """The table that an index belongs to."""
    for name, relation in snapshot.relations.items():
        if name[0] == index[0] and any(each.name == index[1] for each in relation.indexes):
            return name
    return None


_DROPS: Mapping[Any, Kind] = {
    _OBJECTS.OBJECT_TABLE: Kind.DROP_TABLE,
    _OBJECTS.OBJECT_VIEW: Kind.DROP_VIEW,
    _OBJECTS.OBJECT_SEQUENCE: Kind.DROP_SEQUENCE,
    _OBJECTS.OBJECT_INDEX: Kind.DROP_INDEX,
    _OBJECTS.OBJECT_TYPE: Kind.DROP_TYPE,
    _OBJECTS.OBJECT_SCHEMA: Kind.DROP_SCHEMA,
}


def _drop(tree: Any, snapshot: Snapshot) -> Iterator[Step]:
    kind = _DROPS.get(tree.removeType, Kind.OTHER)
    cascades = tree.behavior == enums.DropBehavior.DROP_CASCADE
    for each in tree.objects:
        words = _words(each)
        name = resolved(words, snapshot)
        if kind is Kind.DROP_INDEX:
            yield Step(kind, index_table(name, snapshot), name[1], concurrently=bool(tree.concurrent), cascades=cascades, node=tree)
        elif kind is Kind.DROP_SCHEMA:
            yield Step(kind, name=words[0], cascades=cascades, node=tree)
        else:
            yield Step(kind, name, name[1], cascades=cascades, node=tree)


def _words(value: Any) -> tuple[str, ...]:
    if isinstance(value, ast.String):
        return (str(value.sval),)
    if isinstance(value, ast.TypeName):
        return parts(value.names)
    return parts(value) if isinstance(value, tuple) and all(isinstance(each, ast.String) for each in value) else ("",)


def _index(tree: Any, snapshot: Snapshot) -> Iterator[Step]:
    table = name_of(tree.relation, snapshot)
    yield Step(Kind.CREATE_INDEX, table, str(tree.idxname or ""), concurrently=bool(tree.concurrent), node=tree)


def _comment(tree: Any, snapshot: Snapshot) -> Iterator[Step]:
    words = _words(tree.object)
    if tree.objtype in (_OBJECTS.OBJECT_COLUMN, _OBJECTS.OBJECT_TABCONSTRAINT):
        yield Step(Kind.COMMENT, resolved(words[:-1], snapshot), words[-1], node=tree)
    elif tree.objtype in (_OBJECTS.OBJECT_TABLE, _OBJECTS.OBJECT_VIEW):
        yield Step(Kind.COMMENT, resolved(words, snapshot), node=tree)
    else:
        yield Step(Kind.COMMENT, name=".".join(words), node=tree)


def _typed(kind: Kind) -> Callable[[Any, Snapshot], Iterable[Step]]:
    def make(tree: Any, snapshot: Snapshot) -> Iterable[Step]:
        name = resolved(parts(tree.typeName), snapshot)
        return (Step(kind, name, name[1], node=tree),)

    return make


def _view(tree: Any, snapshot: Snapshot) -> Iterator[Step]:
    yield Step(Kind.CREATE_VIEW, name_of(tree.view, snapshot), node=tree)


def _sequence(tree: Any, snapshot: Snapshot) -> Iterator[Step]:
    name = name_of(tree.sequence, snapshot)
    yield Step(Kind.CREATE_SEQUENCE, name, name[1], node=tree)


def _schema(tree: Any, _snapshot: Snapshot) -> Iterator[Step]:
    yield Step(Kind.CREATE_SCHEMA, name=str(tree.schemaname or ""), node=tree)


def _rows(tree: Any, snapshot: Snapshot) -> Iterator[Step]:
    yield Step(Kind.ROWS, name_of(tree.relation, snapshot), node=tree)


_STATEMENTS: Mapping[type, Callable[[Any, Snapshot], Iterable[Step]]] = {
    ast.AlterEnumStmt: _typed(Kind.ADD_LABEL),
    ast.AlterTableStmt: _alter,
    ast.CommentStmt: _comment,
    ast.CreateEnumStmt: _typed(Kind.CREATE_ENUM),
    ast.CreateSchemaStmt: _schema,
    ast.CreateSeqStmt: _sequence,
    ast.CreateStmt: _create,
    ast.DeleteStmt: _rows,
    ast.DropStmt: _drop,
    ast.IndexStmt: _index,
    ast.InsertStmt: _rows,
    ast.RenameStmt: _rename,
    ast.UpdateStmt: _rows,
    ast.ViewStmt: _view,
}
