"""What one process does at a time, of all that share a control database: whoever has the turn has it while his session lasts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import asyncpg

from ostiary_tools.control.connect import CONNECTION_ERRORS, Connection, Rejected, connect, disconnect, reason

_TRY = "SELECT pg_try_advisory_lock(hashtextextended('ostiary turn ' || $1, 0))"
_LIVENESS_S = 5.0
_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Turns:
    """Of one control database."""

    dsn: str = field(repr=False)

    @asynccontextmanager
    async def turn(self, what: str) -> AsyncIterator[asyncio.Event | None]:
        """While the block lasts nobody else has it, until the event says that it was lost; `None` where another has it.

        Raises JournalError.
        """
        connection = await connect(self.dsn, "turn", statement_timeout_s=_PATIENCE_S, flushed=False)
        try:
            try:
                ours = await connection.fetchval(_TRY, what, timeout=_PATIENCE_S)
            except (asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
                raise Rejected(f"the control database refused a turn: {reason(error)}") from error
            if not ours:
                yield None
                return
            lost = asyncio.Event()
            watching = asyncio.create_task(_watch(connection, lost))
            try:
                yield lost
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
        finally:
            await disconnect(connection)


async def _watch(connection: Connection, lost: asyncio.Event) -> None:
    connection.add_termination_listener(lambda _: lost.set())
    while not lost.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(_LIVENESS_S):
                await lost.wait()
        try:
            await connection.execute("SELECT 1", timeout=_PATIENCE_S)
        except (asyncpg.PostgresError, *CONNECTION_ERRORS):
            lost.set()
