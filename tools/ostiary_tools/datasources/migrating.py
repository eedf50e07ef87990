"""Migrations run by a login of the operator's: with a bound on waiting for locks, again when a lock was not to be had.

Statements that can are run together in one transaction; `CONCURRENTLY` by itself, and a
batched one again and again, each batch a transaction of its own, until it changes no row.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby

import asyncpg

from ostiary_tools.datasources.catalog import build_snapshot, read_catalog
from ostiary_tools.datasources.failures import DRIVER_ERRORS
from ostiary_tools.errors import DatabaseError, LockedOut, ToolError, Unavailable
from ostiary_tools.evolution import Change
from ostiary_tools.identifiers import quoted
from ostiary_tools.snapshot import Snapshot

_CONNECT_S = 10.0
_FIRST_PAUSE_S = 0.5
_AGAIN = frozenset({"55P03", "40P01", "40001"})
"""A lock was not to be had in time, a deadlock, a serialization failure: nothing stays, and it may go well the next time."""

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often locks are waited for."""

    lock_timeout_s: float = 2.0
    attempts: int = 5


class Interrupted(ToolError):
    """A migration ended in its midst; `done` of its statements hold."""

    code = "migration_failed"

    def __init__(self, message: str, hint: str, done: int) -> None:
        super().__init__(message, hint)
        self.done = done


class Migrator:
    """One connection. Its user is a person: what the server says is passed on, but for details, which may quote rows."""

    def __init__(self, connection: asyncpg.Connection, datasource: str, search_path: tuple[str, ...], patience: Patience) -> None:
        self._connection = connection
        self._datasource = datasource
        self._search_path = search_path
        self._patience = patience

    async def snapshot(self) -> Snapshot:
        """The schema as it is now. Raises Unavailable."""
        try:
            async with self._connection.transaction(readonly=True, isolation="repeatable_read"):
                rows = await read_catalog(self._connection, "")
        except DRIVER_ERRORS as error:
            raise Unavailable(f"the schema of `{self._datasource}` cannot be read", "see that the database runs") from error
        if rows is None:
            raise Unavailable(f"the schema of `{self._datasource}` cannot be read", "try again")
        return build_snapshot(self._datasource, rows, search_path=self._search_path, tags={})

    async def run(self, changes: Sequence[Change], told: Told) -> None:
        """Run them in their order. Raises Interrupted, which says how many statements hold."""
        done = 0
        for together in _groups(changes):
            try:
                await self._patiently(together, told)
            except (*DRIVER_ERRORS, Interrupted) as error:
                failure = _in_words(error)
                stays = f"statements 1 to {done} hold" if done else "nothing of it holds"
                raise Interrupted(f"{failure.message}; {stays}", failure.hint, done) from error
            done += len(together)

    async def _patiently(self, together: Sequence[Change], told: Told) -> None:
        pause_s = _FIRST_PAUSE_S
        for attempt in range(1, self._patience.attempts + 1):
            try:
                await self._once(together, told)
            except asyncpg.PostgresError as error:
                if error.sqlstate not in _AGAIN or attempt == self._patience.attempts:
                    raise
                told(
                    f"somebody holds a lock that is needed: attempt {attempt} of {self._patience.attempts}, again in {pause_s:g} s"
                )
                await asyncio.sleep(pause_s)
                pause_s *= 2
            else:
                return

    async def _once(self, together: Sequence[Change], told: Told) -> None:
        if together[0].batched:
            await self._batches(together[0], told)
        elif together[0].alone:
            await self._beside(together[0])
        else:
            async with self._connection.transaction():
                for change in together:
                    await self._connection.execute(change.text)

    async def _beside(self, change: Change) -> None:
        """`CONCURRENTLY` waits for transactions that are older, and leaves half of it behind when it is broken off."""
        await self._connection.execute("SET lock_timeout = 0")
        try:
            await self._connection.execute(change.text)
        except asyncpg.PostgresError as error:
            raise Interrupted(
                f"the server refused: {_first_line(error)}", "drop what it left behind: an index that is `INVALID` in `\\d`", 0
            ) from error
        finally:
            await self._connection.execute(f"SET lock_timeout = {int(self._patience.lock_timeout_s * 1000)}")

    async def _batches(self, change: Change, told: Told) -> None:
        rows = 0
        while batch := _rows(await self._connection.execute(change.text)):
            rows += batch
            told(f"{rows:,} rows so far")


def _rows(status: str) -> int:
    """Of `UPDATE 1000`."""
    words = status.rsplit(" ", 1)[-1]
    return int(words) if words.isdigit() else 0


def _groups(changes: Iterable[Change]) -> Iterable[Sequence[Change]]:
    """What runs in one transaction."""
    for alone, some in groupby(changes, key=lambda change: change.alone):
        if alone:
            yield from ([one] for one in some)
        else:
            yield list(some)


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]


def _in_words(error: Exception) -> ToolError:
    if isinstance(error, ToolError):
        return error
    if not isinstance(error, asyncpg.PostgresError):
        return Unavailable("the session broke", "see what holds with `ostiary migrate list`, and look at the schema")
    if error.sqlstate in _AGAIN:
        return LockedOut(f"a lock was not to be had ({error.sqlstate})", "try when the database is less busy")
    return DatabaseError(str(error.sqlstate), f"the server refused: {_first_line(error)}", "correct the migration")


@asynccontextmanager
async def migrator(dsn: str, datasource: str, search_path: tuple[str, ...], patience: Patience) -> AsyncIterator[Migrator]:
    """A connection of the operator's login while the block lasts. Raises Unavailable."""
    path = ", ".join(map(quoted, search_path))
    settings = {
        "application_name": "ostiary migrate",
        "search_path": path,
        "lock_timeout": str(int(patience.lock_timeout_s * 1000)),
        "statement_timeout": "0",
    }
    try:
        connection = await asyncpg.connect(dsn, timeout=_CONNECT_S, server_settings=settings)
    except (*DRIVER_ERRORS, ValueError) as error:
        raise Unavailable(f"the login for migrations of `{datasource}` gets no connection", "see that its DSN is right") from error
    try:
        # At most one at a time, whoever else runs `ostiary migrate` on this database.
        if not await connection.fetchval("SELECT pg_catalog.pg_try_advisory_lock(4713, 11)"):
            raise Unavailable("somebody else runs migrations on this database now", "wait until they are done")
        yield Migrator(connection, datasource, search_path, patience)
    finally:
        await _goodbye(connection.close(timeout=2))


async def _goodbye(closing: Awaitable[None]) -> None:
    try:
        await closing
    except DRIVER_ERRORS:
        return
