"""Whether what a copy holds is sound in itself: indexes agree with their tables, and rows with what their pages say.

Asked of a server that is thrown away afterwards, since the extension that looks (`amcheck`) is made there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from ostiary_tools.backup.scratch import Scratch
from ostiary_tools.datasources.sections import load_sections
from ostiary_tools.errors import Damaged
from ostiary_tools.identifiers import quoted

_SQL = load_sections("soundness.sql", __package__)


@dataclass(frozen=True, slots=True)
class Looked:
    """How much was looked at."""

    databases: int = 0
    tables: int = 0
    indexes: int = 0


async def sound(scratch: Scratch) -> Looked:
    """Look at all databases of a copy that takes writes. Raises Damaged, naming the relation."""
    counts = [await _database(scratch, name) for name in await databases(scratch)]
    return Looked(len(counts), sum(one.tables for one in counts), sum(one.indexes for one in counts))


async def databases(scratch: Scratch) -> Sequence[str]:
    """Of the copy, as far as anybody may connect to them."""
    connection = await scratch.connect()
    try:
        return [row["name"] for row in await connection.fetch(_SQL["databases"].query)]
    finally:
        await connection.close()


async def _database(scratch: Scratch, name: str) -> Looked:
    connection = await scratch.connect(name)
    try:
        for section in ("amcheck", "of_now", "within_reach"):
            await connection.execute(_SQL[section].query)
        tables = await connection.fetch(_SQL["tables"].query)
        for row in tables:
            await _rows_hold(connection, name, row)
        indexes = await connection.fetch(_SQL["indexes"].query)
        for row in indexes:
            await _index_holds(connection, name, row)
    finally:
        await connection.close()
    return Looked(1, len(tables), len(indexes))


async def _rows_hold(connection: asyncpg.Connection, database: str, row: asyncpg.Record) -> None:
    try:
        bad = await connection.fetch(_SQL["heap"].query, row["oid"])
    except asyncpg.DataCorruptedError as error:
        raise _damaged("table", database, row, str(error)) from None
    if bad:
        raise _damaged("table", database, row, f"block {bad[0]['block']}: {bad[0]['words']}")


async def _index_holds(connection: asyncpg.Connection, database: str, row: asyncpg.Record) -> None:
    try:
        await connection.execute(_SQL["index"].query, row["oid"])
    except (asyncpg.IndexCorruptedError, asyncpg.DataCorruptedError) as error:
        raise _damaged("index", database, row, str(error)) from None


def _damaged(kind: str, database: str, row: asyncpg.Record, words: str) -> Damaged:
    what = f"{kind} {quoted(row['schema'])}.{quoted(row['name'])} of database {quoted(database)}"
    return Damaged(what, f"{what} is not sound: {words}", "do not restore from this backup")
