"""The table of tokens as a port: add one, find it by its digest, list and revoke.

Knows digests and no token. The service's login may only find and mark as used.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from ostiary_tools.control.link import Link

_COLUMNS = "id, agent, roles, created_at, expires_at, revoked_at, used_on, revoked_at IS NULL AND expires_at > now() AS valid"
_ADD = """
INSERT INTO tokens.token (id, digest, agent, roles, expires_at) VALUES ($1, $2, $3, $4, now() + make_interval(days => $5))
"""
_FIND = f"SELECT digest, {_COLUMNS} FROM tokens.token WHERE digest = ANY($1::bytea[])"  # noqa: S608 a constant above
_ALL = f"SELECT {_COLUMNS} FROM tokens.token ORDER BY created_at, id"  # noqa: S608 likewise
_REVOKE = "UPDATE tokens.token SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 RETURNING id"
_USED = "UPDATE tokens.token SET used_on = current_date WHERE id = ANY($1::text[]) AND used_on IS DISTINCT FROM current_date"


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A row of `tokens.token`."""

    id: str
    agent: str
    roles: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    used_on: date | None
    """The day on which it was seen last, in UTC."""
    valid: bool
    """Neither revoked nor expired, by the clock of the database."""


class TokenTable:
    """The rows of `tokens.token`. Every method raises JournalError."""

    def __init__(self, dsn: str) -> None:
        self._link = Link(dsn, "tokens")

    async def add(self, id_: str, digest: bytes, agent: str, roles: tuple[str, ...], days: int) -> None:
        """Add a token that is valid for so many days. An id or digest that is there already is refused."""
        await self._link.ask(_ADD, id_, digest, agent, list(roles), days)

    async def find(self, digests: Iterable[bytes]) -> dict[bytes, StoredToken]:
        """The tokens of those digests, valid or not."""
        rows = await self._link.ask(_FIND, list(digests))
        return {row["digest"]: _stored(row) for row in rows}

    async def all(self) -> list[StoredToken]:
        """Every token, the oldest first."""
        return [_stored(row) for row in await self._link.ask(_ALL)]

    async def revoke(self, id_: str) -> bool:
        """Make it invalid for good; false when there is none of that id."""
        return bool(await self._link.ask(_REVOKE, id_))

    async def used(self, ids: Iterable[str]) -> None:
        """Write down that they were used today."""
        await self._link.ask(_USED, list(ids))

    async def close(self) -> None:
        """Give the connection back."""
        await self._link.close()


def _stored(row: Any) -> StoredToken:
    fields = {name: value for name, value in row.items() if name != "digest"}
    return StoredToken(**{**fields, "roles": tuple(row["roles"])})
