"""The judgement of a definition: a statement that makes, changes or drops tables, columns, constraints, indexes and enums.

An allowlist, as for reads: what is not written here is refused. What a definition would
tell about values is a read: a check that holds, an index that can be built and a
conversion that succeeds say something of every row, so they need the right to read these
columns as they are, in all rows. A name that policies may go by is not taken from what
bears it: nothing tagged is renamed or dropped.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pglast import ast, enums
from pglast.parser import fingerprint

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Schema, Statement
from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import RelationKind
from ostiary_tools.sql import altering, calls, designs, dropping, printing
from ostiary_tools.sql.grammar import MAX_DEPTH, MAX_NODES
from ostiary_tools.sql.parse import parse
from ostiary_tools.sql.tree import levels, same
from ostiary_tools.sql.work import Work
from ostiary_tools.view import SchemaView

_HINT = "tables, columns, constraints, indexes, sequences, enums, schemas and comments are defined here"
_REFUSED = {
    "CreateFunctionStmt": "a function runs as whoever calls it, past every policy",
    "AlterFunctionStmt": "a function runs as whoever calls it, past every policy",
    "DoStmt": "`DO` runs a program that no policy sees",
    "CallStmt": "`CALL` runs a program that no policy sees",
    "CreateTrigStmt": "a trigger runs a program at every later write",
    "CreateEventTrigStmt": "an event trigger runs a program at every later definition",
    "RuleStmt": "a rule rewrites every later statement",
    "CreateExtensionStmt": "an extension brings programs along",
    "CreatePolicyStmt": "row security is the owner's",
    "AlterPolicyStmt": "row security is the owner's",
    "CreateRoleStmt": "logins are the operator's",
    "AlterRoleStmt": "logins are the operator's",
    "AlterRoleSetStmt": "logins are the operator's",
    "DropRoleStmt": "logins are the operator's",
    "GrantStmt": "privileges are the operator's",
    "GrantRoleStmt": "privileges are the operator's",
    "AlterDefaultPrivilegesStmt": "privileges are the operator's",
    "AlterOwnerStmt": "who owns a thing is the operator's",
    "ReassignOwnedStmt": "who owns a thing is the operator's",
    "DropOwnedStmt": "who owns a thing is the operator's",
    "VariableSetStmt": "settings are the operator's",
    "AlterSystemStmt": "settings are the operator's",
    "AlterDatabaseStmt": "settings are the operator's",
    "AlterDatabaseSetStmt": "settings are the operator's",
    "VacuumStmt": "maintenance is the operator's",
    "TruncateStmt": "`TRUNCATE` takes rows away without looking at them; write `DELETE`",
    "ViewStmt": "a view shows what it reads under another name, which policies do not know",
    "CreateTableAsStmt": "it copies values to a name that policies do not know; make the table, then insert",
    "AlterObjectSchemaStmt": "what moves to another schema leaves the policies of its own",
    "CreateForeignTableStmt": "a foreign table reaches another server",
    "CreateForeignServerStmt": "a foreign server is the operator's",
    "CreateTableSpaceStmt": "a tablespace is a place of the server's machine",
    "CopyStmt": "`COPY` reaches files and programs of the server",
}
"""Statement → why nobody may have it run here. Whatever else is not allowed is refused without a reason."""
_PLAIN = frozenset(
    {
        *designs.VALUES,
        "AlterEnumStmt",
        "AlterTableCmd",
        "AlterTableStmt",
        "ColumnDef",
        "CommentStmt",
        "Constraint",
        "CreateEnumStmt",
        "CreateSchemaStmt",
        "CreateSeqStmt",
        "CreateStmt",
        "DefElem",
        "DropStmt",
        "IndexElem",
        "IndexStmt",
        "PartitionBoundSpec",
        "PartitionElem",
        "PartitionRangeDatum",
        "PartitionSpec",
        "RangeVar",
        "RenameStmt",
    }
)


@dataclass(frozen=True, slots=True)
class JudgedDefinition:
    """A definition and all that it would do."""

    statement: Statement
    """The printed text."""
    accesses: tuple[Access, ...]
    """Sorted, unique."""
    fingerprint: str
    """Equal for statements that differ in their constants only."""
    redacted: str
    """The text without its constants, for the audit log."""
    kind: Literal["define"] = "define"


def defines(tree: Any) -> bool:
    """Whether a statement defines something, or would."""
    return type(tree) in _HANDLERS or (type(tree).__name__ in _REFUSED and not isinstance(tree, _OF_ROWS))


def judge_definition(text: str, view: SchemaView) -> JudgedDefinition:
    """Judge one definition as the caller of `view`. Raises Refused and nothing else."""
    try:
        return _judged(text, view)
    except RecursionError as error:
        raise printing.unprintable() from error


def _judged(text: str, view: SchemaView) -> JudgedDefinition:
    tree = parse(text)
    accesses = classify(tree, text, view)
    printed = printing.print_tree(tree)
    again = parse(printed)
    # As with reads: what is run is what was printed, so that text is held to the same.
    if classify(again, printed, view) != accesses or not same(tree, again) or printing.print_tree(again) != printed:
        raise printing.unprintable()
    ordered = tuple(sorted(accesses, key=repr))
    return JudgedDefinition(Statement(printed), ordered, fingerprint(printed), printing.redact(printed))


def classify(tree: Any, text: str, view: SchemaView) -> frozenset[Access]:
    """Bind every name of the tree in place and return all that it would do. Raises Refused."""
    handler = _HANDLERS.get(type(tree))
    if handler is None:
        raise _refusal(tree)
    _check_nodes(tree)
    work = Work(view, text)
    work.run(view.snapshot.always, "this database's own types")
    handler(tree, work)
    return view.of_wholes(work.accesses)


def _refusal(tree: Any) -> Refused:
    name = type(tree).__name__
    if reason := _REFUSED.get(name):
        return Refused("definition_kind", f"this is not defined here: {reason}", _HINT)
    return Refused("definition_kind", f"`{name.removesuffix('Stmt')}` is not run here", _HINT)


def _check_nodes(tree: Any) -> None:
    count = 0
    for depth, level in enumerate(levels(tree), 1):
        count += len(level)
        if count > MAX_NODES or depth > MAX_DEPTH:
            raise Refused("size", "the statement has too many parts or is nested too deeply", "split it into smaller statements")
        for node in level:
            if (name := type(node).__name__) not in _PLAIN:
                raise Refused(
                    "definition", f"`{name}` is not allowed in a definition", "write constants, columns and plain functions"
                )


def _enum(tree: Any, work: Work) -> None:
    names = designs.placed(tree.typeName, work)
    designs.check_free(work, *names, "type")
    tree.typeName = tuple(map(ast.String, names))


def _enum_value(tree: Any, work: Work) -> None:
    if tree.oldVal is not None:
        raise Refused("definition", "a label is not renamed here: rows that rules keep apart by it would change sides", _HINT)
    if tree.skipIfNewValExists:
        raise designs.uncertain("IF NOT EXISTS")
    name = designs.own_enum(tree.typeName, work)
    work.accesses.add(Access(Action.DEFINE, Schema(work.view.datasource, name[0])))
    tree.typeName = tuple(map(ast.String, name))


def _schema(tree: Any, work: Work) -> None:
    if tree.authrole is not None or tree.schemaElts:
        raise Refused("definition", "a schema is made empty and for its maker", "write `CREATE SCHEMA name`")
    if tree.if_not_exists:
        raise designs.uncertain("IF NOT EXISTS")
    if tree.schemaname in work.view.snapshot.schemas or tree.schemaname.startswith("pg_"):
        raise Refused("name_taken", f"the name `{tree.schemaname}` is not free", "choose another name")
    work.accesses.add(Access(Action.DEFINE, Schema(work.view.datasource, tree.schemaname)))


def _sequence(tree: Any, work: Work) -> None:
    if tree.if_not_exists:
        raise designs.uncertain("IF NOT EXISTS")
    if tree.for_identity:
        raise Refused("definition", "a sequence is made by itself", "write `GENERATED … AS IDENTITY` for a column")
    designs.check_permanent(tree.sequence)
    schema, name = designs.placed_relation(tree.sequence, work)
    designs.check_free(work, schema, name, "relation")
    designs.sequence_options(tree.options, work)


_COMMENTED = {
    enums.ObjectType.OBJECT_TABLE: frozenset({RelationKind.TABLE, RelationKind.PARTITIONED_TABLE}),
    enums.ObjectType.OBJECT_VIEW: frozenset({RelationKind.VIEW}),
}


def _comment(tree: Any, work: Work) -> None:
    words = calls.parts(tree.object) if isinstance(tree.object, tuple) else ()
    if tree.objtype == enums.ObjectType.OBJECT_COLUMN and len(words) > 1:
        relation = designs.relation_named(words[:-1], work)
        column = designs.column(relation, words[-1], work)
        old, named = column.comment, [relation.schema, relation.name, column.name]
    elif tree.objtype in _COMMENTED:
        relation = designs.relation_named(words, work, _COMMENTED[tree.objtype])
        old, named = relation.comment, [relation.schema, relation.name]
    else:
        raise Refused("definition", "only tables, views and columns are commented on here", "write COMMENT ON TABLE or COLUMN")
    if designs.TAG.search(old) or designs.TAG.search(tree.comment or ""):
        raise Refused("tags", "a tag in a comment decides what policies say, so it is neither written nor taken away here", "")
    designs.define(relation, work)
    tree.object = tuple(map(ast.String, named))


_OF_ROWS = (ast.CopyStmt, ast.TruncateStmt)
_HANDLERS: Mapping[type, Callable[[Any, Work], None]] = {
    ast.AlterEnumStmt: _enum_value,
    ast.AlterTableStmt: altering.alter,
    ast.CommentStmt: _comment,
    ast.CreateEnumStmt: _enum,
    ast.CreateSchemaStmt: _schema,
    ast.CreateSeqStmt: _sequence,
    ast.CreateStmt: altering.create,
    ast.DropStmt: dropping.drop,
    ast.IndexStmt: altering.index,
    ast.RenameStmt: dropping.rename,
}
