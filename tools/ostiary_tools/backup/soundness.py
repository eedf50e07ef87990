"""Whether what a copy holds is sound in itself: indexes agree with their tables, and rows with what their pages say.

Asked of a server that is thrown away afterwards, since the extension that looks (`amcheck`) is made there.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import asyncpg

from ostiary_tools.backup.scratch import Scratch
from ostiary_tools.datasources.failures import DRIVER_ERRORS
from ostiary_tools.datasources.sections import load_sections
from ostiary_tools.errors import Damaged, ToolError, Unavailable
from ostiary_tools.identifiers import one_line, quoted

_SQL = load_sections("soundness.sql", __package__)
_ALWAYS = "template1"
"""A database that every cluster has."""
_BROKEN_OFF = (asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError, asyncpg.CrashShutdownError)
"""What a session raises whose server ends: why that was is to be asked, it need not be the copy's fault."""


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
    """Of the copy, as far as anybody may connect to them. Raises Damaged."""
    async with _session(scratch, _ALWAYS) as connection:
        if not await connection.fetchval(_SQL["available"].query):
            raise Unavailable("the server of copies has no `amcheck`, which looks through indexes", "install PostgreSQL's contrib")
        return [row["name"] for row in await connection.fetch(_SQL["databases"].query)]


async def _database(scratch: Scratch, name: str) -> Looked:
    async with _session(scratch, name) as connection:
        for section in ("gone", "amcheck"):
            await connection.execute(_SQL[section].query)
        tables = await connection.fetch(_SQL["tables"].query)
        indexes = await connection.fetch(_SQL["indexes"].query)
        for row in tables:
            await _rows_hold(connection, name, row)
        for row in indexes:
            await _index_holds(connection, name, row)
    return Looked(1, len(tables), len(indexes))


@asynccontextmanager
async def _session(scratch: Scratch, name: str) -> AsyncIterator[asyncpg.Connection]:
    """In a database of the copy, settled. What breaks in it is the copy's damage, unless this machine lacks something."""
    where = f"database {one_line(quoted(name))}"
    connection = None
    try:
        with _in_words(where):
            connection = await scratch.connect(name)
            await connection.execute(_SQL["settled"].query)
            yield connection
    except DRIVER_ERRORS:
        raise await scratch.end() from None  # it broke off: a server that ends says why
    finally:
        if connection is not None:
            connection.terminate()


async def _rows_hold(connection: asyncpg.Connection, database: str, row: asyncpg.Record) -> None:
    table = _name("table", database, row)
    with _in_words(table):
        bad = await connection.fetch(_SQL["heap"].query, row["oid"])
    if bad:
        raise _damaged(table, f"block {bad[0]['block']}: {bad[0]['words']}")


async def _index_holds(connection: asyncpg.Connection, database: str, row: asyncpg.Record) -> None:
    with _in_words(_name("index", database, row)):
        await connection.execute(_SQL["index"].query, row["oid"])


@contextmanager
def _in_words(what: str) -> Iterator[None]:
    """What the server says of that; an error of a session that broke off stays as it is."""
    try:
        yield
    except _BROKEN_OFF:
        raise
    except asyncpg.PostgresError as error:
        raise _failure(what, error) from None


def _failure(what: str, error: asyncpg.PostgresError) -> ToolError:
    code = str(error.sqlstate)
    if code.startswith("53"):
        return Unavailable(f"{what} could not be looked through: {error}", "see what this machine lacks")
    # Only messages about files and pages are without values of rows.
    return _damaged(what, str(error) if code.startswith(("XX", "58")) else f"it cannot be looked through ({code})")


def _damaged(what: str, words: str) -> Damaged:
    return Damaged(what, f"{what} is not sound: {one_line(words)}", "do not restore from this backup")


def _name(kind: str, database: str, row: asyncpg.Record) -> str:
    return one_line(f"{kind} {quoted(row['schema'])}.{quoted(row['name'])} of database {quoted(database)}")
