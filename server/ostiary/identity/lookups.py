"""Asks the table of tokens: one question at a time, for all who wait.

However many strangers show tokens at once, an honest caller waits for two questions at
most, and for a database that is silent no longer than `PATIENCE_S`.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from ostiary.identity.caller import Unreachable
from ostiary_tools.control.connect import JournalError
from ostiary_tools.control.tokens import StoredToken, TokenTable

_log = logging.getLogger(__name__)

PATIENCE_S = 3.0
_AT_ONCE = 5_000
"""Tokens of one question."""


class Lookups:
    """Questions to one table; close it before the table."""

    def __init__(self, table: TokenTable) -> None:
        self._table = table
        self._wanted: set[bytes] = set()
        self._next: asyncio.Task[Mapping[bytes, StoredToken]] | None = None
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[object]] = set()

    async def find(self, digest: bytes) -> StoredToken | None:
        """The token of that digest, valid or not. Raises Unreachable."""
        if self._next is None:
            self._wanted = set()
            self._next = asyncio.create_task(self._ask(), name="tokens looked up")
            self._keep(self._next)
        if len(self._wanted) >= _AT_ONCE:
            raise Unreachable("too many tokens are looked up at once")
        self._wanted.add(digest)
        asked = self._next
        await asyncio.wait({asked}, timeout=PATIENCE_S)
        if not asked.done():
            raise Unreachable("the table of tokens does not answer")
        try:
            return asked.result().get(digest)
        except JournalError as error:
            raise Unreachable(str(error)) from error

    async def close(self) -> None:
        """Ask no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(self) -> Mapping[bytes, StoredToken]:
        async with self._turn:
            wanted, self._next = self._wanted, None  # who comes now is of the next question
            found = await self._table.find(wanted)
        today = datetime.now(UTC).date()
        used = [token.id for token in found.values() if token.valid and token.used_on != today]
        if used:
            self._keep(asyncio.create_task(self._used(used), name="use of tokens written down"))
        return found

    async def _used(self, ids: Iterable[str]) -> None:
        """Nobody waits for it, and a failure refuses nobody."""
        try:
            await self._table.used(ids)
        except JournalError as error:
            _log.warning("the use of a token was not written down: %s", error)

    def _keep(self, task: asyncio.Task[Mapping[bytes, StoredToken]] | asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also when all who waited have gone
