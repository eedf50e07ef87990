"""The sessions of one login: made when they are needed, emptied by DISCARD ALL before another call gets them, closed with age."""

import asyncio

import asyncpg

from ostiary_tools.datasources.opening import SESSION, PostgresSettings
from ostiary_tools.datasources.watch import Instance, instance_of

RESET_TIMEOUT_S = 10.0
"""How long emptying or closing a session may take."""


class PooledConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """One of the pool."""

    __slots__ = ("born", "instance")
    born: float
    instance: Instance


async def new_pool(settings: PostgresSettings) -> asyncpg.Pool:
    """A pool that connects when it is asked to."""
    clock = asyncio.get_running_loop().time

    async def note_birth(connection: PooledConnection) -> None:
        connection.born = clock()
        connection.instance = await instance_of(connection)

    async def empty(connection: PooledConnection) -> None:
        if clock() - connection.born > settings.max_lifetime_s:
            await connection.close(timeout=RESET_TIMEOUT_S)
        else:
            # asyncpg's own reset would leave temporary tables and prepared statements.
            await connection.execute("DISCARD ALL", timeout=RESET_TIMEOUT_S)

    return await asyncpg.create_pool(
        settings.dsn,
        min_size=0,  # connecting is ours: asyncpg would fail here when the database is down
        max_size=settings.pool_max,
        max_inactive_connection_lifetime=settings.max_lifetime_s,
        timeout=settings.acquire_timeout_s,
        statement_cache_size=0,
        server_settings=SESSION,
        connection_class=PooledConnection,
        init=note_birth,
        reset=empty,
    )
