"""What is unsafe in a step on a database that is in use, and the safer form."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pglast import ast, enums

from ostiary_tools.evolution import types
from ostiary_tools.evolution.steps import Kind, Step, constraints, found, found_column, spelled
from ostiary_tools.identifiers import identifier, qualified
from ostiary_tools.snapshot import Relation, Snapshot
from ostiary_tools.sql.printing import print_tree

_CONSTRAINTS = enums.ConstrType


class Weight(StrEnum):
    """How bad it is."""

    DANGER = "danger"
    """Readers or writers wait as long as the table is large, or something breaks."""
    NOTE = "note"
    """Worth knowing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know before a step runs."""

    rule: str
    weight: Weight
    message: str
    safer: tuple[str, ...] = ()
    """What to run in its place: statements, or sentences."""


def of(step: Step, snapshot: Snapshot, *, rewrites: bool, scans: bool) -> Iterator[Finding]:
    """All of one step."""
    if step.cascades:
        yield Finding("cascade", Weight.DANGER, "CASCADE drops whatever hangs on it too", ("drop what hangs on it by name",))
    if (rule := _RULES.get(step.kind)) is not None:
        yield from rule(step, snapshot, rewrites, scans)


def _danger(rule: str, message: str, *safer: str) -> Finding:
    return Finding(rule, Weight.DANGER, message, safer)


def _add_column(step: Step, _snapshot: Snapshot, rewrites: bool, _scans: bool) -> Iterator[Finding]:
    column = step.node.def_
    kinds = {each.contype for each in column.constraints or ()}
    if rewrites:
        plain = f"ALTER TABLE {step.relation} ADD COLUMN {identifier(step.name)} {_type(column.typeName)}"
        if types.is_serial(column.typeName) or _CONSTRAINTS.CONSTR_IDENTITY in kinds:
            yield _danger("rewrite", "every row gets a number of the sequence, so the table is written anew", plain)
        elif _CONSTRAINTS.CONSTR_GENERATED in kinds:
            yield _danger("rewrite", "a stored generated column is computed for every row, so the table is written anew", plain)
        else:
            default = next(
                (each.raw_expr for each in column.constraints or () if each.contype == _CONSTRAINTS.CONSTR_DEFAULT), None
            )
            later = (
                (f"ALTER TABLE {step.relation} ALTER COLUMN {identifier(step.name)} SET DEFAULT {spelled(default)}",)
                if default
                else ()
            )
            yield _danger("rewrite", "the value differs from row to row, so the table is written anew", plain, *later, _BACKFILL)
    elif _CONSTRAINTS.CONSTR_NOTNULL in kinds and not kinds & {_CONSTRAINTS.CONSTR_DEFAULT, _CONSTRAINTS.CONSTR_GENERATED}:
        yield _danger(
            "not_null", "it fails when the table holds a row, since the column has no default", "give it a constant default"
        )
    for each in constraints(step):
        yield from _constraint(each, step)


_BACKFILL = "-- then fill it in batches, each a transaction of its own"


def _type(node: Any) -> str:
    return print_tree(node)


def _constraint(constraint: Any, step: Step) -> Iterator[Finding]:
    """One that is made of a table that is there."""
    name = identifier(constraint.conname or "name_it")
    if constraint.contype == _CONSTRAINTS.CONSTR_FOREIGN and not constraint.skip_validation:
        message = "rows of both tables are compared while neither can be written"
        yield _danger("foreign_key", message, "add it NOT VALID", f"ALTER TABLE {step.relation} VALIDATE CONSTRAINT {name}")
    elif constraint.contype == _CONSTRAINTS.CONSTR_CHECK and not constraint.skip_validation and step.kind is Kind.ADD_CONSTRAINT:
        message = "every row is read while nobody can read or write the table"
        yield _danger("check", message, "add it NOT VALID", f"ALTER TABLE {step.relation} VALIDATE CONSTRAINT {name}")
    elif constraint.contype in {_CONSTRAINTS.CONSTR_UNIQUE, _CONSTRAINTS.CONSTR_PRIMARY} and not constraint.indexname:
        columns = ", ".join(identifier(str(key.sval)) for key in constraint.keys or ()) or identifier(step.name)
        kind = "PRIMARY KEY" if constraint.contype == _CONSTRAINTS.CONSTR_PRIMARY else "UNIQUE"
        index = f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {step.relation} ({columns})"
        message = "its index is built while nobody can read or write the table"
        yield _danger("unique", message, index, f"ALTER TABLE {step.relation} ADD CONSTRAINT {name} {kind} USING INDEX {name}")


def _add_constraint(step: Step, _snapshot: Snapshot, _rewrites: bool, _scans: bool) -> Iterator[Finding]:
    yield from _constraint(step.node.def_, step)


def _set_not_null(step: Step, _snapshot: Snapshot, _rewrites: bool, scans: bool) -> Iterator[Finding]:
    if scans:
        yield _danger("not_null", "every row is read while nobody can read or write the table", *not_null_steps(step))


def not_null_steps(step: Step) -> tuple[str, ...]:
    """How a column becomes NOT NULL while the table is in use."""
    check = identifier(f"{step.name}_not_null")
    column = identifier(step.name)
    return (
        f"ALTER TABLE {step.relation} ADD CONSTRAINT {check} CHECK ({column} IS NOT NULL) NOT VALID",
        f"ALTER TABLE {step.relation} VALIDATE CONSTRAINT {check}",
        f"ALTER TABLE {step.relation} ALTER COLUMN {column} SET NOT NULL",
        f"ALTER TABLE {step.relation} DROP CONSTRAINT {check}",
    )


def proven_not_null(step: Step, snapshot: Snapshot) -> bool:
    """Whether a valid check says already that the column is not null, so that no row is read."""
    column = found_column(step, snapshot)
    if column is not None and column.not_null:
        return True
    known = snapshot.details.constraints.get(step.table, ()) if step.table else ()
    wanted = f"({identifier(step.name)} IS NOT NULL)"
    return any(one.kind == "c" and one.validated and wanted in one.definition for one in known)


def _change_type(step: Step, snapshot: Snapshot, rewrites: bool, _scans: bool) -> Iterator[Finding]:
    column = found_column(step, snapshot)
    new = types.name_of(step.node.def_.typeName, snapshot)
    if rewrites:
        message = "the table and its indexes are written anew while nobody can read or write it"
        yield _danger("rewrite", message, "add a column of the new type, fill it in batches, and change over: see the advice")
    if column is not None and types.narrows(column.kind, column.type, new, types.modifiers(step.node.def_.typeName)):
        yield _danger(
            "narrowing", f"values of `{column.type}` may not fit into the new type, and then it fails", "look for them first"
        )
    yield from _used(step, snapshot, "views that use it must be dropped first")


def _used(step: Step, snapshot: Snapshot, message: str) -> Iterator[Finding]:
    if users := users_of(step, snapshot):
        yield _danger("in_use", f"{message}: {', '.join(users)}", "change these first")


def users_of(step: Step, snapshot: Snapshot) -> list[str]:
    """Views and foreign keys of others that use the table, or the column."""
    whole = step.kind in {Kind.DROP_TABLE, Kind.RENAME_TABLE, Kind.DROP_VIEW}
    column = "" if whole else step.name
    used = {
        qualified(*name)
        for name, detail in snapshot.details.relations.items()
        if name in snapshot.relations and any(each[:2] == step.table and column in ("", each[2]) for each in detail.uses)
    }
    for user, key in snapshot.references.get(step.table, ()) if step.table else ():
        if (user.schema, user.name) != step.table and (not column or column in key.target_columns):
            used.add(qualified(user.schema, user.name))
    return sorted(used)


def _drop_column(step: Step, snapshot: Snapshot, _rewrites: bool, _scans: bool) -> Iterator[Finding]:
    yield _danger(
        "drop", "its values cannot be brought back, and what still reads it fails", "stop reading it first; drop it a release later"
    )
    yield from _used(step, snapshot, "it is used by")
    relation = found(step, snapshot)
    if relation is not None and (gone := _indexes_of(relation, step.name)):
        yield Finding("index_goes", Weight.NOTE, f"indexes go with it: {', '.join(gone)}")


def _indexes_of(relation: Relation, column: str) -> list[str]:
    return sorted(index.name for index in relation.indexes if column in index.columns)


def _drop_table(step: Step, snapshot: Snapshot, _rewrites: bool, _scans: bool) -> Iterator[Finding]:
    yield _danger(
        "drop", "its rows cannot be brought back, and what still reads it fails", "rename it first, and drop it a release later"
    )
    yield from _used(step, snapshot, "it is used by")


def _rename(step: Step, snapshot: Snapshot, _rewrites: bool, _scans: bool) -> Iterator[Finding]:
    yield _danger(
        "rename",
        "whatever uses the old name fails at once, and policies and tags go by names",
        "expand and contract: see the advice",
    )
    if users := users_of(step, snapshot):
        yield Finding("in_use", Weight.NOTE, f"these go on under their old words: {', '.join(users)}")


def _create_index(step: Step, _snapshot: Snapshot, _rewrites: bool, _scans: bool) -> Iterator[Finding]:
    if not step.concurrently:
        yield _danger("index", "nobody can write the table while the index is built", "write CREATE INDEX CONCURRENTLY")


def _drop_index(step: Step, _snapshot: Snapshot, _rewrites: bool, _scans: bool) -> Iterator[Finding]:
    if not step.concurrently:
        yield Finding("index", Weight.NOTE, "it waits for every reader of the table", ("write DROP INDEX CONCURRENTLY",))


def _add_label(step: Step, _snapshot: Snapshot, _rewrites: bool, _scans: bool) -> Iterator[Finding]:
    if step.node.oldVal is None:
        yield Finding("label", Weight.NOTE, "a label cannot be taken away again")
    else:
        yield _danger("label", "whatever compares with the old label fails at once", "add a label, and change rows over to it")


def _drop_constraint(step: Step, snapshot: Snapshot, _rewrites: bool, _scans: bool) -> Iterator[Finding]:
    for user, key in snapshot.references.get(step.table, ()) if step.table else ():
        known = snapshot.details.constraints.get(step.table or ("", ""), ())
        if any(one.name == step.name and set(one.columns) == set(key.target_columns) for one in known):
            yield _danger("in_use", f"a foreign key points to it: {qualified(user.schema, user.name)}", "drop that one first")


def _rows(step: Step, _snapshot: Snapshot, _rewrites: bool, _scans: bool) -> Iterator[Finding]:
    if isinstance(step.node, (ast.UpdateStmt, ast.DeleteStmt)):
        yield Finding(
            "rows", Weight.NOTE, "all its rows stay locked to the end", ("write `-- in batches` before it, with a LIMIT",)
        )


def _other(step: Step, _snapshot: Snapshot, _rewrites: bool, _scans: bool) -> Iterator[Finding]:
    yield Finding("not_looked_at", Weight.NOTE, f"`{step.name or step.kind}` is not known here: see which locks it takes")


def _attach(_step: Step, _snapshot: Snapshot, _rewrites: bool, _scans: bool) -> Iterator[Finding]:
    yield Finding(
        "partition",
        Weight.NOTE,
        "its rows are read unless a valid check says that they fit",
        ("add such a check, NOT VALID, and validate it",),
    )


def _detach(step: Step, _snapshot: Snapshot, _rewrites: bool, _scans: bool) -> Iterator[Finding]:
    if not step.concurrently:
        yield _danger("partition", "nobody can read or write the whole meanwhile", "write DETACH PARTITION … CONCURRENTLY")


_RULES: Mapping[Kind, Callable[[Step, Snapshot, bool, bool], Iterator[Finding]]] = {
    Kind.ADD_COLUMN: _add_column,
    Kind.ADD_CONSTRAINT: _add_constraint,
    Kind.ADD_LABEL: _add_label,
    Kind.ATTACH_PARTITION: _attach,
    Kind.CHANGE_TYPE: _change_type,
    Kind.CREATE_INDEX: _create_index,
    Kind.DETACH_PARTITION: _detach,
    Kind.DROP_COLUMN: _drop_column,
    Kind.DROP_CONSTRAINT: _drop_constraint,
    Kind.DROP_INDEX: _drop_index,
    Kind.DROP_TABLE: _drop_table,
    Kind.OTHER: _other,
    Kind.RENAME_COLUMN: _rename,
    Kind.RENAME_TABLE: _rename,
    Kind.ROWS: _rows,
    Kind.SET_NOT_NULL: _set_not_null,
}
