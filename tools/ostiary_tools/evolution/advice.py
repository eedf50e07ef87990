"""How a step is taken in three: expand, migrate, contract, so that the old program and the new one both work meanwhile."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ostiary_tools.evolution import types
from ostiary_tools.evolution.findings import not_null_steps
from ostiary_tools.evolution.linter import Verdict
from ostiary_tools.evolution.steps import Kind, Step, found, spelled
from ostiary_tools.identifiers import identifier, qualified
from ostiary_tools.snapshot import Snapshot
from ostiary_tools.sql.printing import print_tree

BATCH = 1_000
"""Rows in a batch of a backfill."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One stage of a safer way."""

    stage: str
    """`expand`, `migrate` or `contract`."""
    words: str
    statements: tuple[str, ...] = ()


def advise(verdict: Verdict, snapshot: Snapshot) -> tuple[Advice, ...]:
    """A safer way for a step that is unsafe; none where it is safe, or there is no other way."""
    maker = _WAYS.get(verdict.step.kind)
    return maker(verdict, snapshot) if maker is not None else ()


def backfill(step: Step, column: str, value: str, snapshot: Snapshot) -> str:
    """A statement for `-- in batches`: it fills the column where it is null, so many rows at a time."""
    relation = found(step, snapshot)
    key = ", ".join(map(identifier, relation.primary_key)) if relation and relation.primary_key else "ctid"
    filled = identifier(column)
    return (
        # It is printed for a person, of names in quotes and expressions of their own.
        f"-- in batches\nUPDATE {step.relation} SET {filled} = {value} WHERE ({key}) IN (SELECT {key} FROM {step.relation} "  # noqa: S608 see above
        f"WHERE {filled} IS NULL AND {value} IS NOT NULL LIMIT {BATCH} FOR UPDATE SKIP LOCKED)"
    )


def _another_column(step: Step, new: str, type_: str, value: str, snapshot: Snapshot, *, last: str = "") -> tuple[Advice, ...]:
    added = f"ALTER TABLE {step.relation} ADD COLUMN {identifier(new)} {type_}"
    old = identifier(step.name)
    contracted = (f"ALTER TABLE {step.relation} DROP COLUMN {old}", *([last] if last else []))
    return (
        Advice("expand", f"add `{new}`; a new version of the program writes both and reads `{step.name}`", (added,)),
        Advice("migrate", "fill it in batches, then let the program read it", (backfill(step, new, value, snapshot),)),
        Advice("contract", f"when nothing uses `{step.name}` any more, drop it", contracted),
    )


def _rename_column(verdict: Verdict, snapshot: Snapshot) -> tuple[Advice, ...]:
    step = verdict.step
    relation = found(step, snapshot)
    column = relation.column(step.name) if relation else None
    return _another_column(step, step.new_name, column.type if column else "the same type", identifier(step.name), snapshot)


def _change_type(verdict: Verdict, snapshot: Snapshot) -> tuple[Advice, ...]:
    if not verdict.rewrites:
        return ()
    step = verdict.step
    type_ = print_tree(step.node.def_.typeName)
    new = f"{step.name}_new"
    using = spelled(step.node.def_.raw_default) if step.node.def_.raw_default is not None else f"{identifier(step.name)}::{type_}"
    last = f"ALTER TABLE {step.relation} RENAME COLUMN {identifier(new)} TO {identifier(step.name)}"
    return _another_column(step, new, type_, using, snapshot, last=last)


def _rename_table(verdict: Verdict, _snapshot: Snapshot) -> tuple[Advice, ...]:
    step = verdict.step
    new = qualified(step.table[0], step.new_name) if step.table else step.new_name
    view = f"CREATE VIEW {step.relation} WITH (security_invoker = true) AS SELECT * FROM {new}"  # noqa: S608 printed for a person
    renamed = f"ALTER TABLE {step.relation} RENAME TO {identifier(step.new_name)}"
    return (
        Advice("expand", "rename it and leave a view under the old name, in one transaction", (renamed, view)),
        Advice("migrate", "let the program use the new name, and the policies name it"),
        Advice("contract", "when nothing uses the old name any more, drop the view", (f"DROP VIEW {step.relation}",)),
    )


def _set_not_null(verdict: Verdict, _snapshot: Snapshot) -> tuple[Advice, ...]:
    if not verdict.scans:
        return ()
    first, *later = not_null_steps(verdict.step)
    return (
        Advice("expand", "let new rows be checked; old ones are not looked at", (first,)),
        Advice("migrate", "fill what is null in batches, and validate while the table is in use", (later[0],)),
        Advice("contract", "the check proves it, so no row is read", tuple(later[1:])),
    )


def _add_column(verdict: Verdict, snapshot: Snapshot) -> tuple[Advice, ...]:
    step = verdict.step
    column = step.node.def_
    default = next((each.raw_expr for each in column.constraints or () if each.contype.name == "CONSTR_DEFAULT"), None)
    if not verdict.rewrites or default is None or types.is_serial(column.typeName):
        return ()
    value, name = spelled(default), identifier(step.name)
    added = f"ALTER TABLE {step.relation} ADD COLUMN {name} {print_tree(column.typeName)}"
    defaulted = f"ALTER TABLE {step.relation} ALTER COLUMN {name} SET DEFAULT {value}"
    return (
        Advice("expand", "add it without a value, then set the default for new rows", (added, defaulted)),
        Advice("migrate", "fill old rows in batches", (backfill(step, step.name, value, snapshot),)),
    )


_WAYS: Mapping[Kind, Callable[[Verdict, Snapshot], tuple[Advice, ...]]] = {
    Kind.ADD_COLUMN: _add_column,
    Kind.CHANGE_TYPE: _change_type,
    Kind.RENAME_COLUMN: _rename_column,
    Kind.RENAME_TABLE: _rename_table,
    Kind.SET_NOT_NULL: _set_not_null,
}
