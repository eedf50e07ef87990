"""Reads a bounded sample of a relation through its datasource: READ ONLY, within the server's limits, nothing kept.

A relation is read only when that runs nothing besides: no function of a view, of a row security policy, of a
column's type. A foreign table would have another server asked. Of these the names and types are all that is looked at.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from ostiary_policies.model import Statement
from ostiary_tools.classification.column import Family, Sampled, family
from ostiary_tools.datasources.port import Datasource, ReadLimits
from ostiary_tools.errors import DatabaseError, Refused, SchemaChanged, TimedOut
from ostiary_tools.identifiers import identifier, qualified
from ostiary_tools.snapshot import ColumnInfo, Relation, RelationKind, Snapshot

_READ = frozenset({Family.TEXT, Family.NUMBER, Family.TIME, Family.NETWORK, Family.DOCUMENT})
_CHARS = 400
"""Of a value: enough to know it by."""
_COLUMNS = 25
"""Read at once, so that a sample of a wide table fits into memory."""
_LARGE = 20
"""A table of so many samples is read from blocks all over it; a smaller one from its beginning."""
_DRAWN = 3
"""So many times the sample is drawn, and shuffled before it is cut: else it would come from the first of the blocks."""
_LEAST_DRAWN = 3000
"""Rows drawn at least, so that they stand in more than one block."""


RUNS = "reading it runs functions"
"""Why a relation or a column is not read."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One relation's columns with the values that were read."""

    relation: Relation
    columns: tuple[Sampled, ...] = field(repr=False)
    unread: str = ""
    """Why there are no values, in words without any; empty where they were read."""


async def samples(source: Datasource, snapshot: Snapshot, *, rows: int, timeout_s: float) -> AsyncIterator[Sample]:
    """Every relation of the snapshot in the order of names, with at most so many of its rows. Raises Unavailable."""
    for _, relation in sorted(snapshot.relations.items()):
        unread = _why_unread(relation)
        values: dict[str, tuple[str, ...]] = {}
        if not unread:
            try:
                values = await _values(source, snapshot, relation, rows, timeout_s)
            except (DatabaseError, Refused, SchemaChanged, TimedOut) as failure:
                unread = _in_words(failure)
        yield Sample(relation, _columns(snapshot, relation, values), unread)


def _why_unread(relation: Relation) -> str:
    if relation.kind is RelationKind.FOREIGN_TABLE:
        return "it is a foreign table, and another server would be asked"
    if relation.runs:
        return RUNS
    return ""


def _in_words(failure: DatabaseError | Refused | SchemaChanged | TimedOut) -> str:
    """Never the failure's own words: the database may quote a value in them."""
    match failure:
        case TimedOut():
            return "it took longer than `limits.timeout_s`"
        case DatabaseError():
            return f"the database refused it (SQLSTATE {failure.sqlstate})"
        case _:
            return "it was changed meanwhile"


def _columns(snapshot: Snapshot, relation: Relation, values: dict[str, tuple[str, ...]]) -> tuple[Sampled, ...]:
    return tuple(
        Sampled(relation.name, column.name, family_of(snapshot, column), values.get(column.name, ())) for column in relation.columns
    )


def family_of(snapshot: Snapshot, column: ColumnInfo) -> Family:
    """The family of a column's type; of a domain that of what it is made of."""
    kind = column.kind
    while kind is not None and kind[0] != "pg_catalog":
        info = snapshot.types.get(kind)
        if info is None or info.base is None:
            break
        kind = info.base
    return family(kind[1]) if kind is not None else Family.OTHER


async def _values(
    source: Datasource, snapshot: Snapshot, relation: Relation, rows: int, timeout_s: float
) -> dict[str, tuple[str, ...]]:
    wanted = [column.name for column in relation.columns if not column.runs and family_of(snapshot, column) in _READ]
    relied = snapshot.relied_on([relation.resource(source.name)])
    found: dict[str, tuple[str, ...]] = {}
    for start in range(0, len(wanted), _COLUMNS):
        names = wanted[start : start + _COLUMNS]
        limits = ReadLimits(timeout_s=timeout_s, max_rows=rows, max_chars=max(_CHARS * len(names), rows))
        async with source.read(limits, relied) as reader:
            sample: tuple[tuple[str | None, ...], ...] = ()
            for statement in statements(relation, names, rows):
                sample = sample or (await reader.rows(statement)).rows
        for name, column in zip(names, zip(*sample, strict=True), strict=False):
            found[name] = tuple(value for value in column if value is not None and value.strip())
    return found


def statements(relation: Relation, columns: Sequence[str], rows: int) -> tuple[Statement, ...]:
    """What reads the sample, to be tried in order until one of them finds rows.

    A large table is drawn from by blocks; its estimate may be far off, so that none are drawn.
    """
    read = f"SELECT {', '.join(map(identifier, columns))} FROM {qualified(relation.schema, relation.name)}"  # noqa: S608 quoted names
    plain = Statement(f"{read} LIMIT {rows}")
    estimated = relation.estimated_rows or 0
    if relation.kind is RelationKind.VIEW or estimated < _LARGE * rows:
        return (plain,)
    percent = min(100.0, 100 * max(_DRAWN * rows, _LEAST_DRAWN) / estimated)
    drawn = f"{read} TABLESAMPLE SYSTEM ({percent:.6f}) ORDER BY pg_catalog.random() LIMIT {rows}"
    return Statement(drawn), plain
