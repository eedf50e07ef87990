"""Hears `NOTIFY` of a database, over a connection of its own with the datasource's login.

What is heard says that something may have changed and nothing else. While there is no connection nothing is heard, so after
each one everything may have changed.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import asyncpg

from ostiary_tools.datasources.failures import DRIVER_ERRORS
from ostiary_tools.datasources.opening import SESSION, PostgresSettings

_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 30.0
_LIVENESS_S = 30.0
_PATIENCE_S = 5.0


@asynccontextmanager
async def listening(settings: PostgresSettings, channels: frozenset[str], hear: Callable[[str], None]) -> AsyncIterator[None]:
    """While the block lasts; `hear` takes a channel, and each of them whenever something may have been missed."""
    task = asyncio.create_task(_listen(settings, channels, hear), name="listen")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _listen(settings: PostgresSettings, channels: frozenset[str], hear: Callable[[str], None]) -> None:
    pause_s = _FIRST_RETRY_S
    while True:
        with suppress(*DRIVER_ERRORS):
            connection = await asyncpg.connect(
                settings.dsn, timeout=settings.acquire_timeout_s, server_settings=SESSION, statement_cache_size=0
            )
            try:
                await _hear_on(connection, channels, hear)
            finally:
                connection.terminate()
            pause_s = _FIRST_RETRY_S
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _LAST_RETRY_S)


async def _hear_on(connection: asyncpg.Connection, channels: frozenset[str], hear: Callable[[str], None]) -> None:
    """Until the connection breaks."""
    broken = asyncio.Event()
    connection.add_termination_listener(lambda _: broken.set())
    for channel in sorted(channels):
        await connection.add_listener(channel, lambda *heard: hear(str(heard[2])))
    for channel in sorted(channels):
        hear(channel)
    while not broken.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(_LIVENESS_S):
                await broken.wait()
        if not broken.is_set():
            await connection.execute("SELECT 1", timeout=_PATIENCE_S)
