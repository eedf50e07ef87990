"""One connection to the control database, with settings that durability and safety rest on.

The only place that calls `asyncpg.connect` for the control database. Every
failure to get a connection is an `Unreachable`, without the DSN in its text.
"""

import asyncio
from typing import TypeAlias

import asyncpg

CONNECT_TIMEOUT_S = 5.0

CONNECTION_ERRORS = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg says when the server ended an idle session
    OSError,
    TimeoutError,
)

Connection: TypeAlias = asyncpg.Connection


class JournalError(Exception):
    """The control database did not do what was asked.

    ├── Unreachable    no connection
    ├── Lost           the connection broke while the server worked: whether it committed is not known
    └── Rejected       the server answered with an error: nothing was written
    """


class Unreachable(JournalError):
    """No connection to the control database."""


class Lost(JournalError):
    """The connection broke in the middle; the outcome is unknown."""


class Rejected(JournalError):
    """The server refused; nothing was written."""


async def connect(dsn: str, name: str, *, statement_timeout_s: float = 30.0, flushed: bool = True) -> Connection:
    """Open a connection named `name` in the server's list of sessions. Raises Unreachable.

    `flushed`: a commit is answered when it is on the disk.
    """
    settings = {
        "application_name": f"ostiary {name}",
        "search_path": "pg_catalog",
        "synchronous_commit": "on" if flushed else "off",
        "statement_timeout": str(int(statement_timeout_s * 1000)),
        "timezone": "UTC",
    }
    try:
        return await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S, server_settings=settings)
    except (asyncpg.PostgresError, ValueError, *CONNECTION_ERRORS) as error:
        raise Unreachable(f"the control database gives no connection: {reason(error)}") from error


async def disconnect(connection: Connection) -> None:
    """Say goodbye, but not for long."""
    try:
        await connection.close(timeout=2)
    except (asyncpg.PostgresError, *CONNECTION_ERRORS):
        connection.terminate()


def reason(error: BaseException) -> str:
    """Why, in words without values: the server's own message is kept, its detail (which may hold a row) is not."""
    if isinstance(error, asyncpg.PostgresError):
        return f"{str(error).splitlines()[0]} ({error.sqlstate})"
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "it did not answer in time"
    if isinstance(error, ValueError):  # of asyncpg's, which quote the DSN
        return "its DSN is not valid"
    if isinstance(error, OSError):
        return "nothing answers at its address"
    return type(error).__name__
