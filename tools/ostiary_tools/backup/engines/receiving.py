"""A cluster's write-ahead log as it comes into the spool, and how far it has come."""

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import asyncpg

from ostiary_tools.backup import wal
from ostiary_tools.backup.reading import in_words
from ostiary_tools.backup.running import Command, Running, started
from ostiary_tools.backup.session import connected
from ostiary_tools.errors import ProgramFailed, Unavailable

T = TypeVar("T")
_POLL_S = 0.05
_PATIENCE_S = 120.0
"""How long the log may take to begin to come, and to come once it is flushed."""
_PARTIAL = ".partial"
_FOLLOWED_S = 1.0
_MARK = """
SELECT pg_catalog.pg_logical_emit_message(true, 'ostiary', pg_catalog.repeat('.', $1))
"""
_KNOWN = (
    (
        "no pg_hba.conf entry for replication",
        "the server lets the login for backups in, but not to replicate",
        "add a line for the database `replication` to its `pg_hba.conf`",
    ),
    (
        "max_wal_senders",
        "the server has no WAL sender left for the backup",
        "raise `max_wal_senders` and restart it, or end what uses them",
    ),
    (
        "has already been removed",
        "the server recycled its log before it was received",
        "raise `max_slot_wal_keep_size`, or back up at a time of less change",
    ),
    (
        "No space left on device",
        "there is no room in the spool for the log that comes during a backup",
        "make room, then run it again",
    ),
    (
        "server closed the connection unexpectedly",
        "the server ended the connection during the backup",
        "see that it runs, then run the backup again",
    ),
)


@asynccontextmanager
async def receiving(command: Command, dsn: str, folder: Path, segment_bytes: int) -> AsyncIterator[Running]:
    """The log comes into the folder while the block lasts, from before the block begins.

    Until it has come the server keeps it, for a slot that is gone with our session, however that ends.
    """
    await asyncio.to_thread(folder.mkdir, 0o700)
    async with connected(dsn) as keeper:
        slot = await _reserved(keeper)
        async with started(command) as receiver:
            await beside(_begun(keeper, folder), receiver)
            following = asyncio.create_task(_follow(keeper, slot, folder, segment_bytes))
            try:
                yield receiver
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)


async def received(dsn: str, folder: Path, stretch: wal.Stretch, page_bytes: int) -> int:
    """A place in the log after all that was committed so far and one commit more, once the folder has the log up to there."""
    async with connected(dsn) as connection:
        with in_words():
            await _mark(connection, 1)
            end = wal.position(await connection.fetchval("SELECT pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text"))
            # What is longer than two pages begins a page after that place, and committing it flushes all of it.
            await _mark(connection, 2 * page_bytes)
    reaching = replace(stretch, end=end)
    async with _patience():
        while not await asyncio.to_thread(wal.arrived, folder, reaching, page_bytes):  # noqa: ASYNC110 a file sets no event
            await asyncio.sleep(_POLL_S)
    return end


async def beside(work: Coroutine[Any, Any, T], receiver: Running, *troubles: Coroutine[Any, Any, NoReturn]) -> T:
    """The work, as long as the log comes and none of the troubles does, which are raised; then the work has ended, too.

    Raises ProgramFailed when the log comes no more.
    """
    doing = asyncio.ensure_future(work)
    coming = [asyncio.ensure_future(trouble) for trouble in (_ended(receiver), *troubles)]
    try:
        await asyncio.wait({doing, *coming}, return_when=asyncio.FIRST_COMPLETED)
        first = next((one for one in coming if one.done() and not doing.done()), doing)
        return await first
    finally:
        for each in (doing, *coming):
            each.cancel()
        await asyncio.gather(doing, *coming, return_exceptions=True)


async def _ended(receiver: Running) -> NoReturn:
    await receiver.code()
    raise ProgramFailed(f"`{receiver.name}` ended during the backup: {receiver.words() or 'it gave no reason'}")


def linked(folder: Path) -> Path:
    """The segments under the names that they will have, beside a folder that is being written. Blocking."""
    links = folder.with_name("links")
    shutil.rmtree(links, ignore_errors=True)
    links.mkdir(mode=0o700)
    for path in folder.iterdir():
        try:
            (links / path.name.removesuffix(_PARTIAL)).hardlink_to(path)
        except FileNotFoundError:  # it is whole by now
            (links / path.name.removesuffix(_PARTIAL)).hardlink_to(path.with_suffix(""))
    return links


def settle(folder: Path, stretch: wal.Stretch) -> None:
    """Give the last segment its name, and see that all are there. Blocking. Raises Damaged."""
    for path in folder.glob(f"*{_PARTIAL}"):
        path.rename(path.with_suffix(""))
    wal.check(folder, stretch)


@contextmanager
def explained() -> Iterator[None]:
    """Say the next step where a program's complaint is a known one."""
    try:
        yield
    except ProgramFailed as error:
        for words, message, hint in _KNOWN:
            if words in error.message:
                raise Unavailable(message, hint) from error
        raise
    except OSError as error:
        raise Unavailable(f"the spool could not be written: {error.strerror}", "see that there is room for it") from error


async def _begun(keeper: asyncpg.Connection, folder: Path) -> None:
    """Return once the log comes. Of a segment that is empty yet nothing is sent, and an idle server may leave it so for ever."""
    async with _patience():
        while not await asyncio.to_thread(_first_partial, folder):
            with in_words():
                await _mark(keeper, 1)
            await asyncio.sleep(_POLL_S)


@asynccontextmanager
async def _patience() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            yield
    except TimeoutError:
        raise Unavailable("the server does not send its log", "see what its WAL senders wait for") from None


def _first_partial(folder: Path) -> str:
    return next((path.name for path in folder.glob(f"*{_PARTIAL}")), "")


async def _reserved(keeper: asyncpg.Connection) -> str:
    """A slot that ends with the session."""
    slot = f"ostiary_{secrets.token_hex(8)}"
    try:
        with in_words():
            await keeper.execute("SELECT pg_catalog.pg_create_physical_replication_slot($1, true, true)", slot)
    except Unavailable as error:
        if isinstance(error.__cause__, asyncpg.ConfigurationLimitExceededError):
            hint = "raise `max_replication_slots` and restart it, or drop one that nobody uses"
            raise Unavailable("all replication slots of the server are in use", hint) from error
        raise
    return slot


async def _follow(keeper: asyncpg.Connection, slot: str, folder: Path, segment_bytes: int) -> None:
    """Let the server have back what has come."""
    while True:
        await asyncio.sleep(_FOLLOWED_S)
        if name := await asyncio.to_thread(_first_partial, folder):
            begun = wal.begin(name, segment_bytes)
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError):  # it is there already, or the backup fails by itself
                await keeper.execute("SELECT pg_catalog.pg_replication_slot_advance($1, $2::pg_catalog.pg_lsn)", slot, begun)


async def _mark(connection: asyncpg.Connection, count: int) -> None:
    """A commit of its own, of a text so long."""
    await connection.execute(_MARK, count)
