"""Sessions with the server that is backed up, or restored into."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import asyncpg

from ostiary_tools.backup.fingerprints import Moved, Table, hold
from ostiary_tools.backup.login import Login
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.reading import in_words
from ostiary_tools.datasources.failures import DRIVER_ERRORS
from ostiary_tools.errors import Unavailable

NAME = "ostiary backup"
ANSWERS_S = 60.0
"""How long a server may take for what it knows by heart."""
_CONNECT_S = 30.0
_GOODBYE_S = 2.0
_UNDONE_S = 10.0
"""How long a server may take to end a transaction that has only read. One that hangs would hold up even who gives up."""
_BROKEN = (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.InterfaceError, ConnectionError)
"""What a session raises whose server ends, or is not there any more."""
_SETTINGS = {
    "application_name": NAME,
    "search_path": "pg_catalog",  # where else names are looked for is said by a database's owner, too
    "default_transaction_read_only": "off",
    "tcp_keepalives_idle": "60",
    "lock_timeout": "30s",
    "synchronous_commit": "local",  # whoever waits for a standby that is away waits for ever, and cannot even drop what he made
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
}
"""A session may stand idle for hours while others dump what it sees."""
_ATTEMPTS = 5
_FACTS = """
SELECT pg_catalog.current_database()::text AS database, pg_catalog.current_setting('server_version') AS version,
    pg_catalog.current_setting('server_encoding') AS encoding,
    pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT') AS passwords,
    (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) current_user) AS superuser,
    coalesce((SELECT s.ssl FROM pg_catalog.pg_stat_ssl s
        WHERE s.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()), false) AS tls
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a session knows of its server and itself."""

    database: str
    version: str
    """Such as `18.6`."""
    encoding: str
    """Of the database."""
    passwords: bool
    """Whether the login may read those of roles."""
    superuser: bool
    tls: bool
    """Whether the session is encrypted; then no other of ours goes without."""

    @property
    def major(self) -> int:
        """Of the version."""
        return int(self.version.split(".")[0])


def environment(who: Login, known: Facts) -> Mapping[str, str]:
    """Of programs. Where a session of ours was encrypted theirs are: as the DSN asks for, and never less."""
    tls = {"PGSSLMODE": "require"} if known.tls and not who.needs_tls else {}
    return {**who.environment, "PGAPPNAME": NAME, **tls}


def conninfo(database: str) -> str:
    """The database as an argument of programs, which take a name that looks like a connection string for one."""
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


@asynccontextmanager
async def connected(dsn: str, database: str | None = None, *, answers_s: float | None = None) -> AsyncIterator[asyncpg.Connection]:
    """A session while the block lasts, with another database of the server where one is named. Raises Unavailable.

    For each answer the server may take so many seconds, or as long as it likes.
    """
    try:
        connection = await asyncpg.connect(
            dsn, database=database, timeout=_CONNECT_S, command_timeout=answers_s, server_settings=_SETTINGS
        )
    except asyncpg.InvalidPasswordError as error:
        raise Unavailable("the server refuses the login for backups", "see that its name and password are right") from error
    except (*DRIVER_ERRORS, ValueError) as error:
        raise Unavailable("the login for backups gets no connection", "see that the server runs and the DSN is right") from error
    try:
        yield connection
    except _BROKEN as error:
        raise Unavailable("the session with the database broke", "see that the server runs") from error
    finally:
        try:
            async with asyncio.timeout(_GOODBYE_S):  # asyncpg bounds no statement that it has to cancel first
                await connection.close()
        except DRIVER_ERRORS:
            connection.terminate()


async def system_identifier(dsn: str) -> str:
    """Which cluster the server of that login runs. Raises ToolError."""
    async with connected(dsn, answers_s=ANSWERS_S) as connection:
        with in_words():
            return str(await connection.fetchval("SELECT system_identifier FROM pg_catalog.pg_control_system()"))


async def facts(connection: asyncpg.Connection) -> Facts:
    """Raises ToolError."""
    with in_words():
        row = await connection.fetchrow(_FACTS)
    return Facts(row["database"], row["version"].split()[0], row["encoding"], row["passwords"], row["superuser"], row["tls"])


@asynccontextmanager
async def held(connection: asyncpg.Connection, kind: Kind) -> AsyncIterator[tuple[str, Sequence[Table]]]:
    """A snapshot by the name under which others import it, and its tables, which stay as it sees them while the block lasts."""
    with in_words():
        transaction, tables = await _begun(connection, kind)
        try:
            yield await connection.fetchval("SELECT pg_catalog.pg_export_snapshot()"), tables
        finally:
            await _undone(connection, transaction)


@asynccontextmanager
async def looking(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """A transaction that sees one moment and only reads, while the block lasts."""
    transaction = connection.transaction(isolation="repeatable_read", readonly=True)
    await transaction.start()
    try:
        yield
    finally:
        await _undone(connection, transaction)


async def _begun(connection: asyncpg.Connection, kind: Kind) -> tuple[asyncpg.transaction.Transaction, Sequence[Table]]:
    for _ in range(_ATTEMPTS - 1):
        with suppress(Moved):
            return await _begun_once(connection, kind)
    return await _begun_once(connection, kind)


async def _begun_once(connection: asyncpg.Connection, kind: Kind) -> tuple[asyncpg.transaction.Transaction, Sequence[Table]]:
    transaction = connection.transaction(isolation="repeatable_read", readonly=True)
    await transaction.start()
    try:
        return transaction, await hold(connection, kind)
    except BaseException:
        await _undone(connection, transaction)
        raise


async def _undone(connection: asyncpg.Connection, transaction: asyncpg.transaction.Transaction) -> None:
    try:
        async with asyncio.timeout(_UNDONE_S):
            await transaction.rollback()
    except DRIVER_ERRORS:  # a session that broke has ended it
        connection.terminate()


@asynccontextmanager
async def importing(dsn: str, snapshot: str, count: int) -> AsyncIterator[Sequence[asyncpg.Connection]]:
    """So many sessions that see an exported snapshot while the block lasts."""
    async with AsyncExitStack() as stack:
        found = [await stack.enter_async_context(connected(dsn)) for _ in range(count)]
        with in_words():
            for connection in found:
                await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                await connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
        yield found
