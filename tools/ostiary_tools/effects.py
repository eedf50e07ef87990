"""What a change does to a database, as it was seen from inside its transaction and from beside it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ostiary_tools.snapshot import Name

Values = tuple[str | None, ...]
"""A row as the database prints its values; `None` is NULL."""


class Isolation(StrEnum):
    """PostgreSQL's isolation levels; the value is the word of SQL in lower case."""

    READ_COMMITTED = "read committed"
    REPEATABLE_READ = "repeatable read"
    SERIALIZABLE = "serializable"


class Via(StrEnum):
    """Why a row changed."""

    STATEMENT = "statement"
    CASCADE = "cascade"
    """An action of a foreign key."""
    TRIGGER = "trigger"


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row: `before` is `None` where it was added, `after` where it was taken away."""

    before: Values | None
    after: Values | None


@dataclass(frozen=True, slots=True)
class TableEffect:
    """The rows of one table that are others after the change. Of a partitioned table its root is named."""

    table: Name
    columns: tuple[str, ...]
    """All that the table stores, generated ones among them, in its order; the values of each `RowChange` have it too."""
    key: tuple[str, ...]
    """The columns of its primary key; empty where it has none, and then nothing of it can be undone."""
    rows: tuple[RowChange, ...]
    via: Via
    """The nearest reason of any of them."""

    inserted: int = field(init=False, repr=False, compare=False)
    """Rows that were added."""
    updated: int = field(init=False, repr=False, compare=False)
    """Rows that were changed."""
    deleted: int = field(init=False, repr=False, compare=False)
    """Rows that were taken away."""

    def __post_init__(self) -> None:
        """Count once, where it is made: in a thread, since there may be a hundred thousand rows."""
        inserted = sum(row.before is None for row in self.rows)
        deleted = sum(row.after is None for row in self.rows)
        for name, count in (("inserted", inserted), ("updated", len(self.rows) - inserted - deleted), ("deleted", deleted)):
            object.__setattr__(self, name, count)


@dataclass(frozen=True, slots=True)
class Fired:
    """A trigger of a user's that the change fired, or could not be seen not to have."""

    table: Name
    trigger: str
    function: Name


@dataclass(frozen=True, slots=True)
class SequenceUse:
    """Numbers that were drawn from a sequence; they stay drawn when the change is rolled back."""

    sequence: Name
    drawn: int


@dataclass(frozen=True, slots=True)
class LockTaken:
    """The strongest lock that the change holds on a relation."""

    relation: Name
    mode: str
    """As PostgreSQL's documentation writes it: `ROW EXCLUSIVE`."""
    waiting: int
    """Sessions that waited for us when we looked."""
    rewritten: bool = False
    """The table's file is another one than before."""


@dataclass(frozen=True, slots=True)
class Effects:
    """All that a change did."""

    counts: tuple[int, ...]
    """Rows that each statement reported, in the order of the statements."""
    tables: tuple[TableEffect, ...] = ()
    """Sorted by name; tables with no changed row are not among them."""
    fired: tuple[Fired, ...] = ()
    sequences: tuple[SequenceUse, ...] = ()
    locks: tuple[LockTaken, ...] = ()
    defined: bool = False
    """The catalog was changed: relations, columns, types, functions, privileges or anything else that is defined."""

    @property
    def triggered(self) -> tuple[Name, ...]:
        """Tables that triggers alone have written."""
        return tuple(table.table for table in self.tables if table.via is Via.TRIGGER)

    @property
    def untriggered(self) -> "Effects":
        """The same without these."""
        tables = tuple(table for table in self.tables if table.via is not Via.TRIGGER)
        return replace(self, tables=tables)

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(len(table.rows) for table in self.tables)

    @property
    def rows_known(self) -> int | None:
        """Likewise; `None` where definitions were changed: how many rows a dropped table or column had, nobody has counted."""
        return None if self.defined else self.rows

    def by_table(self) -> Iterator[tuple[Name, TableEffect]]:
        """Each effect with its table."""
        return ((effect.table, effect) for effect in self.tables)
