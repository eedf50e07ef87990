"""Says what a database holds in one snapshot.

A fingerprint finds damage and what a restore left out; it proves nothing to whoever can choose rows. For a dump rows are hashed as
text under settings that are the same on every server, so that versions and the order of columns make no difference; for a copy of
a cluster, where both are what they were, in a cheaper way. Computed columns are left out: they are no data of their own. Rows that
the login may not see and tables that were emptied under the snapshot are errors.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import asyncpg

from ostiary_tools.backup.manifest import Fingerprint, Kind, TablePrint, Way
from ostiary_tools.backup.reading import RIGHTS, in_words, pin
from ostiary_tools.backup.row_digests import Column, Digests
from ostiary_tools.backup.sequences import positions
from ostiary_tools.backup.together import together
from ostiary_tools.datasources.sections import load_sections
from ostiary_tools.errors import Damaged, Unavailable
from ostiary_tools.identifiers import one_line, quoted

LARGE_OBJECTS = ("pg_catalog", "pg_largeobject")
"""The table that stands for all of them."""
_BLOCKS = 1 << 15
"""Of a table at once: 256 MB in pages of 8 kB."""
_AT_ONCE = 500
"""Tables in one statement that locks."""
_SMALL = 1 << 23
"""Bytes of a table that the server reads with one process in any case."""
_SQL = load_sections("fingerprints.sql", __package__)


class Moved(Unavailable):
    """Tables are no longer what the snapshot sees; another snapshot may do."""


@dataclass(frozen=True, slots=True)
class Table:
    """As a backup holds it."""

    oid: int
    schema: str
    name: str
    columns: tuple[Column, ...]
    """In an order of their own, which no change of the table changes."""
    blocks: int
    """As far as it may be read in parts, else none."""
    bytes: int
    """On the disk, without indexes."""
    member: bool
    """Whether an extension brought it, so that its rows are that extension's to select."""

    @property
    def quoted(self) -> str:
        """Its whole name."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


@dataclass(frozen=True, slots=True)
class _Part:
    """Some pages of a table, the last part without an end."""

    table: Table
    first: int
    end: int | None


async def taken(
    connection: asyncpg.Connection,
    database: str,
    kind: Kind,
    *,
    way: Way | None = None,
    workers: int = 0,
    beside: Sequence[asyncpg.Connection] = (),
    told: Callable[[int], None] = lambda _: None,
) -> Fingerprint:
    """What the snapshot of the connection's transaction, REPEATABLE READ, holds of what a backup of this kind has.

    The tables are locked against being emptied or rebuilt for as long as that transaction lasts. `told` takes rows as they are
    read. Others may read at the same time: so many `workers` of the server at a large table, but none while anybody else has a
    transaction open; or connections `beside` it that have imported the same snapshot, each a part of a table, for which the server
    forgets what it had in memory. Raises ToolError.
    """
    way = way or (Way.BINARY if kind.physical else Way.TEXT)
    with in_words():
        for each in beside:
            await pin(each)
        tables = await hold(connection, kind)
        sequences = await positions(connection, kind)
        prints = await _printed((connection, *beside), tables, await _digests(connection, way), workers, told)
        return Fingerprint(
            database,
            tuple(sorted((*prints, *await _large_objects(connection)), key=lambda one: (one.schema, one.table))),
            sequences,
            {f"{row['kind']} {row['name']}": row["state"] for row in await connection.fetch(_SQL["objects"].query)},
            {row["name"]: row["state"] for row in await connection.fetch(_SQL["extensions"].query)},
            way,
        )


async def of_schema(connection: asyncpg.Connection, schema: str) -> Sequence[TablePrint]:
    """The tables of one schema alone. Raises ToolError."""
    with in_words():
        await pin(connection)
        tables = await _tables(connection, Kind.LOGICAL, schema)
        return await _printed((connection,), tables, await _digests(connection, Way.TEXT), 0, lambda _: None)


async def hold(connection: asyncpg.Connection, kind: Kind) -> Sequence[Table]:
    """The tables that a backup of this kind holds, locked; all of them can be read whole. Raises ToolError."""
    with in_words():
        await pin(connection)
        tables = await _tables(connection, kind)
        await _locked(connection, tables)
        return tables


async def _tables(connection: asyncpg.Connection, kind: Kind, schema: str | None = None) -> Sequence[Table]:
    rows = await connection.fetch(_SQL["tables"].query, kind is Kind.FULL)
    rows = [row for row in rows if schema in {None, row["schema"]}]
    if closed := sum(not row["readable"] or row["hiding"] for row in rows):
        raise Unavailable(f"the login for backups may not read every row of {closed} of {len(rows)} tables", RIGHTS)
    return [
        Table(
            row["oid"],
            row["schema"],
            row["name"],
            tuple(map(Column, row["columns"], row["types"])),
            row["blocks"] if row["heap"] else 0,
            row["bytes"],
            row["member"],
        )
        for row in rows
    ]


async def _locked(connection: asyncpg.Connection, tables: Sequence[Table]) -> None:
    """A table that is emptied is empty in every snapshot, also in older ones."""
    for start in range(0, len(tables), _AT_ONCE):
        some = tables[start : start + _AT_ONCE]
        await connection.execute(f"LOCK TABLE {', '.join(f'ONLY {table.quoted}' for table in some)} IN ACCESS SHARE MODE")
    if await connection.fetchval(_SQL["moved"].query, [table.oid for table in tables]):
        raise Moved("tables were emptied, rebuilt or replaced while the backup began", "try again in a moment")


async def _digests(connection: asyncpg.Connection, way: Way) -> Digests:
    unsent = await connection.fetch(_SQL["unsent"].query) if way is Way.BINARY else ()
    encoding = await connection.fetchval("SELECT current_setting('server_encoding')")
    return Digests(way, connection.get_server_version().major, encoding == "UTF8", frozenset(row["type"] for row in unsent))


async def _printed(
    connections: Sequence[asyncpg.Connection], tables: Sequence[Table], digests: Digests, workers: int, told: Callable[[int], None]
) -> Sequence[TablePrint]:
    """Each connection takes the next part when it is done with one, parts of big tables first; one alone takes whole tables."""
    cut = _parts if len(connections) > 1 else _whole
    parts = deque(sorted((part for table in tables for part in cut(table)), key=lambda part: -part.table.blocks))
    counts: dict[int, int] = defaultdict(int)
    sums: dict[int, int] = defaultdict(int)

    async def work(connection: asyncpg.Connection) -> None:
        while parts:
            part = parts.popleft()
            if workers and part.table.bytes > _SMALL:
                await _invite(connection, workers)
            rows, total = await _read(connection, part, digests.of(part.table.columns))
            counts[part.table.oid] += rows
            sums[part.table.oid] += int(total)
            told(rows)

    await together([partial(work, connection) for connection in connections], at_once=len(connections))
    return [TablePrint(table.schema, table.name, counts[table.oid], str(sums[table.oid])) for table in tables]


async def _invite(connection: asyncpg.Connection, workers: int) -> None:
    """Let workers of the server help with what is read next, unless there is other work."""
    count = workers if await connection.fetchval(_SQL["alone"].query) else 0
    await connection.execute(f"SET LOCAL max_parallel_workers_per_gather = {count}")


async def _read(connection: asyncpg.Connection, part: _Part, digest: str) -> tuple[int, str]:
    try:
        [found] = await connection.fetch(_statement(part, digest))  # no worker helps with what is fetched by number
    except asyncpg.InternalServerError as error:
        what = f"table {one_line(part.table.quoted)}"
        raise Damaged(what, f"{what} cannot be read: a page of it is damaged", "look at the server's log") from error
    return found[0], found[1]


def _whole(table: Table) -> Iterator[_Part]:
    yield _Part(table, 0, None)


def _parts(table: Table) -> Iterator[_Part]:
    starts = range(0, max(1, table.blocks), _BLOCKS)
    for start in starts:
        yield _Part(table, start, None if start == starts[-1] else start + _BLOCKS)


def _statement(part: _Part, digest: str) -> str:
    """A sum of `int8` is a `numeric`, which holds any."""
    pages = [f"t.ctid >= '({part.first},0)'"] if part.first else []
    pages += [f"t.ctid < '({part.end},0)'"] if part.end is not None else []
    where = f" WHERE {' AND '.join(pages)}" if pages else ""
    return f"SELECT count(*), coalesce(sum({digest}), 0)::text FROM ONLY {part.table.quoted} AS t{where}"  # noqa: S608 -- quoted names


async def _large_objects(connection: asyncpg.Connection) -> Sequence[TablePrint]:
    """None where there are none."""
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_largeobject_metadata)"):
        return ()
    row = await connection.fetchrow(_SQL["large_objects"].query)
    return (TablePrint(*LARGE_OBJECTS, row["rows"], row["sum"]),)
