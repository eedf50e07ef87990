"""The audit tables as the reader sees them: every record in order, the newest first, seals and checkpoints.

One `History` is one read-only transaction at one moment, so a long verification
sees neither half a batch nor rows that come while it runs.
"""

from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar
from uuid import UUID

import asyncpg

from ostiary_tools.control.connect import CONNECTION_ERRORS, Connection, Lost, Rejected, connect, disconnect, reason
from ostiary_tools.control.journal import PAGE, Head, LogRow, StoredCheckpoint, StoredSeal

T = TypeVar("T")

# PostgreSQL takes no field out of a JSON text that holds an escaped NUL anywhere. None is written any more.
_FIELDS = r"""(CASE WHEN strpos(body, '\u0000') = 0 THEN body
    ELSE regexp_replace(body, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g') END)::json"""
_NEWEST = f"""
SELECT stream, seq, ts, kind, call_id, body, hash FROM audit.log
WHERE stream = $1 AND seq < $2
    AND ($3::text IS NULL OR {_FIELDS} ->> 'agent' = $3)
    AND ($4::text IS NULL OR {_FIELDS} ->> 'tool' = $4)
    AND ($5::"char" IS NULL OR kind = $5)
ORDER BY seq DESC LIMIT $6
"""  # noqa: S608  the constant above


class History:
    """The log at one moment."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def installation(self) -> UUID:
        """The id made when the schema was."""
        found: UUID = await self._ask(self._connection.fetchval("SELECT id FROM audit.installation"))
        return found

    async def streams(self) -> list[int]:
        """Every stream there ever was."""
        rows = await self._ask(self._connection.fetch("SELECT stream FROM audit.streams()"))
        return [row["stream"] for row in rows]

    async def newest_checkpoint(self, stream: int, up_to: int | None = None) -> StoredCheckpoint | None:
        """The newest checkpoint of a stream, of at most `up_to` records."""
        row = await self._ask(
            self._connection.fetchrow(
                "SELECT stream, size, note, peaks, open_from FROM audit.checkpoint"
                " WHERE stream = $1 AND size <= coalesce($2, 9223372036854775807) ORDER BY size DESC LIMIT 1",
                stream,
                up_to,
            )
        )
        return None if row is None else StoredCheckpoint(*row)

    async def checkpoint(self, stream: int, size: int) -> StoredCheckpoint | None:
        """The oldest checkpoint of at least `size` records."""
        row = await self._ask(
            self._connection.fetchrow(
                "SELECT stream, size, note, peaks, open_from FROM audit.checkpoint"
                " WHERE stream = $1 AND size >= $2 ORDER BY size LIMIT 1",
                stream,
                size,
            )
        )
        return None if row is None else StoredCheckpoint(*row)

    async def seals(self) -> list[StoredSeal]:
        """All seals, oldest first."""
        rows = await self._ask(
            self._connection.fetch("SELECT stream, size, partition, hash, note, peaks FROM audit.seal ORDER BY stream, size")
        )
        return [StoredSeal(*row) for row in rows]

    async def epochs(self) -> list[str]:
        """The notes of the epochs that were opened, in order; none in a database from before there were any."""
        if await self._ask(self._connection.fetchval("SELECT to_regclass('audit.epoch') IS NULL")):
            return []
        return [row["note"] for row in await self._ask(self._connection.fetch("SELECT note FROM audit.epoch ORDER BY number"))]

    async def evidence(self) -> list[str]:
        """Notes that said more than the log held when they were told."""
        if await self._ask(self._connection.fetchval("SELECT to_regclass('audit.evidence') IS NULL")):
            return []
        return [row["note"] for row in await self._ask(self._connection.fetch("SELECT note FROM audit.evidence ORDER BY at"))]

    async def heads(self) -> dict[int, Head]:
        """Where every stream ends."""
        rows = await self._ask(
            self._connection.fetch(
                "SELECT s.stream, l.ts, coalesce(l.hash, k.hash) AS hash, s.seq FROM audit.streams() AS s"
                " LEFT JOIN audit.log AS l ON l.stream = s.stream AND l.seq = s.seq"
                " LEFT JOIN audit.seal AS k ON k.stream = s.stream AND k.size = s.seq"
            )
        )
        return {row["stream"]: Head(row["seq"], row["ts"], row["hash"] or b"") for row in rows}

    async def partitions(self) -> list[str]:
        """Names of the partitions, oldest first."""
        rows = await self._ask(
            self._connection.fetch(
                "SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid"
                " WHERE i.inhparent = 'audit.log'::regclass ORDER BY c.relname"
            )
        )
        return [row["relname"] for row in rows]

    async def notes(self) -> AsyncIterator[list[str]]:
        """Every checkpoint in the order of streams and sizes, then every roster; in pages."""
        async for rows in self._pages("SELECT note FROM audit.checkpoint ORDER BY stream, size"):
            yield [row["note"] for row in rows]
        async for rows in self._pages("SELECT note FROM audit.roster ORDER BY id"):
            yield [row["note"] for row in rows]

    async def records(self, stream: int, after: int = 0, up_to_month: str | None = None) -> AsyncIterator[list[LogRow]]:
        """A stream's records after `after`, in order, in pages; `up_to_month` (`YYYY_MM`) ends before the next month, in UTC."""
        statement = (
            "SELECT stream, seq, ts, kind, call_id, body, hash FROM audit.log WHERE stream = $1 AND seq > $2"
            " AND ts < coalesce(to_timestamp($3, 'YYYY_MM') + interval '1 month', 'infinity') ORDER BY seq"
        )
        async for rows in self._pages(statement, stream, after, up_to_month):
            yield [LogRow(*row) for row in rows]

    async def hashes(self, stream: int, after: int, up_to: int) -> list[bytes]:
        """The chain hashes of the records after `after`, up to and with `up_to`."""
        found: list[bytes] = []
        statement = "SELECT hash FROM audit.log WHERE stream = $1 AND seq > $2 AND seq <= $3 ORDER BY seq"
        async for rows in self._pages(statement, stream, after, up_to):
            found.extend(row["hash"] for row in rows)
        return found

    async def newest(
        self, stream: int, before: int, limit: int, *, agent: str | None = None, tool: str | None = None, kind: str | None = None
    ) -> Sequence[LogRow]:
        """A stream's newest records before `before`, newest first. The index finds the place; a filter reads on from there."""
        asked = self._connection.fetch(_NEWEST, stream, before, agent, tool, None if kind is None else kind.encode(), limit)
        return [LogRow(*row) for row in await self._ask(asked)]

    async def _pages(self, statement: str, *values: object) -> AsyncIterator[list[asyncpg.Record]]:
        cursor = await self._ask(self._connection.cursor(statement, *values))
        while rows := await self._ask(cursor.fetch(PAGE)):
            yield rows

    async def _ask(self, question: Awaitable[T]) -> T:
        try:
            return await question
        except CONNECTION_ERRORS as error:
            raise Lost(f"the connection to the audit log broke: {reason(error)}") from error
        except asyncpg.PostgresError as error:
            raise Rejected(f"the audit database refused: {reason(error)}") from error


@asynccontextmanager
async def history(reader_dsn: str, *, statement_timeout_s: float = 600.0) -> AsyncIterator[History]:
    """Open the log as it is now. Raises Unreachable."""
    connection = await connect(reader_dsn, "audit reader", statement_timeout_s=statement_timeout_s)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield History(connection)
    finally:
        await disconnect(connection)
