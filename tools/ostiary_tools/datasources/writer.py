"""The login for changes of a datasource: each change has two of its sessions, one that writes and one that looks on.

The one that writes is an ordinary transaction, rolled back unless it was committed. The one that looks on sees what is
committed, so the rows as they were. Both are emptied by DISCARD ALL afterwards. What the login may do besides reading and
writing is judged as of a login that reads.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import asyncpg

from ostiary_tools.datasources.changing import PostgresChanger
from ostiary_tools.datasources.failures import DRIVER_ERRORS
from ostiary_tools.datasources.onlooker import Onlooker
from ostiary_tools.datasources.opening import PostgresSettings, opening
from ostiary_tools.datasources.port import ChangeLimits, Fate, ReadLimits
from ostiary_tools.datasources.sections import load_sections
from ostiary_tools.datasources.statement import Known, PostgresReader
from ostiary_tools.errors import SchemaChanged, Unavailable
from ostiary_tools.powers import Power
from ostiary_tools.snapshot import Mark, MarkKey

if TYPE_CHECKING:
    from ostiary_tools.datasources.postgres import PostgresDatasource

_QUERIES = load_sections("changing.sql")
WRITES = frozenset({Power.WRITE_TABLES, Power.WRITE_SEQUENCES})
"""What such a login is for."""
_SESSIONS = 2
_ASKING_TIMEOUT_S = 10.0
_VALUE_CHARS = 1_000_000
_FATES: Mapping[str | None, Fate] = {"committed": "committed", "aborted": "aborted", "in progress": "running"}
_IN_THE_FUTURE = "22023"


def changing_settings(settings: PostgresSettings, dsn: str) -> PostgresSettings:
    """How the sessions of the login for changes are opened."""
    return replace(
        settings,
        dsn=dsn,
        replica_dsn=None,
        writer_dsn=None,
        pool_min=0,
        pool_max=sessions_for_changes(settings),
        accepted_powers=settings.writer_powers | WRITES,
    )


def sessions_for_changes(settings: PostgresSettings) -> int:
    """One more asks what became of a transaction, however many changes there are."""
    return _SESSIONS * settings.writer_changes + 1


class Writer:
    """Changes through one login. `login` lends its sessions; its statements are judged by the snapshots of `of`."""

    def __init__(self, login: "PostgresDatasource", settings: PostgresSettings, of: "PostgresDatasource") -> None:
        self._login = login
        self._settings = settings
        self._of = of
        self._room = asyncio.Semaphore(settings.writer_changes)

    @asynccontextmanager
    async def change(self, limits: ChangeLimits, relied: Mapping[MarkKey, Mark]) -> AsyncIterator[PostgresChanger]:
        """Open the transaction and the session beside it."""
        settings = replace(self._settings, lock_timeout_s=limits.lock_timeout_s)
        async with self._place():
            await self._login.snapshot()  # and with it goes what the login may do
            begin = f"BEGIN ISOLATION LEVEL {limits.isolation.upper()} READ WRITE"
            beside = await self._login.begin(opening(settings, "BEGIN READ ONLY", limits.timeout_s))
            try:
                looking = self._reader(beside, limits, {})  # before any wait: of a session that is lost, nothing can be asked
                connection = await self._login.begin(opening(settings, begin, limits.timeout_s))
                try:
                    reader = self._reader(connection, limits, relied)
                    yield await PostgresChanger.begun(reader, Onlooker(looking, settings, limits), limits)
                except SchemaChanged:
                    self._of.look_again()
                    raise
                finally:
                    self._login.give_back(connection)
            finally:
                self._login.give_back(beside)

    async def fate(self, transaction: str) -> Fate:
        """What became of a transaction, asked of the cluster that ran it. Raises Unavailable."""
        await self._login.snapshot()
        connection = await self._login.begin(opening(self._settings, "BEGIN READ ONLY", _ASKING_TIMEOUT_S))
        try:
            return await _fate(connection, transaction)
        except DRIVER_ERRORS as error:
            if getattr(error, "sqlstate", "") == _IN_THE_FUTURE:
                return "unknown"  # the server has not come so far: a backup was restored, or a crash took it back
            message = f"datasource `{self._settings.name}` cannot say what became of a change"
            raise Unavailable(message, "try again later") from None
        finally:
            self._login.give_back(connection)

    def _reader(self, connection: Any, limits: ChangeLimits, relied: Mapping[MarkKey, Mark]) -> PostgresReader:
        bounds = ReadLimits(limits.timeout_s, limits.max_rows, _VALUE_CHARS)
        return PostgresReader(connection, bounds, relied, Known(), partial(self._of.watch.marks, connection.instance))

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._settings.acquire_timeout_s):
                await self._room.acquire()
        except TimeoutError:
            message = f"datasource `{self._settings.name}` has as many changes at once as it takes"
            raise Unavailable(message, "try again in a moment") from None
        try:
            yield
        finally:
            self._room.release()

    async def close(self) -> None:
        """Close every connection."""
        await self._login.close()


async def _fate(connection: asyncpg.Connection, transaction: str) -> Fate:
    """Nothing is told of another cluster, nor of another timeline: after a failover the same id may be another transaction's."""
    cluster, timeline, number = transaction.split("/")
    now = await connection.fetchrow(_QUERIES["cluster"].query)
    if now["cluster"] != cluster:
        return "unknown"
    if now["standby"]:
        raise asyncpg.InterfaceError("a standby may not have come so far")
    if await connection.fetchval(_QUERIES["timeline"].query) != timeline:
        return "unknown"
    return _FATES.get(await connection.fetchval(_QUERIES["fate"].query, number), "unknown")
