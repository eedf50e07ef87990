"""The table of cursors as a port: put a row, find it again, let the expired go.

Knows nothing of handles, keys and callers: it is given an id and a body it cannot
read. What it puts survives a stop of the database; a crash may take the last moments.
"""

import asyncio
from dataclasses import dataclass

from ostiary_tools.control.link import Link

_KEPT = "1 hour"
"""How long an expired cursor is kept, so that its owner is told why it ended."""
_PURGE_S = 60.0
"""How often each process removes what is no longer kept: with every new one, it would cost as much as keeping that."""

_PURGE = f"DELETE FROM cursors.cursor WHERE expires_at < now() - interval '{_KEPT}'"  # noqa: S608  the constant above
_PUT = """
INSERT INTO cursors.cursor (id, agent, roles, datasource, policy_hash, schema_version, body, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(secs => $8))
"""
_FIND = """
SELECT agent, roles, datasource, policy_hash, schema_version, body, expires_at <= now() AS expired FROM cursors.cursor WHERE id = $1
"""


@dataclass(frozen=True, slots=True)
class StoredCursor:
    """A row of `cursors.cursor`."""

    agent: str
    roles: tuple[str, ...]
    datasource: str
    policy_hash: str
    schema_version: str
    body: bytes
    expired: bool = False


class CursorTable:
    """The table of cursors."""

    def __init__(self, dsn: str) -> None:
        # A cursor that a crash takes costs its owner a statement, a flush would cost every truncated reply.
        # All of them may run twice: a second row of the same id is refused.
        self._link = Link(dsn, "cursors", flushed=False)
        self._purge_at = 0.0

    async def put(self, id_: bytes, stored: StoredCursor, lifetime_s: float) -> None:
        """Keep a cursor. Raises JournalError when it is not kept."""
        if (now := asyncio.get_running_loop().time()) >= self._purge_at:
            self._purge_at = now + _PURGE_S
            await self._link.ask(_PURGE)
        owner = (stored.agent, list(stored.roles), stored.datasource)
        await self._link.ask(_PUT, id_, *owner, stored.policy_hash, stored.schema_version, stored.body, lifetime_s)

    async def find(self, id_: bytes) -> StoredCursor | None:
        """The cursor, expired or not, or `None`. Raises JournalError."""
        rows = await self._link.ask(_FIND, id_)
        return StoredCursor(**{**rows[0], "roles": tuple(rows[0]["roles"])}) if rows else None

    async def close(self) -> None:
        """Give the connection back."""
        await self._link.close()
