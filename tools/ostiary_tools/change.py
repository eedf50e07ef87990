"""A change as its owner knows it: what it was proposed as, what it did, and what touching its rows is to policy."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Column, Resource, Statement
from ostiary_tools.effects import Effects, Isolation, LockTaken, RowChange, TableEffect, Via
from ostiary_tools.errors import Refused, SchemaChanged
from ostiary_tools.result import Rows
from ostiary_tools.snapshot import Name, Relation
from ostiary_tools.view import SchemaView

State = Literal["proposed", "applying", "applied", "reverting", "reverted", "failed", "unknown"]
"""How far a change has come."""


@dataclass(frozen=True, slots=True)
class WayBack:
    """How the definitions of a change are taken back."""

    statements: tuple[str, ...] = ()
    """In their order; none where there is no way."""
    lasting: str = ""
    """Why there is none."""
    takes: str = ""
    """What goes with what they drop; empty where nothing does."""
    quotes: bool = False
    """They say what the catalog said, which may name what is hidden from the change's owner."""


@dataclass(frozen=True, slots=True)
class KnownChange:
    """A change that was proposed earlier, as the gate found it for its owner."""

    number: UUID
    """What the audit log knows it by: the id of the call that proposed it."""
    datasource: str
    state: State
    statements: tuple[Statement, ...]
    """As they were judged when they were proposed, with the caller's own values."""
    effects: Effects
    """What it was seen to do when it was proposed; what it did, once it was applied."""
    expires_at: datetime
    """Until when it can be applied, or undone once it was."""
    shown: tuple[str, ...] = ()
    """What people are shown of what it was seen to do, in lines; never more than its owner was."""
    back: WayBack = WayBack()


@dataclass(frozen=True, slots=True)
class Wish:
    """How a change is to be applied."""

    isolation: Isolation = Isolation.READ_COMMITTED
    lock_rows: bool = False
    """Lock the rows it was seen to touch before it begins."""


@dataclass(frozen=True, slots=True)
class TableCount:
    """Rows of one table that are others."""

    table: str
    inserted: int
    updated: int
    deleted: int
    via: Via


@dataclass(frozen=True, slots=True)
class Sample:
    """Some rows of one table as they were and as they are, as the caller may see them."""

    table: str
    before: Rows | None
    after: Rows | None


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change did or would do, as far as its caller may know it."""

    state: State
    change: str
    """The handle that it is called by."""
    datasource: str
    counts: tuple[int, ...]
    """Rows that each statement reported."""
    tables: tuple[TableCount, ...]
    triggers: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()
    locks: tuple[LockTaken, ...] = ()
    samples: tuple[Sample, ...] = ()
    lasting: str = ""
    """Why it cannot be undone; empty where it can."""
    takes: str = ""
    """What undoing it takes along."""
    approval: str = ""
    """Whose yes applying it waits for."""
    denied: str = ""
    """Why policy would not let its caller apply it."""
    good_for_s: float = 0.0
    """How long it can be applied, or undone once it was."""
    varying: tuple[str, ...] = ()
    """Columns whose values are others at each run, and so are others than was seen."""
    left: tuple[str, ...] = ()
    """Tables that triggers wrote, of which nothing was taken back."""


def touched(effects: Effects, view: SchemaView) -> tuple[Access, ...]:
    """What the change did, in policy's words; of what the caller may not know too. Raises SchemaChanged."""
    found = {access for effect in effects.tables for access in _touches(effect, view)}
    found |= {Access(Action.EXECUTE, _function(fired.function, view)) for fired in effects.fired}
    return _sorted(found)


def untouched(effects: Effects, view: SchemaView) -> tuple[Access, ...]:
    """What taking it back would be. Raises SchemaChanged."""
    found = {access for effect in effects.tables for access in _touches(inverse(effect), view)}
    found |= {Access(Action.EXECUTE, _function(fired.function, view)) for fired in effects.fired}
    return _sorted(found)


def inverse(effect: TableEffect) -> TableEffect:
    """The same rows the other way round."""
    rows = tuple(RowChange(row.after, row.before) for row in effect.rows)
    return TableEffect(effect.table, effect.columns, effect.key, rows, effect.via)


def changed_columns(effect: TableEffect) -> tuple[str, ...]:
    """Columns of updated rows that are others, in the table's order."""
    pairs = [(row.before, row.after) for row in effect.rows if row.before is not None and row.after is not None]
    return tuple(name for place, name in enumerate(effect.columns) if any(old[place] != new[place] for old, new in pairs))


def lasting(effects: Effects, back: WayBack) -> str:
    """Why the change cannot be undone; empty where it can."""
    if effects.defined:
        return "" if back.statements else back.lasting or "definitions were changed"
    keyless = [f"`{schema}.{name}`" for (schema, name), effect in effects.by_table() if not effect.key]
    return f"{', '.join(keyless)} {'has' if len(keyless) == 1 else 'have'} no primary key" if keyless else ""


def relation_of(table: Name, view: SchemaView) -> Relation:
    """What the snapshot knows of a table that was touched. Raises SchemaChanged when it knows none."""
    if (relation := view.snapshot.relations.get(table)) is None:
        raise SchemaChanged("the change touches a table that is newer than what is known of the schema", "propose it again")
    return relation


def _touches(effect: TableEffect, view: SchemaView) -> Iterator[Access]:
    relation = relation_of(effect.table, view)
    table = relation.resource(view.datasource)
    if effect.inserted:
        yield Access(Action.INSERT, table)
        yield from (Access(Action.INSERT, column) for column in _columns(relation, _given(effect, relation), view))
    if effect.updated:
        yield Access(Action.UPDATE, table)
        yield from (Access(Action.UPDATE, column) for column in _columns(relation, _set(effect, relation), view))
    if effect.deleted:
        yield Access(Action.DELETE, table)


def _given(effect: TableEffect, relation: Relation) -> Iterator[str]:
    """Columns of added rows that somebody gave a value: those without one of the table's own."""
    added = [row.after for row in effect.rows if row.before is None and row.after is not None]
    for place, name in enumerate(effect.columns):
        column = relation.column(name)
        own = column is not None and (column.generated or bool(column.default))
        if not own and any(row[place] is not None for row in added):
            yield name


def _set(effect: TableEffect, relation: Relation) -> Iterator[str]:
    """Columns of changed rows that are others, without those that the table itself computes of them."""
    for name in changed_columns(effect):
        column = relation.column(name)
        if column is None or not (column.generated and column.default):
            yield name


def _columns(relation: Relation, names: Iterable[str], view: SchemaView) -> Iterator[Column]:
    for name in names:
        if (column := relation.column(name)) is None:
            raise SchemaChanged("the change touches a column that is newer than what is known of the schema", "propose it again")
        yield relation.column_resource(view.datasource, column)


def _function(name: Name, view: SchemaView) -> Resource:
    try:
        return view.snapshot.function_resource(*name)
    except KeyError:
        raise SchemaChanged("the change fires a trigger that is newer than what is known of it", "propose it again") from None


def _sorted(accesses: Iterable[Access]) -> tuple[Access, ...]:
    return tuple(sorted(accesses, key=repr))


_MOVED = {
    "proposed": ("it was not applied", "call apply_change first"),
    "applying": ("it is being applied, or was when its connection broke", "call again in a minute: what became of it is found out"),
    "applied": ("it was applied already", "once is all; revert_change takes it back"),
    "reverting": ("it is being undone, or was when its connection broke", "call again in a minute: what became of it is found out"),
    "reverted": ("it was undone", "propose it again"),
    "failed": ("it could not be applied, and nothing of it was", "propose it again"),
    "unknown": ("what became of it cannot be found out any more: its database was replaced meanwhile", "look at its rows first"),
}


def moved(state: State) -> Refused:
    """The refusal of a change that has come to another state than it is needed in."""
    why, hint = _MOVED[state]
    return Refused("change", f"this change cannot be used so: {why}", hint)


def unknown_change() -> Refused:
    """The refusal of a change that is not the caller's, whether or not it is anybody's."""
    return Refused("change", "unknown change, or one that has ended", "propose it again")
