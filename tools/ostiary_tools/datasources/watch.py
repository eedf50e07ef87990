"""Says what relations are made of at this moment, over a connection of its own.

It never runs a caller's statement, so nothing of it has to be emptied between calls and the server keeps
the plan of the question, which is dearer than the answer. Calls that ask at once share one question.

What it says holds for the run of the server it is connected to. A caller whose own connection leads to another,
as with several hosts or after a failover, is told nothing and asks over that connection.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import asyncpg

from ostiary_tools.datasources.failures import DRIVER_ERRORS

_RETRY_S = 5.0
_PATIENCE_S = 5.0
_INSTANCE = """
SELECT pg_catalog.pg_postmaster_start_time()::text, pg_catalog.inet_server_addr()::text, pg_catalog.inet_server_port(),
    pg_catalog.current_database()
"""


class Instance(NamedTuple):
    """One run of one server, and a database of it."""

    started: str
    """To the microsecond: no two servers share it."""
    address: str | None
    """As the server knows it; `None` on a Unix socket."""
    port: int | None
    database: str


async def instance_of(connection: asyncpg.Connection) -> Instance:
    """Where a connection leads to."""
    return Instance(*await connection.fetchrow(_INSTANCE, timeout=_PATIENCE_S))


class Watch:
    """Marks of relations by their OIDs, as they are now. `query` gives them as `oid` and `mark`."""

    def __init__(self, connect: Callable[[], Awaitable[asyncpg.Connection]], query: str) -> None:
        self._connect = connect
        self._query = query
        self._connection: asyncpg.Connection | None = None
        self._instance: Instance | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._tried_at = -_RETRY_S
        self._asked: list[tuple[Sequence[int], asyncio.Future[Mapping[int, str] | None]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def marks(self, instance: Instance, oids: Iterable[int]) -> Mapping[int, str] | None:
        """The marks of those that exist, asked for after this is called; `None` when nothing can be said of that instance."""
        if self._connection is None or self._instance != instance:
            self._seek()
            return None
        answer: asyncio.Future[Mapping[int, str] | None] = asyncio.get_running_loop().create_future()
        self._asked.append((tuple(oids), answer))
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="ask for marks")
        return await answer

    async def connect(self) -> None:
        """Wait for a connection to wherever the address leads now; without one, nothing is told."""
        self._seek()
        if self._connecting is not None:
            await asyncio.shield(self._connecting)

    async def close(self) -> None:
        """Hang up; whoever still waits is told nothing."""
        for task in (self._connecting, self._asking):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        self._answer(self._asked, None)
        self._drop()
        self._tried_at = math.inf  # and never again

    async def _ask(self) -> None:
        while self._asked:
            batch, self._asked = self._asked, []
            found: Mapping[int, str] | None = None
            try:
                if self._connection is not None:
                    oids = sorted({oid for oids, _ in batch for oid in oids})
                    rows = await self._connection.fetch(self._query, oids, timeout=_PATIENCE_S)
                    found = {row["oid"]: row["mark"] for row in rows}
            except DRIVER_ERRORS:
                self._drop()
            finally:
                self._answer(batch, found)

    def _answer(
        self, batch: Iterable[tuple[Sequence[int], "asyncio.Future[Mapping[int, str] | None]"]], found: Mapping[int, str] | None
    ) -> None:
        for _, answer in batch:
            if not answer.done():
                answer.set_result(found)

    def _seek(self) -> None:
        """Connect behind."""
        now = asyncio.get_running_loop().time()
        if (self._connecting is None or self._connecting.done()) and now - self._tried_at >= _RETRY_S:
            self._tried_at = now
            self._connecting = asyncio.create_task(self._reconnect(), name="connect for marks")

    async def _reconnect(self) -> None:
        self._drop()
        with suppress(*DRIVER_ERRORS):
            connection = await self._connect()
            try:
                instance = await instance_of(connection)
            except BaseException:  # also when nobody waits any more
                connection.terminate()
                raise
            self._connection, self._instance = connection, instance

    def _drop(self) -> None:
        connection, self._connection, self._instance = self._connection, None, None
        if connection is not None:
            connection.terminate()
