"""The audit tables as a port: lease a stream, append a batch, read in order, keep checkpoints.

All SQL of the audit log that is not a migration stands here. A `Journal` is one
connection; what it appends is durable when the call returns. It knows no hash
chain and no signature: it moves rows and says truthfully whether they are there.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeVar
from uuid import UUID

import asyncpg

from ostiary_tools.control.connect import CONNECTION_ERRORS, Connection, Lost, Rejected, Unreachable, connect, disconnect, reason

LEASE = 4712
"""First key of the advisory locks that lease streams; the second is the stream."""

APPEND_TIMEOUT_S = 10.0
PAGE = 500
"""Rows decoded at a time, so that reading a long log never holds the event loop for more than a few milliseconds."""

T = TypeVar("T")


class LogRow(NamedTuple):
    """A row of `audit.log`, in the order of its columns."""

    stream: int
    seq: int
    ts: datetime
    kind: bytes
    call_id: UUID
    body: str
    hash: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """Where a stream ends; `seq` 0 and an empty hash when it never began."""

    seq: int = 0
    ts: datetime | None = None
    hash: bytes = b""


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A row of `audit.checkpoint`."""

    stream: int
    size: int
    note: str
    peaks: bytes
    open_from: int
    """The oldest record up to `size` that may be an intent without an outcome; `size + 1` when there is none."""


@dataclass(frozen=True, slots=True)
class StoredSeal:
    """A row of `audit.seal`: what stands for the dropped records up to `size`."""

    stream: int
    size: int
    partition: str
    hash: bytes
    note: str
    peaks: bytes


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """A stream's last record and newest checkpoint."""

    stream: int
    seq: int
    checkpoint: StoredCheckpoint | None


@dataclass(frozen=True, slots=True)
class TailRow:
    """What continuing a stream needs to know of a record."""

    seq: int
    kind: bytes
    call_id: UUID
    hash: bytes
    intent: int | None
    """Of an outcome: the intent it ends."""
    agent: str | None
    tool: str | None


@dataclass(frozen=True, slots=True)
class Guards:
    """Which guards of the audit schema are in force."""

    shape: bool
    """Tables, rights, triggers and functions are as the last migration left them."""
    event_triggers: bool
    """DDL on the schema is refused; absent where the administrator is no superuser."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A session in the server, so that it can be recognised after the connection is gone."""

    pid: int
    started: datetime


class Journal:
    """One open connection to the audit tables."""

    def __init__(self, connection: Connection, backend: Backend) -> None:
        self._connection = connection
        self.backend = backend

    async def close(self) -> None:
        """Give the connection and its leases back."""
        await disconnect(self._connection)

    def abort(self) -> None:
        """Drop the connection without a word."""
        self._connection.terminate()

    def on_loss(self, tell: Callable[[], None]) -> None:
        """Call `tell` when the connection ends, also while nobody uses it."""
        self._connection.add_termination_listener(lambda _: tell())

    @property
    def alive(self) -> bool:
        """False when the connection is known to be gone."""
        return not self._connection.is_closed()

    async def installation(self) -> UUID:
        """The id made when the schema was."""
        found: UUID = await self._ask(self._connection.fetchval("SELECT id FROM audit.installation"))
        return found

    async def guards(self) -> Guards:
        """Which guards hold now."""
        row = await self._ask(
            self._connection.fetchrow(
                "SELECT ostiary_guard.shape_holds() AS shape,"
                " (SELECT count(*) = 2 FROM pg_event_trigger"
                "  WHERE evtname IN ('ostiary_guard_ddl', 'ostiary_guard_drop') AND evtenabled = 'A') AS ddl"
            )
        )
        return Guards(row["shape"], row["ddl"])

    async def make_partitions(self, months: int) -> datetime:
        """Make the partitions of this month and the next `months`; the moment from which rows have none."""
        until: datetime = await self._ask(self._connection.fetchval("SELECT audit.make_partitions($1)", months))
        return until

    async def lease(self, stream: int) -> bool:
        """Try to become the one writer of a stream, for as long as this connection lives."""
        return bool(await self._ask(self._connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", LEASE, stream)))

    async def release(self, stream: int) -> None:
        """Give a stream back."""
        await self._ask(self._connection.fetchval("SELECT pg_advisory_unlock($1, $2)", LEASE, stream))

    async def head(self, stream: int) -> Head:
        """The last record of a stream."""
        row = await self._ask(self._connection.fetchrow("SELECT seq, ts, hash FROM audit.head($1)", stream))
        return Head() if row is None else Head(row["seq"], row["ts"], row["hash"])

    async def streams(self) -> list[StreamEnd]:
        """Every stream there ever was."""
        rows = await self._ask(self._connection.fetch("SELECT * FROM audit.streams()"))
        return [
            StreamEnd(
                r["stream"],
                r["seq"],
                None if r["size"] is None else StoredCheckpoint(r["stream"], r["size"], r["note"], r["peaks"], r["open_from"]),
            )
            for r in rows
        ]

    async def epochs(self) -> list[str]:
        """The notes of the epochs that were opened, in order; waits while one is. None in a database from before there were any."""
        if await self._ask(self._connection.fetchval("SELECT to_regprocedure('audit.epochs()') IS NULL")):
            return []
        return [row["note"] for row in await self._ask(self._connection.fetch("SELECT note FROM audit.epochs()"))]

    async def evidence(self) -> list[str]:
        """Notes that said more than the log held, as other processes have told."""
        if await self._ask(self._connection.fetchval("SELECT to_regclass('audit.evidence') IS NULL")):
            return []
        return [row["note"] for row in await self._ask(self._connection.fetch("SELECT note FROM audit.evidence ORDER BY at"))]

    async def tell(self, notes: Sequence[str]) -> None:
        """Put such notes where every process that records here looks."""
        await self._ask(self._connection.fetchval("SELECT audit.tell($1)", list(notes)))

    async def tail(self, stream: int, after: int) -> AsyncIterator[list[TailRow]]:
        """The records after `after`, in order, in pages."""
        while True:
            rows = await self._ask(self._connection.fetch("SELECT * FROM audit.tail($1, $2, $3)", stream, after, PAGE))
            if not rows:
                return
            yield [TailRow(*row) for row in rows]
            after = rows[-1]["seq"]

    async def append(self, rows: Sequence[LogRow]) -> None:
        """Add the rows in one transaction; durable on return.

        Raises Lost when it is not known whether all or nothing was written, any other JournalError when nothing was.
        """
        if self._connection.is_closed():
            raise Unreachable("the connection to the audit database is closed")
        answer = await self._ask(
            self._connection.copy_records_to_table(
                "log", schema_name="audit", columns=LogRow._fields, records=rows, timeout=APPEND_TIMEOUT_S
            )
        )
        if answer != f"COPY {len(rows)}":
            # A trigger or rule swallowed rows: the stream now has a gap, and no later row may pretend otherwise.
            raise Lost(f"{len(rows)} records were sent and the database took `{answer}`")

    async def end(self, backend: Backend) -> None:
        """End a former session of ours if it still runs, so that what it did is settled. Raises Lost when it does not end."""
        gone = await self._ask(
            self._connection.fetchval(
                "SELECT bool_and(pg_terminate_backend(pid, 2000)) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2",
                backend.pid,
                backend.started,
            )
        )
        if gone is False:
            raise Lost("the former session of this process still runs in the audit database")

    async def holds(self, stream: int, seq: int, hash_: bytes) -> bool:
        """Whether the stream has this very record."""
        async for page in self.tail(stream, seq - 1):
            return page[0].seq == seq and page[0].hash == hash_
        return False

    async def keep_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """Store a checkpoint. Not synced: the anchor is, and a checkpoint that a crash took is made again."""
        await self._ask(self._keep_checkpoint(checkpoint))

    async def _keep_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        async with self._connection.transaction():
            await self._connection.execute("SET LOCAL synchronous_commit = off")
            await self._connection.execute(
                "INSERT INTO audit.checkpoint (stream, size, note, peaks, open_from) VALUES ($1, $2, $3, $4, $5)",
                checkpoint.stream,
                checkpoint.size,
                checkpoint.note,
                checkpoint.peaks,
                checkpoint.open_from,
            )

    async def keep_roster(self, note: str) -> None:
        """Store a checkpoint over all streams."""
        await self._ask(self._connection.execute("INSERT INTO audit.roster (note) VALUES ($1)", note))

    async def seal(self, partition: str, seals: str) -> int:
        """Put seals in the place of the oldest partition (administrator only); how many records it held."""
        return int(await self._ask(self._connection.fetchval("SELECT audit.seal_partition($1, $2::jsonb)", partition, seals)))

    async def _ask(self, question: Awaitable[T]) -> T:
        try:
            return await question
        except CONNECTION_ERRORS as error:
            self._connection.terminate()
            raise Lost(f"the connection to the audit log broke: {reason(error)}") from error
        except asyncpg.PostgresError as error:
            if self._connection.is_closed() or error.sqlstate.startswith(("57P", "08", "XX")):
                self._connection.terminate()
                raise Lost(f"the audit database ended the session: {reason(error)}") from error
            raise Rejected(f"the audit database refused: {reason(error)}") from error


async def open_journal(dsn: str, name: str) -> Journal:
    """Connect. Raises Unreachable."""
    connection = await connect(dsn, name)
    try:
        row = await connection.fetchrow("SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()")
    except (asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
        connection.terminate()
        raise Unreachable(f"the control database gives no session: {reason(error)}") from error
    except asyncio.CancelledError:
        connection.terminate()
        raise
    return Journal(connection, Backend(row["pid"], row["backend_start"]))
