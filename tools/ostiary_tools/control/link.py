"""One connection to the control database for small statements: made when it is first needed, and again when it broke."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg

from ostiary_tools.control.connect import CONNECTION_ERRORS, Connection, Lost, Rejected, connect, disconnect, reason

_PATIENCE_S = 10.0


class Link:
    """Used by one call at a time. What it is asked must bear being run twice: a session that had ended is replaced once."""

    def __init__(self, dsn: str, name: str, *, flushed: bool = True) -> None:
        self._dsn = dsn
        self._name = name
        self._flushed = flushed
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()

    async def ask(self, statement: str, *values: object) -> Sequence[Any]:
        """The rows. Raises JournalError."""
        async with self._turn:
            idle = self._connection is not None
            try:
                return await self._fetch(statement, *values)
            except Lost:
                # A session that ended while nobody used it says nothing about the database.
                if not idle:
                    raise
                return await self._fetch(statement, *values)

    async def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            await disconnect(self._connection)
            self._connection = None

    async def _fetch(self, statement: str, *values: object) -> Sequence[Any]:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._dsn, self._name, statement_timeout_s=5, flushed=self._flushed)
        try:
            found: Sequence[Any] = await self._connection.fetch(statement, *values, timeout=_PATIENCE_S)
            return found
        except CONNECTION_ERRORS as error:
            self._connection.terminate()
            raise Lost(f"the connection for {self._name} broke: {reason(error)}") from error
        except asyncpg.PostgresError as error:
            if self._connection.is_closed() or str(error.sqlstate).startswith(("57P", "08", "XX")):
                self._connection.terminate()
                raise Lost(f"the control database ended the session: {reason(error)}") from error
            raise Rejected(f"the control database refused: {reason(error)}") from error
