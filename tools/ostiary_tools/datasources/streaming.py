"""Reads the rows of a wrapped statement through a portal, in chunks that follow their size.

The server computes as far as it is asked; neither side holds more than a chunk.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from asyncpg.cursor import Cursor
from asyncpg.prepared_stmt import PreparedStatement

from ostiary_tools.datasources.failures import DRIVER_ERRORS
from ostiary_tools.datasources.port import ReadLimits
from ostiary_tools.errors import Refused, TimedOut
from ostiary_tools.plans.plan import Plan
from ostiary_tools.result import ColumnHead

SERVER_GRACE_S = 5.0
"""The server cancels at the statement timeout; this much later we stop waiting for a server that does not."""

_FIRST_ROWS = 16
_MOST_ROWS = 500
_CHUNK_CHARS = 262_144
"""What a chunk should hold: enough that the roundtrip does not count."""

Row = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class StatementStream:
    """The `RowStream` of a prepared statement."""

    prepared: PreparedStatement
    columns: tuple[ColumnHead, ...]
    parameters: tuple[str | None, ...]
    limits: ReadLimits
    ask_plan: Callable[[], Awaitable[Plan]] = field(repr=False)
    prove: Callable[[], Awaitable[None]] = field(repr=False)
    """Raises where rows that were read may not be given."""
    failed: Callable[[BaseException, float], Exception] = field(repr=False)
    """A failure in words, of what began at that time of the loop's clock."""

    async def estimate(self) -> Plan:
        """The plan of what will be read. Raises ToolError."""
        return await self.ask_plan()

    async def chunks(self) -> AsyncGenerator[Sequence[Row], None]:
        """The rows, some at a time. Raises ToolError."""
        ends_at = asyncio.get_running_loop().time() + self.limits.timeout_s
        portal: Cursor | None = None
        count = _FIRST_ROWS
        while True:
            portal, rows = await self._fetch(portal, count, ends_at)
            await self.prove()
            if not rows:
                return
            chars = sum(self._checked(row) for row in rows)
            given = asyncio.get_running_loop().time()
            yield rows
            ends_at += asyncio.get_running_loop().time() - given  # what is done with them takes no time of the database
            count = max(1, min(4 * count, _MOST_ROWS, count * _CHUNK_CHARS // max(chars, 1)))

    async def _fetch(self, portal: Cursor | None, count: int, ends_at: float) -> tuple[Cursor, list[Row]]:
        start = asyncio.get_running_loop().time()
        patience_s = ends_at - start + SERVER_GRACE_S
        if start >= ends_at:
            raise self._late()
        try:
            if portal is None:
                portal = await self.prepared.cursor(*self.parameters, timeout=patience_s)
            return portal, [tuple(record) for record in await portal.fetch(count, timeout=patience_s)]
        except TimeoutError:
            raise self._late() from None
        except DRIVER_ERRORS as error:
            # Never chained: the driver's error quotes values.
            raise self.failed(error, start) from None

    def _late(self) -> TimedOut:
        return TimedOut(f"the rows took longer than {self.limits.timeout_s:g} s", "ask for fewer, or filter by an indexed column")

    def _checked(self, row: Row) -> int:
        """Characters of the row. A value that the wrapper had to cut is refused: part of it would pass for the whole."""
        chars = 0
        for head, value in zip(self.columns, row, strict=True):
            length = len(value) if value is not None else 0
            if length > self.limits.max_chars:
                message = f"column `{head.name}` holds a value longer than {self.limits.max_chars:,} characters"
                raise Refused("value_size", message, "leave it out, or take part of it with substr()")
            chars += length + 1
        return chars
