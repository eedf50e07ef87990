"""The clock table of a cluster: a row every few seconds, by which a copy tells until when it has the original's commits.

Each row is a transaction of its own: a copy that is brought to a moment has every row that was committed by then and no other.
Ids grow by one whatever the server's clock does, so a clock that was set back is seen and nothing is mistaken for earlier.

What a login for backups writes to runs what its owner bound to it, so nothing is written to a table that somebody else made.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from ostiary_tools.backup.reading import in_words
from ostiary_tools.backup.session import ANSWERS_S, connected
from ostiary_tools.errors import Refused, Unavailable
from ostiary_tools.identifiers import quoted

TABLE = "ostiary.clock"
COLUMNS = "id, at, lsn"
"""`bigint`, `timestamptz` and `pg_lsn`: its number, and the server's time and place in the log right before its commit."""
KEPT = 100_000
"""Rows that stay."""
_SCHEMA = "CREATE SCHEMA IF NOT EXISTS ostiary"
_MAKE = "CREATE TABLE IF NOT EXISTS ostiary.clock (id bigint PRIMARY KEY, at timestamptz NOT NULL, lsn pg_lsn NOT NULL)"
_OURS = """
SELECT r.rolname::text AS login,
    (SELECT n.nspowner = r.oid FROM pg_namespace n WHERE n.nspname = 'ostiary') AS schema,
    (SELECT c.relowner = r.oid AND c.relkind = 'r' AND c.relpersistence = 'p'
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'ostiary' AND c.relname = 'clock') AS clock
FROM pg_roles r WHERE r.rolname = current_user
"""
"""Whether the schema and the table are the login's own; NULL where there is none. Sessions look for names in `pg_catalog` alone."""
_BEAT = f"""
WITH gone AS (DELETE FROM ostiary.clock WHERE id <= (SELECT max(c.id) FROM ostiary.clock c) - {KEPT - 1})
INSERT INTO ostiary.clock (id, at, lsn)
SELECT coalesce(max(c.id), 0) + 1, clock_timestamp(), pg_current_wal_insert_lsn() FROM ostiary.clock c
ON CONFLICT (id) DO NOTHING
RETURNING id, at, lsn::text
"""  # noqa: S608  the constant above
_NOT_MADE = "the login for backups may not make the table `ostiary.clock`, by which a copy tells how far it has come"
_NOT_OURS = "the schema `ostiary` or the table `ostiary.clock` of the database is not the login's own, so nothing is written to it"


@dataclass(frozen=True, slots=True)
class Beat:
    """A row of the clock."""

    id: int
    at: datetime
    lsn: str


@asynccontextmanager
async def ticking(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A session whose database has a clock of ours, made where it was missing. Raises Unavailable and Refused."""
    async with connected(dsn, answers_s=ANSWERS_S) as connection:
        await _made(connection)
        yield connection


async def beat(connection: asyncpg.Connection) -> Beat:
    """One row, durable on the server when this returns. Raises Unavailable."""
    with in_words():
        # Another may beat at the same moment: one whose turn has ended without his knowing.
        while (row := await connection.fetchrow(_BEAT)) is None:
            pass
    return Beat(row["id"], row["at"], row["lsn"])


async def shortcomings(connection: asyncpg.Connection) -> Sequence[tuple[str, str]]:
    """Why there would be no clock, with what mends it; nothing is made."""
    with in_words():
        found = await connection.fetchrow(_OURS)
        may = await connection.fetchval("SELECT has_database_privilege(current_database(), 'CREATE')")
    if found["schema"] is None and not may:
        return [(_NOT_MADE, f"a superuser says {_sql(found['login'])} in the database that the login leads to")]
    if found["schema"] is False or found["clock"] is False:
        return [(_NOT_OURS, f"a superuser says {_sql(found['login'])}")]
    return []


async def _made(connection: asyncpg.Connection) -> None:
    with in_words():
        found = await connection.fetchrow(_OURS)
        if found["schema"] is None:
            await _execute(connection, _SCHEMA, found["login"])
            found = await connection.fetchrow(_OURS)
        if found["schema"] and found["clock"] is None:
            await _execute(connection, _MAKE, found["login"])
            found = await connection.fetchrow(_OURS)
    # INVARIANT: in a schema of its own, no other than a superuser can put another table in the place of the login's.
    if not (found["schema"] and found["clock"]):
        raise Refused("clock", _NOT_OURS, f"a superuser says {_sql(found['login'])}")


async def _execute(connection: asyncpg.Connection, statement: str, login: str) -> None:
    try:
        await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError as error:
        raise Unavailable(_NOT_MADE, f"a superuser says {_sql(login)} in the database that the login leads to") from error


def _sql(login: str) -> str:
    return f"`CREATE SCHEMA ostiary AUTHORIZATION {quoted(login)}`"
