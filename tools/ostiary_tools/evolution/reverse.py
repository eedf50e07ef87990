"""The way back of a migration: statements that leave the schema as it was, where there are any.

A reverse brings back what things are called and how they are defined, never rows: a
dropped table or column has none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pglast import ast, enums

from ostiary_tools.evolution.steps import Change, Kind, Step, found, found_column, name_of
from ostiary_tools.identifiers import identifier, qualified
from ostiary_tools.snapshot import Name, Snapshot
from ostiary_tools.sql.calls import parts


@dataclass(frozen=True, slots=True)
class Reverse:
    """What takes a migration back."""

    statements: tuple[str, ...] = ()
    """In their order."""
    reasons: tuple[str, ...] = ()
    """Why there is no whole way back; empty when there is one."""

    @property
    def whole(self) -> bool:
        """Whether it takes back everything."""
        return not self.reasons


class _NoWayBack(Exception):
    """Its text says why."""


def reverse(changes: tuple[Change, ...], snapshot: Snapshot) -> Reverse:
    """The reverse of statements that ran in this order on the snapshot's schema."""
    statements: list[str] = []
    reasons: list[str] = []
    for step in reversed(_not_of_new_things([step for change in changes for step in change.steps])):
        try:
            statements.extend(_way_back(step, snapshot))
        except _NoWayBack as reason:
            reasons.append(f"{step.kind}{f' `{step.name}`' if step.name else ''}: {reason}")
    return Reverse(tuple(statements), tuple(reasons))


def _not_of_new_things(steps: Sequence[Step]) -> list[Step]:
    """Without what is done to tables and columns that the same migration makes: it goes with them."""
    made: set[tuple[Name | None, str]] = set()
    kept = []
    for step in steps:
        new_table = (step.table, "") in made and step.kind not in {Kind.RENAME_TABLE, Kind.DROP_TABLE}
        new_column = bool(touched := _columns(step)) and all((step.table, name) in made for name in touched)
        if not new_table and not new_column:
            kept.append(step)
        if step.kind in {Kind.CREATE_TABLE, Kind.ADD_PARTITION}:
            made.add((step.table, ""))
        if step.kind is Kind.ADD_COLUMN:
            made.add((step.table, step.name))
    return kept


_OF_COLUMNS = frozenset(
    {Kind.SET_DEFAULT, Kind.DROP_DEFAULT, Kind.SET_NOT_NULL, Kind.DROP_NOT_NULL, Kind.CHANGE_TYPE, Kind.ADD_IDENTITY, Kind.COMMENT}
)


def _columns(step: Step) -> tuple[str, ...]:
    """The columns that are all that a step changes."""
    if isinstance(step.node, ast.UpdateStmt):
        return tuple(str(target.name) for target in step.node.targetList or ())
    return (step.name,) if step.kind in _OF_COLUMNS and step.name else ()


def _way_back(step: Step, snapshot: Snapshot) -> tuple[str, ...]:
    if step.cascades:
        raise _NoWayBack("what CASCADE took along is not known")
    maker = _MAKERS.get(step.kind)
    if maker is None:
        raise _NoWayBack(_REASONS.get(step.kind, "it is not known what it changed"))
    return maker(step, snapshot)


_REASONS = {
    Kind.DROP_TABLE: "its rows are gone",
    Kind.DROP_COLUMN: "its values are gone",
    Kind.ADD_LABEL: "PostgreSQL takes no label away from an enum",
    Kind.ROWS: "rows are not brought back by a definition",
    Kind.DROP_SCHEMA: "who owned it and who might use it is not known",
    Kind.DROP_VIEW: "who might use it is not known",
    Kind.SET_OPTIONS: "the options it had are not known",
    Kind.SET_STATISTICS: "the target it had is not known",
}


def _table(step: Step) -> str:
    return f"ALTER TABLE {step.relation}"


def _column(step: Step) -> str:
    return f"{_table(step)} ALTER COLUMN {identifier(step.name)}"


def _drop_table(step: Step, _snapshot: Snapshot) -> tuple[str, ...]:
    return (f"DROP TABLE {step.relation}",)


def _add_column(step: Step, _snapshot: Snapshot) -> tuple[str, ...]:
    return (f"{_table(step)} DROP COLUMN {identifier(step.name)}",)


def _rename_column(step: Step, _snapshot: Snapshot) -> tuple[str, ...]:
    return (f"{_table(step)} RENAME COLUMN {identifier(step.new_name)} TO {identifier(step.name)}",)


def _rename_table(step: Step, _snapshot: Snapshot) -> tuple[str, ...]:
    if step.table is None:
        raise _NoWayBack("the table is not known")
    return (f"ALTER TABLE {qualified(step.table[0], step.new_name)} RENAME TO {identifier(step.table[1])}",)


def _rename_constraint(step: Step, _snapshot: Snapshot) -> tuple[str, ...]:
    return (f"{_table(step)} RENAME CONSTRAINT {identifier(step.new_name)} TO {identifier(step.name)}",)


def _rename_index(step: Step, snapshot: Snapshot) -> tuple[str, ...]:
    schema = name_of(step.node.relation, snapshot)[0]
    return (f"ALTER INDEX {qualified(schema, step.new_name)} RENAME TO {identifier(step.name)}",)


def _default(step: Step, snapshot: Snapshot) -> tuple[str, ...]:
    column = found_column(step, snapshot)
    if column is None:
        raise _NoWayBack("the column is not known before the migration")
    if column.generated:
        raise _NoWayBack("it is no default that the column has")
    return (f"{_column(step)} SET DEFAULT {column.default}" if column.default else f"{_column(step)} DROP DEFAULT",)


def _not_null(step: Step, snapshot: Snapshot) -> tuple[str, ...]:
    column = found_column(step, snapshot)
    if column is None:
        raise _NoWayBack("the column is not known before the migration")
    return (f"{_column(step)} {'SET' if column.not_null else 'DROP'} NOT NULL",)


def _type(step: Step, snapshot: Snapshot) -> tuple[str, ...]:
    column = found_column(step, snapshot)
    if column is None:
        raise _NoWayBack("the column is not known before the migration")
    if column.default and not column.generated:
        # A default of the new type may be none of the old one.
        back = f"{_column(step)} TYPE {column.type} USING {identifier(step.name)}::{column.type}"
        return f"{_column(step)} DROP DEFAULT", back, f"{_column(step)} SET DEFAULT {column.default}"
    return (f"{_column(step)} TYPE {column.type} USING {identifier(step.name)}::{column.type}",)


def _add_identity(step: Step, _snapshot: Snapshot) -> tuple[str, ...]:
    return (f"{_column(step)} DROP IDENTITY",)


def _add_constraint(step: Step, snapshot: Snapshot) -> tuple[str, ...]:
    constraint = step.node.def_
    if constraint.indexname:
        raise _NoWayBack("the index that it took over would go with it")
    if not constraint.conname:
        raise _NoWayBack("PostgreSQL chooses its name; give it one")
    dropped = f"{_table(step)} DROP CONSTRAINT {identifier(constraint.conname)}"
    if constraint.contype != enums.ConstrType.CONSTR_PRIMARY:
        return (dropped,)
    relation = found(step, snapshot)
    if relation is None:
        raise _NoWayBack("which of its columns were NOT NULL is not known")
    # A primary key makes its columns NOT NULL, and leaves them so.
    keys = [column for column in relation.columns if column.name in parts(constraint.keys) and not column.not_null]
    return (dropped, *(f"{_table(step)} ALTER COLUMN {identifier(column.name)} DROP NOT NULL" for column in keys))


def _validate(_step: Step, _snapshot: Snapshot) -> tuple[str, ...]:
    raise _NoWayBack("a constraint that was found to hold stays so")


def _drop_constraint(step: Step, snapshot: Snapshot) -> tuple[str, ...]:
    known = snapshot.details.constraints.get(step.table, ()) if step.table else ()
    for one in known:
        if one.name == step.name:
            return (f"{_table(step)} ADD CONSTRAINT {identifier(one.name)} {one.definition}",)
    raise _NoWayBack("the constraint is not known before the migration")


def _create_index(step: Step, _snapshot: Snapshot) -> tuple[str, ...]:
    if not step.name or step.table is None:
        raise _NoWayBack("PostgreSQL chooses its name; give it one")
    concurrently = "CONCURRENTLY " if step.concurrently else ""
    return (f"DROP INDEX {concurrently}{qualified(step.table[0], step.name)}",)


def _drop_index(step: Step, snapshot: Snapshot) -> tuple[str, ...]:
    relation = found(step, snapshot)
    index = next((each for each in relation.indexes if each.name == step.name), None) if relation else None
    if index is None:
        raise _NoWayBack("the index is not known before the migration")
    words = f"{'UNIQUE ' if index.unique else ''}INDEX {'CONCURRENTLY ' if step.concurrently else ''}"
    return (f"CREATE {words}{identifier(index.name)} ON {step.relation} USING {index.definition}",)


def _create_view(step: Step, snapshot: Snapshot) -> tuple[str, ...]:
    if step.node.replace and found(step, snapshot) is not None:
        raise _NoWayBack("it took the place of another view")
    return (f"DROP VIEW {step.relation}",)


def _create_enum(step: Step, _snapshot: Snapshot) -> tuple[str, ...]:
    return (f"DROP TYPE {step.relation}",)


def _label(step: Step, _snapshot: Snapshot) -> tuple[str, ...]:
    if step.node.oldVal is None:
        raise _NoWayBack(_REASONS[Kind.ADD_LABEL])
    old, new = _literal(step.node.oldVal), _literal(step.node.newVal)
    return (f"ALTER TYPE {step.relation} RENAME VALUE {new} TO {old}",)


def _literal(text: str) -> str:
    quoted = text.replace("'", "''")
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in text else f"'{quoted}'"


def _drop_type(step: Step, snapshot: Snapshot) -> tuple[str, ...]:
    known = snapshot.types.get(step.table) if step.table else None
    if known is None or known.kind != "enum":
        raise _NoWayBack("only an enum is made again")
    return (f"CREATE TYPE {step.relation} AS ENUM ({', '.join(map(_literal, known.labels))})",)


def _create_sequence(step: Step, _snapshot: Snapshot) -> tuple[str, ...]:
    return (f"DROP SEQUENCE {step.relation}",)


def _drop_sequence(_step: Step, _snapshot: Snapshot) -> tuple[str, ...]:
    raise _NoWayBack("where it stood is gone")


def _create_schema(step: Step, _snapshot: Snapshot) -> tuple[str, ...]:
    return (f"DROP SCHEMA {identifier(step.name)}",)


def _comment(step: Step, snapshot: Snapshot) -> tuple[str, ...]:
    relation = found(step, snapshot)
    if relation is None or isinstance(step.node.object, ast.TypeName):
        raise _NoWayBack("the comment it had is not known")
    thing = relation if not step.name else relation.column(step.name)
    if thing is None:
        raise _NoWayBack("the comment it had is not known")
    what = (
        f"COLUMN {step.relation}.{identifier(step.name)}" if step.name else f"{_WORDS.get(relation.kind, 'TABLE')} {step.relation}"
    )
    return (f"COMMENT ON {what} IS {_literal(thing.comment) if thing.comment else 'NULL'}",)


_WORDS = {"view": "VIEW"}

_MAKERS: Mapping[Kind, Callable[[Step, Snapshot], tuple[str, ...]]] = {
    Kind.ADD_COLUMN: _add_column,
    Kind.ADD_CONSTRAINT: _add_constraint,
    Kind.ADD_IDENTITY: _add_identity,
    Kind.ADD_LABEL: _label,
    Kind.ADD_PARTITION: _drop_table,
    Kind.CHANGE_TYPE: _type,
    Kind.COMMENT: _comment,
    Kind.CREATE_ENUM: _create_enum,
    Kind.CREATE_INDEX: _create_index,
    Kind.CREATE_SCHEMA: _create_schema,
    Kind.CREATE_SEQUENCE: _create_sequence,
    Kind.CREATE_TABLE: _drop_table,
    Kind.CREATE_VIEW: _create_view,
    Kind.DROP_CONSTRAINT: _drop_constraint,
    Kind.DROP_DEFAULT: _default,
    Kind.DROP_INDEX: _drop_index,
    Kind.DROP_NOT_NULL: _not_null,
    Kind.DROP_SEQUENCE: _drop_sequence,
    Kind.DROP_TYPE: _drop_type,
    Kind.RENAME_COLUMN: _rename_column,
    Kind.RENAME_CONSTRAINT: _rename_constraint,
    Kind.RENAME_INDEX: _rename_index,
    Kind.RENAME_TABLE: _rename_table,
    Kind.SET_DEFAULT: _default,
    Kind.SET_NOT_NULL: _not_null,
    Kind.VALIDATE_CONSTRAINT: _validate,
}
