"""Rows of a table before and after a change, as versions that PostgreSQL keeps side by side. Text of SQL, and plain values.

A version is where it lies: the table that holds it, and the place in it. What a transaction wrote is what it alone sees.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ostiary_tools.effects import RowChange, Values
from ostiary_tools.identifiers import quoted
from ostiary_tools.snapshot import Name

Place = tuple[int, str]
"""OID of the table that holds it, and its ctid."""


MOST_VALUE_CHARS = 16_000_000
"""Of one value; a change of a longer one is refused."""


class Counts(NamedTuple):
    """Rows written, as the server counts them: what was rolled back to a savepoint too, and a row each time it was written."""

    inserted: int
    updated: int
    deleted: int

    def __add__(self, other: tuple[Any, ...]) -> "Counts":
        """Of both."""
        return Counts(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def since(self, before: "Counts") -> "Counts":
        """What came on top."""
        return Counts(*(now - then for now, then in zip(self, before, strict=True)))

    @property
    def rows(self) -> int:
        """At most so many rows are others than before."""
        return max(self.inserted + self.updated, self.updated + self.deleted)


@dataclass(frozen=True, slots=True)
class Column:
    """What is stored of one."""

    name: str
    type: str
    """As SQL writes it, with its modifier."""
    generated: bool
    always: bool
    """An identity that takes no other value in an UPDATE."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A table, or the whole of a partitioned one."""

    oid: int
    name: Name
    partitioned: bool
    filtered: bool
    """Row security filters what the login sees of it."""
    columns: tuple[Column, ...]
    key: tuple[int, ...]
    """Places of the primary key's columns."""

    @property
    def sql(self) -> str:
        """Its name for FROM; rows of tables that inherit from it are theirs."""
        return f"{'' if self.partitioned else 'ONLY '}{quoted(self.name[0])}.{quoted(self.name[1])}"

    @property
    def printed(self) -> str:
        """Its values as text, for a SELECT from it as `t`."""
        texts = (text_of(f"t.{quoted(column.name)}") for column in self.columns)
        return ", ".join(f"pg_catalog.left({text}, {MOST_VALUE_CHARS + 1})" for text in texts)

    @property
    def key_columns(self) -> list[tuple[int, Column]]:
        """The primary key's columns with their places."""
        return [(place, self.columns[place]) for place in self.key]

    def key_of(self, values: Values) -> Values:
        """The values of the primary key."""
        return tuple(values[place] for place in self.key)


def text_of(value: str) -> str:
    """The text that the type's output function makes of a value, and NULL of NULL: see `statement.printed`."""
    return f"CASE WHEN {value} IS DISTINCT FROM NULL THEN pg_catalog.concat({value}) END"


@dataclass(frozen=True, slots=True)
class Images:
    """The versions that a change took away from a table and those it added."""

    layout: Layout
    before: Mapping[Place, Values]
    after: Mapping[Place, Values]


def added(layout: Layout) -> str:
    """What this transaction added and sees; $1 is how many transactions have begun since.

    Its own transactions are still in progress, and of others it sees none that are. The number in a frozen row may be so old that
    it looks like one to come, of which nothing can be asked.
    """
    number = "(pg_catalog.pg_current_xact_id()::text::int8 - pg_catalog.age(t.xmin)::int8)::text::pg_catalog.xid8"
    ours = f"pg_catalog.pg_xact_status({number}) = 'in progress'"
    recent = "pg_catalog.age(t.xmin) <= 0 AND pg_catalog.age(t.xmin) > -$1::int4"
    return f"{_select(layout)} WHERE CASE WHEN {recent} THEN {ours} ELSE false END"


def marked(layout: Layout) -> str:
    """What somebody beside sees that may have been taken away since transaction $1 and multixact $2 were next."""
    recent = "pg_catalog.age(t.xmax) <= pg_catalog.age($1::text::pg_catalog.xid)"
    shared = "pg_catalog.mxid_age(t.xmax) <= pg_catalog.mxid_age($2::text::pg_catalog.xid)"
    return f"{_select(layout)} WHERE t.xmax <> '0'::pg_catalog.xid AND ({recent} OR {shared})"


def at(layout: Layout) -> str:
    """What is seen of the versions at these places ($1, $2: OIDs and ctids)."""
    return f"{_select(layout)} WHERE {among('$1::pg_catalog.oid[]', '$2::text[]::pg_catalog.tid[]')}"


def keyed(layout: Layout) -> str:
    """What is seen of the rows with these keys, an array of texts for each column of the key."""
    names = ", ".join(f"k{place}" for place in layout.key)
    arrays = ", ".join(f"pg_catalog.unnest(${number}::text[])" for number in range(1, len(layout.key) + 1))
    same = " AND ".join(f"t.{quoted(column.name)} = CAST(v.k{place} AS {column.type})" for place, column in layout.key_columns)
    return f"{_select(layout)} JOIN ROWS FROM ({arrays}) AS v ({names}) ON {same}"


def places(layout: Layout) -> str:
    """Which of these places ($1, $2) are seen at all."""
    where = among("$1::pg_catalog.oid[]", "$2::text[]::pg_catalog.tid[]")
    return f"SELECT t.tableoid::int8, t.ctid::text FROM {layout.sql} AS t WHERE {where}"  # noqa: S608  names are quoted


def among(oids: str, tids: str) -> str:
    """That a version of `t` lies at one of these places; the first half alone makes it a look at each and no scan."""
    both = f"SELECT * FROM ROWS FROM (pg_catalog.unnest({oids}), pg_catalog.unnest({tids}))"  # noqa: S608  ours
    return f"t.ctid = ANY ({tids}) AND (t.tableoid, t.ctid) IN ({both})"


def _select(layout: Layout) -> str:
    values = f", {layout.printed}" if layout.columns else ""
    return f"SELECT t.tableoid::int8, t.ctid::text{values} FROM {layout.sql} AS t"  # noqa: S608  names are quoted


def split(found: Iterable[Place]) -> tuple[list[int], list[str]]:
    """OIDs and ctids apart, as parameters."""
    listed = list(found)
    return [oid for oid, _ in listed], [tid for _, tid in listed]


def versions(rows: Sequence[Any]) -> dict[Place, Values]:
    """What `added`, `marked` or `at` gave."""
    return {(row[0], row[1]): tuple(row)[2:] for row in rows}


def pair(images: Images, counts: Counts, known: Mapping[Place, Place]) -> tuple[RowChange, ...]:
    """Rows before with rows after, sorted: where the server said which became which (`known`: new place → old), else by key.

    A row whose key changed is one that went and one that came, unless there is a single one and nothing else was done.
    """
    before, after = dict(images.before), dict(images.after)
    rows: list[RowChange] = []
    for new, old in known.items():
        if new in after and old in before:
            rows.append(RowChange(before.pop(old), after.pop(new)))
    if images.layout.key:
        rows += _by_key(images.layout, before, after)
    if len(before) == len(after) == 1 and not counts.inserted + counts.deleted:
        rows.append(RowChange(before.popitem()[1], after.popitem()[1]))
    rows += [RowChange(values, None) for values in before.values()]
    rows += [RowChange(None, values) for values in after.values()]
    return tuple(sorted(rows, key=_order))


def _by_key(layout: Layout, before: dict[Place, Values], after: dict[Place, Values]) -> list[RowChange]:
    """Takes what it pairs out of both."""
    by_key: defaultdict[Values, list[Place]] = defaultdict(list)
    for place, values in before.items():
        by_key[layout.key_of(values)].append(place)
    found: list[RowChange] = []
    for place, values in list(after.items()):
        if olds := by_key.get(layout.key_of(values)):
            found.append(RowChange(before.pop(olds.pop()), after.pop(place)))
    return found


def _order(row: RowChange) -> tuple[tuple[bool, str], ...]:
    values = (*(row.before or row.after or ()), *(row.after or ()))
    return tuple((value is not None, value or "") for value in values)
