"""A session beside one that changes something: it sees rows as they were, and who keeps the other waiting.

Each look is a transaction of its own, so that it holds no lock that the change could meet. Under READ COMMITTED it sees what is
committed at that moment; under the higher levels it sees what the change saw when it began, by its exported snapshot.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from ostiary_tools.datasources.failures import DRIVER_ERRORS
from ostiary_tools.datasources.opening import PostgresSettings, opening
from ostiary_tools.datasources.port import ChangeLimits
from ostiary_tools.datasources.sections import load_sections
from ostiary_tools.datasources.statement import PostgresReader
from ostiary_tools.errors import Unavailable

_HOLDERS = load_sections("changing.sql")["holders"].query
_LOOKS = 4
"""Looks at who is in the way while a statement may wait for a lock."""
_SHORTEST_S = 0.05

T = TypeVar("T")


@dataclass(slots=True)
class Onlooker:
    """The session, between looks."""

    reader: PostgresReader
    settings: PostgresSettings
    limits: ChangeLimits
    snapshot: str = ""
    """Of the change, where it keeps one."""

    @asynccontextmanager
    async def look(self, *, utc: bool = False) -> AsyncIterator[PostgresReader]:
        """A transaction to read in. Raises Unavailable."""
        begin = "BEGIN READ ONLY"
        if self.snapshot:
            begin = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{self.snapshot}'"
        await self._execute(opening(self.settings, begin, self.limits.timeout_s) + ("SET LOCAL TimeZone = 'UTC'" if utc else ""))
        try:
            yield self.reader
        finally:
            with suppress(Unavailable):
                await self.end("ROLLBACK")

    async def end(self, word: str) -> None:
        """End the transaction of a look."""
        await self._execute(word)

    async def _execute(self, script: str) -> None:
        try:
            await self.reader.connection.execute(script, timeout=self.settings.acquire_timeout_s)
        except DRIVER_ERRORS:
            raise Unavailable("the session that looks on at the change was lost", "try again") from None

    async def watched(self, pid: int, running: Awaitable[T]) -> tuple[T | Exception, str]:
        """The end of what session `pid` runs, and in words who kept it waiting when it was last seen to wait."""
        task = asyncio.ensure_future(running)
        found = ""
        pause_s = max(self.settings.lock_timeout_s / _LOOKS, _SHORTEST_S)
        try:
            while not (await asyncio.wait({task}, timeout=pause_s))[0]:
                found = await self._holders(pid) or found
            return task.result(), found
        except Exception as error:  # noqa: BLE001  it is handed on with what was seen
            return error, found
        finally:
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task

    async def _holders(self, pid: int) -> str:
        try:
            rows = await self.reader.connection.fetch(_HOLDERS, pid, timeout=self.settings.acquire_timeout_s)
        except DRIVER_ERRORS:
            return ""
        return ", ".join(dict.fromkeys(_holder(row) for row in rows))


def _holder(row: Any) -> str:
    """Names of roles and applications are said as they are: the application's is what its session says of itself."""
    words = f"session {row['pid']}"
    if row["role"]:
        words += f" of role `{row['role']}`"
    if row["application"]:
        words += f" in application `{' '.join(row['application'].split())[:63]}`"
    return words + (f", whose transaction began at {row['since']} UTC" if row["since"] else "")
